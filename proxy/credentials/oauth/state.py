"""What is kept between two mints, sealed; the same form that `briefcased connect` writes. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_DIGITS: Final = 15


@dataclass(frozen=True, slots=True)
class Kept:
    """Text only; empty is absent.

    Attributes:
        expires_at_s: wall clock; empty is unknown.
        refresh_at_s: wall clock, the same for every process; empty is `margin_s` before the end.
        scope: what was granted.
        issuer: who issued it: the issuer, or the token endpoint where no issuer is known. Nobody else gets it.
        client_id: the client it was issued to, where that is not in the configuration.
        seed: hash of what all this began with: the refresh token in the secret store, or who a token was exchanged for.
        made_for: hash of what was asked for.
        jkt: thumbprint of the key that the tokens are bound to.
        nonce: the last one of the authorization server.
    """

    refresh_token: str = field(default="", repr=False)
    access_token: str = field(default="", repr=False)
    expires_at_s: str = ""
    refresh_at_s: str = ""
    scope: str = ""
    token_type: str = ""
    issuer: str = ""
    client_id: str = ""
    seed: str = ""
    made_for: str = ""
    jkt: str = ""
    nonce: str = ""

    @classmethod
    def read(cls, kept: Mapping[str, str]) -> Kept:
        """What was kept, by whichever version: members that nobody knows are left out."""
        return cls(**{name: kept[name] for name in NAMES if isinstance(kept.get(name), str)})

    def written(self) -> dict[str, str]:
        """For `Credential.keep`."""
        return {name: value for name in NAMES if (value := str(getattr(self, name)))}

    @property
    def ends_at_s(self) -> int | None:
        """`expires_at_s` as a number, or None."""
        return _number(self.expires_at_s)

    def due_at_s(self, margin_s: int) -> int | None:
        """When it is worth refreshing; None where its end is unknown."""
        due_s = _number(self.refresh_at_s)
        if due_s is None and self.ends_at_s is not None:
            return self.ends_at_s - margin_s
        return due_s


def _number(text: str) -> int | None:
    whole = text.partition(".")[0]
    return int(whole) if whole.isascii() and whole.isdigit() and len(whole) <= MAX_DIGITS else None


NAMES: Final = tuple(one.name for one in fields(Kept))
