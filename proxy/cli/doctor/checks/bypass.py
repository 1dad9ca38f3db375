"""What NO_PROXY keeps away from a proxy. Pure; there is no standard, this is the sum of what clients do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def bypassed(no_proxy: str, hosts: Iterable[str]) -> list[str]:
    """Those of `hosts` (names, or patterns such as `*.example.com`) that some client would not send to a proxy.

    An entry is `*`, or a name that stands for itself and what is below it, with or without `.` or `*.` before it and a
    port behind it.
    """
    entries = [_name(entry) for entry in no_proxy.replace(" ", ",").split(",") if entry.strip()]
    return [host for host in hosts if any(_covers(entry, host.removeprefix("*.")) for entry in entries)]


def _name(entry: str) -> str:
    bare = entry.strip().lower()
    if bare == "*":
        return bare
    name, _, port = bare.rpartition(":")
    return (name if port.isdigit() and name and ":" not in name else bare).removeprefix("*").removeprefix(".")


def _covers(entry: str, host: str) -> bool:
    return entry in ("*", host) or (bool(entry) and host.endswith(f".{entry}"))
