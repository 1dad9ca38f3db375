"""`infisical:ENVIRONMENT/[FOLDER/]NAME`: Infisical, in the cloud or of one's own. See docs/stores/infisical.md.

Source: Infisical's API: `/api/v1/auth/…/login` of machine identities, `/api/v3/secrets/raw/NAME`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote, urlencode

import orjson

from proxy.secret import Secret
from proxy.secretstore.asking import Asker, bearer, below, seconds_below, text_below, text_of
from proxy.secretstore.login import Login, Token
from proxy.secretstore.store import Fetched, SecretUnavailableError

if TYPE_CHECKING:
    from proxy.secretstore.store import Means
    from proxy.settings import Settings
    from proxy.store_settings import InfisicalSettings

_SEGMENT: Final = r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,127}"
_PLACE: Final = re.compile(rf"{_SEGMENT}(?:/{_SEGMENT})+")
SERVICE_ACCOUNT: Final = "file:/var/run/secrets/kubernetes.io/serviceaccount/token"
HIDDEN: Final = "<hidden-by-infisical>"
"""Stands in place of a value, in an answer with status 200, where the identity may not read it."""
LOGINS: Final = {"universal": "universal-auth", "kubernetes": "kubernetes-auth", "oidc": "oidc-auth"}


class InfisicalStore:
    """Reads one secret of the project at a time, as a machine identity."""

    def __init__(self, settings: InfisicalSettings, asker: Asker, means: Means) -> None:
        self._settings: Final = settings
        self._asker: Final = asker
        self._means: Final = means
        self._login: Final = Login(self._logged_in, clock=means.clock)

    @classmethod
    def made(cls, settings: Settings, means: Means) -> Self | None:
        """See `AskedStore`."""
        own = settings.secret_stores.infisical
        if own is None:
            return None
        asker = Asker.made("infisical", own.address, own, settings, means, named="address" in own.model_fields_set)
        return cls(own, asker, means)

    @staticmethod
    def bad_place(place: str) -> str | None:
        """The slug of an environment, folders, and a name."""
        return (
            None
            if _PLACE.fullmatch(place)
            else "infisical: takes ENVIRONMENT/[FOLDER/]NAME, as in infisical:prod/TOKEN"
        )

    async def fetch(self, place: str) -> Fetched:
        """See `AskedStore`."""
        environment, *folders, name = place.split("/")
        query = urlencode(
            {
                "workspaceId": self._settings.project,
                "environment": environment,
                "secretPath": "/" + "/".join(folders),
            }
        )

        async def ask(token: Secret) -> Secret:
            answer = await self._asker.json(
                "GET",
                f"/api/v3/secrets/raw/{quote(name)}?{query}",
                headers={"authorization": bearer(token, "infisical")},
            )
            value = text_below("infisical", answer, "secret", "secretValue")
            if below(answer, "secret", "secretValueHidden") is True or value == HIDDEN:
                raise SecretUnavailableError("infisical", "the identity may know of the secret, and not read its value")
            return Secret("infisical", value)

        return Fetched(await self._login.using(ask))

    async def close(self) -> None:
        """See `AskedStore`."""

    async def _logged_in(self) -> Token:
        auth = self._settings.auth
        if auth.method == "universal":
            refs = {"clientId": auth.client_id or "", "clientSecret": auth.client_secret or ""}
            body = {name: await self._text(ref) for name, ref in refs.items()}
        else:
            body = {"identityId": auth.identity or "", "jwt": await self._text(auth.jwt or SERVICE_ACCOUNT)}
        answer = await self._asker.json(
            "POST",
            f"/api/v1/auth/{LOGINS[auth.method]}/login",
            headers={"content-type": "application/json"},
            body=orjson.dumps(body),
        )
        token = Secret("infisical token", text_below("infisical", answer, "accessToken"))
        return Token(token, seconds_below(answer, "expiresIn"))

    async def _text(self, ref: str) -> str:
        return text_of(await self._means.read(ref), "infisical")
