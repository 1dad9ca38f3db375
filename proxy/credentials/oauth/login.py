"""How a person has to log in where a provider asks for more than before (RFC 9470). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Login:
    """What goes into a new authorization request (RFC 9470, section 4).

    Attributes:
        acr_values: authentication context classes, in the order of preference, with blanks between them.
        max_age_s: how long ago the person may have logged in; None: however long.
        nonce: what an ID token of this login says again (OpenID Connect Core 1.0, section 3.1.2.1).
    """

    acr_values: str = ""
    max_age_s: int | None = None
    nonce: str = ""

    @property
    def fields(self) -> dict[str, str]:
        """As parameters of the request."""
        said = {"acr_values": self.acr_values, "nonce": self.nonce}
        found = {name: value for name, value in said.items() if value}
        return found if self.max_age_s is None else {**found, "max_age": str(self.max_age_s)}


ANY_LOGIN: Final = Login()
