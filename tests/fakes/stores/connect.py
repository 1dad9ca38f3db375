"""A 1Password Connect server: vaults and items by id, and by the filters that its API has."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from tests.fakes.stores.server import StoreServer

if TYPE_CHECKING:
    from tests.rig.provider import Seen

TOKEN = "eyJ-connect-token-0123456789"
VAULT = "a" * 26
_FILTER = re.compile(r'(name|title) eq "([^"]*)"')


class FakeConnect(StoreServer):
    """`values` are `ITEM/[SECTION/]FIELD`; every item is in the vault `Agents`."""

    def __init__(self, folder: Any, host: str = "connect.example.test") -> None:
        super().__init__(folder, host)
        self.vaults = [{"id": VAULT, "name": "Agents"}]

    def items(self) -> list[dict[str, Any]]:
        titles = dict.fromkeys(key.split("/")[0] for key in self.values)
        return [{"id": f"{index:b<26}", "title": title, "vault": {"id": VAULT}} for index, title in
                ((chr(ord("c") + n), title) for n, title in enumerate(titles))]  # fmt: skip

    def answer(self, seen: Seen) -> tuple[int, Any]:
        if seen.path == "/v1/vaults":
            self.questions += 1
        if seen.one("authorization") != f"Bearer {TOKEN}":
            return 401, {"status": 401, "message": "Invalid token signature"}
        found = _FILTER.fullmatch(parse_qs(seen.target.partition("?")[2]).get("filter", [""])[0])
        match seen.path.strip("/").split("/"):
            case ["v1", "vaults"]:
                return 200, [vault for vault in self.vaults if found and vault["name"] == found[2]]
            case ["v1", "vaults", vault, "items"] if vault == VAULT:
                return 200, [item for item in self.items() if found and item["title"] == found[2]]
            case ["v1", "vaults", vault, "items", number] if vault == VAULT:
                for item in self.items():
                    if item["id"] == number:
                        return 200, item | {"fields": self.fields(item["title"])}
        return 404, {"status": 404, "message": "not found"}

    def fields(self, title: str) -> list[dict[str, Any]]:
        fields: list[dict[str, Any]] = [{"id": "notesPlain", "label": "notesPlain", "type": "STRING"}]
        for key, value in self.values.items():
            item, *section, label = key.split("/")
            if item == title:
                below = {"section": {"id": f"s{section[0]}", "label": section[0]}} if section else {}
                fields.append({"id": f"f{len(fields)}", "label": label, "value": value, "type": "CONCEALED", **below})
        return fields
