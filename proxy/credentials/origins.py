"""Whether secrets may go where a configuration would send them. Pure.

A secret is bound to the origins that it could go to when it was first used. A later configuration or profile that would
send it elsewhere as well needs the operator's consent.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

NO_SECRET: Final = ""
"""The fingerprint of an account without secrets (a workload identity, a key of its own)."""
_WILD: Final = "://*."


@dataclass(frozen=True, slots=True)
class Bound:
    """What is recorded: an account, the keyed hash of one of its secrets, and an origin (`https://host:port`)."""

    account: str
    fingerprint: str
    origin: str


def unconsented(
    recorded: Iterable[Bound], account: str, fingerprints: Iterable[str], wanted: frozenset[str]
) -> frozenset[str]:
    """The origins of `wanted` that need consent; empty where all is well.

    A secret that is known may go where it could go before, whichever account it is in; one that is not known, where its
    account's secrets could; where neither is known, this is the first use.
    """
    rows = tuple(recorded)
    of_account = frozenset(row.origin for row in rows if row.account == account)
    new: frozenset[str] = frozenset()
    for fingerprint in fingerprints:
        of_secret = frozenset(row.origin for row in rows if row.fingerprint == fingerprint != NO_SECRET)
        allowed = of_secret or of_account
        if allowed:
            new |= {origin for origin in wanted if not any(_covers(known, origin) for known in allowed)}
    return new


def _covers(known: str, origin: str) -> bool:
    """Whether `origin` is `known`, or lies exactly one label below its wildcard."""
    if known == origin:
        return True
    scheme, mark, suffix = known.partition(_WILD)
    if not mark or not origin.startswith(f"{scheme}://"):
        return False
    label, dot, rest = origin.removeprefix(f"{scheme}://").partition(".")
    return bool(label) and label != "*" and dot == "." and rest == suffix
