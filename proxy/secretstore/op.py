"""`op:VAULT/ITEM/FIELD`: 1Password, by a Connect server or by the command. See docs/stores/op.md.

Source: 1Password, Connect server API (`/v1/vaults`, `/v1/vaults/ID/items`), secret references (`op read`).
"""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Final, Self
from urllib.parse import quote, urlencode

from proxy.secret import Secret
from proxy.secretstore.asking import Asker, bearer, below, text_of
from proxy.secretstore.command import output_of
from proxy.secretstore.store import Fetched, SecretUnavailableError, stripped

if TYPE_CHECKING:
    from proxy.secretstore.store import Means
    from proxy.settings import Settings
    from proxy.store_settings import OnePasswordSettings

_PART: Final = r"[A-Za-z0-9 _.@:+-]{1,128}"
_PLACE: Final = re.compile(rf"{_PART}(?:/{_PART}){{2,3}}")
BEFORE_OURS: Final = ("OP_CONNECT_HOST", "OP_CONNECT_TOKEN")
"""Variables that the command prefers. Source: 1Password, "Use service accounts with 1Password CLI"."""
_ID: Final = re.compile(r"[a-z0-9]{26}")


class OnePasswordStore:
    """Names are looked up at every question, because they may be given to another vault or item; ids are not."""

    def __init__(self, settings: OnePasswordSettings, means: Means, asker: Asker | None, timeout_s: float) -> None:
        self._settings: Final = settings
        self._means: Final = means
        self._asker: Final = asker
        self._timeout_s: Final = timeout_s

    @classmethod
    def made(cls, settings: Settings, means: Means) -> Self | None:
        """See `AskedStore`."""
        own = settings.secret_stores.op
        if own is None:
            return None
        asker = None
        if own.address is not None:
            asker = Asker.made("op", own.address, own, settings, means)
        return cls(own, means, asker, settings.secret_stores.timeout_s)

    @staticmethod
    def bad_place(place: str) -> str | None:
        """Vault, item, perhaps a section, and field, as behind `op://`."""
        return None if _PLACE.fullmatch(place) else "op: takes VAULT/ITEM/[SECTION/]FIELD, as in op:Agents/GitHub/token"

    async def fetch(self, place: str) -> Fetched:
        """See `AskedStore`."""
        if self._asker is None:
            return Fetched(await self._read(place))
        assert self._settings.token is not None
        token = await self._means.read(self._settings.token)
        headers = {"authorization": bearer(token, "op")}
        return Fetched(await self._looked_up(self._asker, place.split("/"), headers))

    async def close(self) -> None:
        """See `AskedStore`."""

    async def _read(self, place: str) -> Secret:
        environment = dict(self._means.environment)
        if self._settings.token is not None:
            for name in BEFORE_OURS:
                environment.pop(name, None)
            environment["OP_SERVICE_ACCOUNT_TOKEN"] = text_of(await self._means.read(self._settings.token), "op")
        command = [self._settings.command, "read", "--no-newline", f"op://{place}"]
        return Secret(
            "op", stripped(await output_of("op", command, environment=environment, timeout_s=self._timeout_s))
        )

    async def _looked_up(self, asker: Asker, names: list[str], headers: dict[str, str]) -> Secret:
        ask = partial(_id_of, asker, headers)
        vault = await ask("/v1/vaults", "name", names[0])
        items = f"/v1/vaults/{vault}/items"
        item = await ask(items, "title", names[1])
        found = await asker.json("GET", f"{items}/{item}", headers=headers)
        fields = below(found, "fields")
        section, name = (names[2] if len(names) == 4 else None), names[-1]  # noqa: PLR2004  # with a section
        values = [
            below(field, "value")
            for field in (fields if isinstance(fields, list) else ())
            if name in (below(field, "label"), below(field, "id"))
            and (section is None or section in (below(field, "section", "label"), below(field, "section", "id")))
        ]
        match values:
            case [str() as value] if value:
                return Secret("op", value)
            case [_, _, *_]:
                raise SecretUnavailableError("op", "more than one field has this name; name its section")
        if not isinstance(fields, list):
            raise SecretUnavailableError("op", "the answer is not an item", passing=True)
        raise SecretUnavailableError("op", "the item has no such field")


async def _id_of(asker: Asker, headers: dict[str, str], target: str, attribute: str, name: str) -> str:
    """The id of the one thing of this name; `name` itself where it is an id."""
    if _ID.fullmatch(name):
        return name
    query = urlencode({"filter": f'{attribute} eq "{name}"'}, quote_via=quote)
    found = await asker.json_list("GET", f"{target}?{query}", headers=headers)
    ids = [below(one, "id") for one in found if below(one, "name" if attribute == "name" else "title") == name]
    match ids:
        case [str() as only] if _ID.fullmatch(only):
            return only
        case []:
            raise SecretUnavailableError("op", "there is no such vault or item")
    raise SecretUnavailableError("op", "more than one vault or item has this name; use its id")
