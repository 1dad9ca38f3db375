"""PKCS #11 URIs (RFC 7512), as far as they name a key. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, unquote_to_bytes

KNOWN: Final = frozenset({"token", "serial", "manufacturer", "model", "object", "id", "type"})


@dataclass(frozen=True, slots=True)
class KeyUri:
    """Which key; `label` or `id`, at least one of them, and perhaps which token."""

    token: str | None = None
    serial: str | None = None
    label: str | None = None
    id: bytes | None = None


def parse(place: str) -> KeyUri:
    """What follows `pkcs11:`.

    Raises:
        ValueError: malformed, names no key, or has a query: module and PIN stand in the settings.
    """
    if "?" in place:
        raise ValueError("the module and the PIN stand under keys.pkcs11, not in the URI")
    found: dict[str, str] = {}
    for part in place.split(";"):
        name, mark, value = part.partition("=")
        if not mark or not value or name not in KNOWN or name in found:
            raise ValueError("a key is named as in pkcs11:token=NAME;object=LABEL;id=%01")
        found[name] = value
    if found.get("type", "private") != "private" or not {"object", "id"} & found.keys():
        raise ValueError("a private key is named by object or id")
    token, serial, label = (unquote(found[n]) if n in found else None for n in ("token", "serial", "object"))
    return KeyUri(token, serial, label, unquote_to_bytes(found["id"]) if "id" in found else None)
