"""`azurekv:VAULT/NAME[/VERSION]`: Azure Key Vault. See docs/stores/azurekv.md.

Sources: Key Vault REST API 7.4 (Get Secret); Azure Instance Metadata Service; Microsoft identity platform, client
credentials with a secret or a federated assertion (RFC 7523).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote, urlencode

from proxy.secret import Secret
from proxy.secretstore.asking import (
    FORM,
    Asker,
    bearer,
    form,
    json_object,
    metadata,
    seconds_below,
    text_below,
    text_of,
)
from proxy.secretstore.login import Login, Token
from proxy.secretstore.store import Fetched

if TYPE_CHECKING:
    from proxy.secretstore.store import Means
    from proxy.settings import Settings
    from proxy.store_settings import AzureSettings

_PLACE: Final = re.compile(r"[a-z][a-z0-9-]{1,22}[a-z0-9]/[A-Za-z0-9-]{1,127}(?:/[0-9a-f]{32})?")
METADATA: Final = "169.254.169.254"
METADATA_HOST: Final = "AZURE_POD_IDENTITY_AUTHORITY_HOST"
"""The variable by which Azure's own libraries are told of another metadata service."""
VERSION: Final = "7.4"
ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class AzureStore:
    """Reads one secret at a time, the newest version where none is named."""

    def __init__(self, settings: AzureSettings, asker: Asker, means: Means) -> None:
        self._settings: Final = settings
        self._asker: Final = asker
        self._means: Final = means
        self._login: Final = Login(self._logged_in, clock=means.clock)

    @classmethod
    def made(cls, settings: Settings, means: Means) -> Self | None:
        """See `AskedStore`."""
        own = settings.secret_stores.azurekv
        if own is None:
            return None
        asker = Asker.made("azurekv", own.login_address, own, settings, means)  # a private endpoint has the public name
        return cls(own, asker, means)

    @staticmethod
    def bad_place(place: str) -> str | None:
        """A vault, a secret's name, perhaps its version."""
        return (
            None if _PLACE.fullmatch(place) else "azurekv: takes VAULT/NAME[/VERSION], as in azurekv:team-vault/github"
        )

    async def fetch(self, place: str) -> Fetched:
        """See `AskedStore`."""
        vault, _, name = place.partition("/")
        at = replace(self._asker, address=f"https://{vault}.{self._settings.suffix}")

        async def ask(token: Secret) -> Secret:
            headers = {"authorization": bearer(token, "azurekv")}
            answer = await at.json("GET", f"/secrets/{name}?api-version={VERSION}", headers=headers)
            return Secret("azurekv", text_below("azurekv", answer, "value"))

        return Fetched(await self._login.using(ask))

    async def close(self) -> None:
        """See `AskedStore`."""

    async def _logged_in(self) -> Token:
        auth = self._settings.auth
        if auth.method == "managed_identity":
            return await self._of_the_machine()
        body = {
            "grant_type": "client_credentials",
            "client_id": auth.client_id or "",
            "scope": f"{self._settings.resource}/.default",
        }
        if auth.method == "client_secret":
            body["client_secret"] = text_of(await self._means.read(auth.client_secret or ""), "azurekv")
        else:
            body["client_assertion_type"] = ASSERTION
            body["client_assertion"] = text_of(await self._means.read(auth.token or ""), "azurekv")
        target = f"/{quote(auth.tenant or '')}/oauth2/v2.0/token"
        return _token(await self._asker.json("POST", target, headers=FORM, body=form(**body)))

    async def _of_the_machine(self) -> Token:
        query = {"api-version": "2018-02-01", "resource": self._settings.resource}
        if self._settings.auth.client_id is not None:
            query["client_id"] = self._settings.auth.client_id
        place = self._means.environment.get(METADATA_HOST, METADATA).removeprefix("http://").rstrip("/")
        target = f"/metadata/identity/oauth2/token?{urlencode(query)}"
        answer = await metadata(self._asker, place, target, {"metadata": "true"})
        return _token(json_object("azurekv", answer.body))


def _token(answer: object) -> Token:
    token = Secret("azure token", text_below("azurekv", answer, "access_token"))
    return Token(token, seconds_below(answer, "expires_in"))
