"""`bw:ID` or `bw:ITEM#FIELD`: Bitwarden, by the commands of its two products. See docs/stores/bw.md.

Source: Bitwarden, Secrets Manager CLI (`bws secret get`, BWS_ACCESS_TOKEN), Password Manager CLI (`bw get item`,
BW_SESSION). Both decrypt on this machine; the servers never hold a key.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Self

from proxy.secret import Secret
from proxy.secretstore.asking import below, json_object, text_below, text_of
from proxy.secretstore.command import output_of
from proxy.secretstore.store import Fetched, SecretUnavailableError

if TYPE_CHECKING:
    from proxy.secretstore.asking import Json
    from proxy.secretstore.store import Means
    from proxy.settings import Settings
    from proxy.store_settings import BitwardenSettings

_ID: Final = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_PLACE: Final = re.compile(rf"{_ID}(?:#[A-Za-z0-9 _.-]{{1,128}})?")
OF_THE_LOGIN: Final = ("password", "username", "totp")


class BitwardenStore:
    """Runs the command for one secret or item."""

    def __init__(self, settings: BitwardenSettings, means: Means, timeout_s: float) -> None:
        self._settings: Final = settings
        self._means: Final = means
        self._timeout_s: Final = timeout_s

    @classmethod
    def made(cls, settings: Settings, means: Means) -> Self | None:
        """See `AskedStore`."""
        own = settings.secret_stores.bw
        return None if own is None else cls(own, means, settings.secret_stores.timeout_s)

    @staticmethod
    def bad_place(place: str) -> str | None:
        """The id of a secret or an item; names are not unique. Behind `#` a field of an item."""
        return None if _PLACE.fullmatch(place) else "bw: takes the id of a secret, or ID#FIELD of an item"

    async def fetch(self, place: str) -> Fetched:
        """See `AskedStore`."""
        number, _, field = place.partition("#")
        if self._settings.product == "secrets_manager":
            found = await self._run("bws", "BWS_ACCESS_TOKEN", self._settings.token, "secret", "get", number)
            return Fetched(Secret("bw", _checked(found, number, "value")))
        found = await self._run("bw", "BW_SESSION", self._settings.session, "--nointeraction", "get", "item", number)
        return Fetched(Secret("bw", _of_item(found, number, field or "password")))

    async def close(self) -> None:
        """See `AskedStore`."""

    async def _run(self, usual: str, variable: str, ref: str | None, *arguments: str) -> Json:
        assert ref is not None
        environment = dict(self._means.environment)
        environment[variable] = text_of(await self._means.read(ref), "bw")
        if self._settings.server is not None:
            environment["BWS_SERVER_URL"] = self._settings.server
        command = [self._settings.command or usual, *arguments]
        return json_object("bw", await output_of("bw", command, environment=environment, timeout_s=self._timeout_s))


def _checked(found: Json, number: str, *names: str) -> str:
    """The text under `names` of the thing that was asked for."""
    if below(found, "id") != number:
        raise SecretUnavailableError("bw", "the command printed something else than was asked for")
    return text_below("bw", found, *names)


def _of_item(found: Json, number: str, field: str) -> str:
    if field in OF_THE_LOGIN:
        return _checked(found, number, "login", field)
    fields = below(found, "fields")
    values = [
        below(one, "value") for one in (fields if isinstance(fields, list) else ()) if below(one, "name") == field
    ]
    match values:
        case [str() as value] if value:
            _checked(found, number, "id")
            return value
    raise SecretUnavailableError("bw", "the item has no such field, or several")
