"""Content codings: which we ask for, and which one a response has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from proxy.firewall.decoders import CODECS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.model import Headers

IDENTITY: Final = "identity"
ALIASES: Final = {"x-gzip": "gzip"}
"""Source: RFC 9110, section 8.4.1.3."""


def accept_encoding(client_value: str | None) -> str:
    """What to ask the upstream for: the codings that the client offered and we can decode, else `identity`.

    Never `*`: that would invite codings that we cannot read. A `*` of the client stands for all that we decode.
    An offer with a weight of zero, or one that is not a number, does not count.

    Source: RFC 9110, section 12.5.3.
    """
    offers = dict(_offers(client_value or ""))
    anything = offers.get("*", False)
    return ", ".join(name for name in CODECS if offers.get(name, anything)) or IDENTITY


def _offers(value: str) -> Iterator[tuple[str, bool]]:
    for item in value.split(","):
        name, _, parameters = item.partition(";")
        name = name.strip().lower()
        if name:
            yield ALIASES.get(name, name), _is_wanted(parameters.strip().lower())


def _is_wanted(parameters: str) -> bool:
    if not parameters:
        return True
    key, _, weight = parameters.partition("=")
    try:
        return key.strip() == "q" and 0 < float(weight) <= 1
    except ValueError:
        return False


def codings_of(headers: Headers) -> tuple[str, ...]:
    """The content codings of a response in the order they were applied, without `identity`; aliases resolved."""
    names = (part.strip().lower() for key, value in headers if key == "content-encoding" for part in value.split(","))
    return tuple(ALIASES.get(name, name) for name in names if name not in ("", IDENTITY))
