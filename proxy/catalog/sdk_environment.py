"""The variables and files by which an SDK inside the agent finds what the sidecar answers. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import orjson

from proxy.catalog.schema import SdkFile
from proxy.credentials.answers.document import texts_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pydantic import JsonValue

    from proxy.catalog.binding import BoundAccount
    from proxy.catalog.checks import Mistake
    from proxy.catalog.schema import Profile
    from proxy.credentials.standin import StandIns

PLACE: Final = re.compile(r"\{(?:(stand_in|variable):([a-z0-9_-]{1,63})|(base_url))\}")


class _MissingError(Exception):
    """The account lacks something that stands in the text."""


@dataclass(frozen=True, slots=True)
class SdkEnvironment:
    """What a program gets: variables, and the files that are to be written for others, by the variable's name."""

    variables: dict[str, str] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


def sdk_environment(
    accounts: Iterable[BoundAccount], agent: str, stand_ins: StandIns, *, base_url: str | None
) -> SdkEnvironment:
    """What `agent` is to be given; the first account that can give a variable wins, a default one before others.

    `base_url` is that of a base-URL listener which the program can reach, without a path; None where there is none.
    """
    found = SdkEnvironment()
    for account in sorted(accounts, key=lambda one: not one.is_default):
        values: dict[str, Mapping[str, str]] = {
            "stand_in": stand_ins.held(agent, account.id),
            "variable": account.variables,
            "base_url": {} if base_url is None else {"": base_url},
        }
        if not values["stand_in"]:
            continue
        for name, given in account.profile.environment.items():
            if name in found.variables or name in found.files:
                continue
            try:
                if isinstance(given, SdkFile):
                    found.files[name] = orjson.dumps(_filled(given.file, values))
                else:
                    found.variables[name] = _text(given, values)
            except _MissingError:
                continue
    return found


def environment_mistakes(profile: Profile) -> Iterator[Mistake]:
    """Places that name nothing the profile has."""
    known = {"stand_in": profile.secrets.keys(), "variable": profile.variables.keys()}
    for name, given in profile.environment.items():
        for text in texts_in(given.file if isinstance(given, SdkFile) else given):
            for kind, what, _ in PLACE.findall(text):
                if kind and what not in known[kind]:
                    word = "secret" if kind == "stand_in" else kind
                    yield ("environment", name), f"there is no {word} named {what}"


def uses_base_url(profile: Profile) -> bool:
    """Whether one of its variables needs a base-URL listener."""
    given = (one.file if isinstance(one, SdkFile) else one for one in profile.environment.values())
    return any("{base_url}" in text for each in given for text in texts_in(each))


def _filled(value: JsonValue, values: Mapping[str, Mapping[str, str]]) -> JsonValue:
    match value:
        case str():
            return _text(value, values)
        case list():
            return [_filled(each, values) for each in value]
        case dict():
            return {name: _filled(each, values) for name, each in value.items()}
    return value


def _text(text: str, values: Mapping[str, Mapping[str, str]]) -> str:
    def fill(found: re.Match[str]) -> str:
        kind, name = found[1] or found[3], found[2] or ""
        if name not in values[kind]:
            raise _MissingError
        return values[kind][name]

    return PLACE.sub(fill, text)
