"""SPIFFE IDs: `spiffe://trust-domain/path`. Pure.

Source: the standard SPIFFE-ID, sections 2.1 to 2.3.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

MAX_CHARACTERS: Final = 2048
_TRUST_DOMAIN: Final = r"[a-z0-9._-]{1,255}"
_SEGMENT: Final = r"(?!\.{1,2}(?:/|$))[A-Za-z0-9._-]+"
_TRUST_DOMAIN_NAME: Final = re.compile(_TRUST_DOMAIN)
_SPIFFE_ID: Final = re.compile(rf"spiffe://({_TRUST_DOMAIN})((?:/{_SEGMENT})+)")


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """Of a workload: it has a path. `str` is the ID as it was written, the only form there is."""

    trust_domain: str
    path: str

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}{self.path}"


def parse_spiffe_id(text: str) -> SpiffeId | None:
    """The ID; None where it is none, or one of a trust domain itself, which no workload has.

    No percent-encoding, port, user, query or fragment, no empty or dot segment: nothing has two spellings.
    """
    found = _SPIFFE_ID.fullmatch(text) if len(text) <= MAX_CHARACTERS else None
    return None if found is None else SpiffeId(found[1], found[2])


def is_trust_domain(text: str) -> bool:
    """Whether `text` is the name of a trust domain."""
    return _TRUST_DOMAIN_NAME.fullmatch(text) is not None
