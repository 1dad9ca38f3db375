"""`ghactions:AUDIENCE`: an identity token of this job of GitHub Actions. See docs/stores/ghactions.md.

Source: GitHub Actions, "OpenID Connect reference": a job with `id-token: write` has an address and a token to ask with.
"""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote

import orjson

from proxy.secret import Secret
from proxy.secretstore.asking import Asker, bearer, seconds_below, text_below
from proxy.secretstore.store import Fetched, SecretUnavailableError

if TYPE_CHECKING:
    from proxy.secretstore.store import Means
    from proxy.settings import Settings

_PLACE: Final = re.compile(r"[\x21-\x7e]{1,1024}")
URL: Final = "ACTIONS_ID_TOKEN_REQUEST_URL"
TOKEN: Final = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"  # noqa: S105  # the name of a variable
PART: Final = 0.5
"""Of what is left of its life, how long a token is used."""


class ActionsStore:
    """Asks the runner's service for a token of one audience."""

    def __init__(self, asker: Asker | None, token: Secret, means: Means) -> None:
        self._asker: Final = asker
        self._token: Final = token
        self._means: Final = means

    @classmethod
    def made(cls, settings: Settings, means: Means) -> Self | None:
        """See `AskedStore`."""
        url, token = means.environment.get(URL, ""), means.environment.get(TOKEN, "")
        asker = Asker.made("ghactions", url, settings.secret_stores.ghactions, settings, means)
        return cls(asker if url and token else None, Secret(TOKEN, token), means)

    @staticmethod
    def bad_place(place: str) -> str | None:
        """An audience."""
        return None if _PLACE.fullmatch(place) else "ghactions: takes the audience of the token"

    async def fetch(self, place: str) -> Fetched:
        """See `AskedStore`."""
        if self._asker is None:
            raise SecretUnavailableError("ghactions", "this is no job of GitHub Actions with `id-token: write`")
        headers = {"authorization": bearer(self._token, "ghactions")}
        joint = "&" if "?" in self._asker.address else "?"
        answer = await self._asker.json("GET", f"{joint}audience={quote(place, safe='')}", headers=headers)
        token = text_below("ghactions", answer, "value")
        expiry_s = seconds_below(_claims(token), "exp")
        left_s = 0.0 if expiry_s is None else expiry_s - self._means.clock.wall_ms() / 1000
        if left_s <= 0:
            raise SecretUnavailableError("ghactions", "the token is not a JWT that still lives", passing=True)
        return Fetched(Secret("identity token", token), left_s * PART)

    async def close(self) -> None:
        """See `AskedStore`."""


def _claims(token: str) -> object:
    """Its claims, unverified: it came from its issuer, and whoever it is shown to verifies it."""
    _, _, rest = token.partition(".")
    part = rest.partition(".")[0]
    try:
        return orjson.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except ValueError:
        return None
