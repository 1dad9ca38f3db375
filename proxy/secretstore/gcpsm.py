"""`gcpsm:PROJECT/NAME[/VERSION]`: Google Secret Manager. See docs/stores/gcpsm.md.

Source: Secret Manager API v1, `projects.secrets.versions.access`, also below `locations`.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, Final, Self

from proxy.secret import Secret
from proxy.secretstore.asking import Asker, bearer, text_below
from proxy.secretstore.google_login import google_login
from proxy.secretstore.store import Fetched, SecretUnavailableError

if TYPE_CHECKING:
    from proxy.secretstore.login import Login
    from proxy.secretstore.store import Means
    from proxy.settings import Settings

_PLACE: Final = re.compile(r"([a-z0-9][a-z0-9:.-]{0,62})/([A-Za-z0-9_-]{1,255})(?:/([a-z0-9][A-Za-z0-9_-]{0,62}))?")


class GoogleStore:
    """Reads one version at a time; without one, `latest`."""

    def __init__(self, asker: Asker, login: Login, location: str | None) -> None:
        self._asker: Final = asker
        self._login: Final = login
        self._location: Final = location

    @classmethod
    def made(cls, settings: Settings, means: Means) -> Self | None:
        """See `AskedStore`."""
        own = settings.secret_stores.gcpsm
        if own is None:
            return None
        asker = Asker.made("gcpsm", own.address, own, settings, means, named="address" in own.model_fields_set)
        return cls(asker, google_login(own, asker, means), own.location)

    @staticmethod
    def bad_place(place: str) -> str | None:
        """A project, a secret's name, perhaps a version or its alias."""
        return None if _PLACE.fullmatch(place) else "gcpsm: takes PROJECT/NAME[/VERSION], as in gcpsm:my-project/github"

    async def fetch(self, place: str) -> Fetched:
        """See `AskedStore`."""
        project, name, *version = place.split("/")
        located = f"/locations/{self._location}" if self._location is not None else ""
        target = f"/v1/projects/{project}{located}/secrets/{name}/versions/{version[0] if version else 'latest'}:access"

        async def ask(token: Secret) -> Secret:
            answer = await self._asker.json("GET", target, headers={"authorization": bearer(token, "gcpsm")})
            try:
                return Secret("gcpsm", base64.b64decode(text_below("gcpsm", answer, "payload", "data"), validate=True))
            except (binascii.Error, ValueError):
                raise SecretUnavailableError("gcpsm", "the answer is not base64", passing=True) from None

        return Fetched(await self._login.using(ask))

    async def close(self) -> None:
        """See `AskedStore`."""
