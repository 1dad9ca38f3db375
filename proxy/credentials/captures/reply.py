"""A reply with fresh secrets: read strictly, and written again with stand-ins in their places. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

import orjson

from proxy.canonical.pointer import steps_of
from proxy.credentials.answers.fields import form_fields, media_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pydantic import JsonValue

    from proxy.credentials.captures.spec import CaptureSpec

MAX_REPLY_BYTES: Final = 64 * 1024
MIN_BYTES: Final = 8
"""A shorter value could not be looked for in answers."""
MAX_LIFETIME_DIGITS: Final = 10
TOKEN: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9._~+/=-]{20,}")
JWT: Final = re.compile(r"eyJ[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]*){2}(?:(?:\.[A-Za-z0-9_-]*){2})?")
"""Signed or encrypted, in compact form. Source: RFC 7515, section 7.1; RFC 7516, section 7.1."""
ALWAYS_SECRET: Final = frozenset(
    {"access_token", "refresh_token", "id_token", "client_secret", "device_secret", "registration_access_token"}
)
"""Source: RFC 6749, 7591; OpenID Connect Core, Native SSO. An agent chooses by its `scope` which of them there are."""
FORM: Final = "application/x-www-form-urlencoded"


class CaptureFailedError(Exception):
    """The reply cannot be captured, so it must not be passed on. The text is ours and goes to the agent."""


@dataclass(frozen=True, slots=True)
class Fresh:
    """One fresh secret: where it stands, which slot it fills, what it is."""

    pointer: str
    slot: str
    value: str = field(repr=False)

    @property
    def name(self) -> str:
        """The last step of the pointer: `access_token`."""
        return self.pointer.rpartition("/")[2]


@dataclass(frozen=True, slots=True)
class CapturedReply:
    """A reply that was understood. `fresh` is empty where it says (`unless`) that there is none."""

    document: JsonValue = field(repr=False)
    fresh: tuple[Fresh, ...] = field(repr=False)
    form: bool

    def written(self, stand_ins: Mapping[str, str]) -> bytes:
        """The reply with a stand-in at every pointer of `stand_ins`."""
        for pointer, value in stand_ins.items():
            *way, last = steps_of(pointer)
            at = self.document
            for step in way:
                at = _down(at, step)
            if isinstance(at, dict):
                at[last] = value
            elif isinstance(at, list):
                at[int(last)] = value
        if self.form:
            assert isinstance(self.document, dict)
            return urlencode({name: str(value) for name, value in self.document.items()}).encode()
        return orjson.dumps(self.document)

    def state(self, now_s: int) -> dict[str, str]:
        """What a login's reply says, as grants are kept: its tokens by name, `expires_at_s`, `scope`, `token_type`.

        Source: RFC 6749, section 5.1.
        """
        kept = {one.name: one.value for one in self.fresh}
        told = self.document if isinstance(self.document, dict) else {}
        for name in ("scope", "token_type"):
            if isinstance(value := told.get(name), str):
                kept[name] = value
        life = str(told.get("expires_in", ""))
        if life.isascii() and life.isdigit() and len(life) <= MAX_LIFETIME_DIGITS:
            kept["expires_at_s"] = str(now_s + int(life))
        return kept


def read(spec: CaptureSpec, content_type: str | None, body: bytes) -> CapturedReply:
    """What `body` (decoded, whole) holds.

    Raises:
        CaptureFailedError: another content type, not readable, a secret is missing or is none.
    """
    kind = media_type(content_type)
    if kind not in spec.content_types or len(body) > MAX_REPLY_BYTES:
        raise CaptureFailedError("The reply is not of the type or size that the profile says.")
    document = _document(kind, body)
    fresh, missing = [], []
    for pointer, slot in spec.secrets.items():
        value = _at(document, pointer)
        if value is None:
            missing.append(pointer)
        elif not isinstance(value, str) or len(value.encode("utf-8", "replace")) < MIN_BYTES:
            raise CaptureFailedError("A secret in the reply is not a text, or too short.")
        else:
            fresh.append(Fresh(pointer, slot, value))
    if spec.unless is not None and not fresh and _at(document, spec.unless) is not None:
        return CapturedReply(document, (), kind == FORM)
    if set(missing) - set(spec.optional):
        raise CaptureFailedError("The reply lacks a secret that the profile names.")
    return CapturedReply(document, tuple(fresh), kind == FORM)


def looks_secret(document: JsonValue, prefixes: Iterable[str], known: Callable[[str], bool], name: str = "") -> bool:
    """Whether a text is left that looks like a whole token, and is no stand-in.

    A token begins as the vendor's do, is a JWT, or has a `name` under which nothing else stands. Vendors also show the
    ends of a token (`sk-a...9xyz`); these have characters that no token has.
    """
    match document:
        case str():
            whole = TOKEN.fullmatch(document) is not None
            token = whole and (document.startswith(tuple(prefixes)) or JWT.fullmatch(document) is not None)
            named = name in ALWAYS_SECRET and len(document) >= MIN_BYTES
            return (token or named) and not known(document)
        case list():
            return any(looks_secret(each, prefixes, known, name) for each in document)
        case dict():
            return any(looks_secret(each, prefixes, known, key) for key, each in document.items())
    return False


def _document(kind: str, body: bytes) -> JsonValue:
    if kind == FORM:
        pairs = form_fields(body)
        if pairs is None or len(dict(pairs)) != len(pairs):
            raise CaptureFailedError("The reply is not a form.")
        return dict(pairs)
    try:
        document: JsonValue = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise CaptureFailedError("The reply is not JSON.") from None
    return document


def _at(document: JsonValue, pointer: str) -> JsonValue:
    """What stands at `pointer` (RFC 6901); None for nothing, and for `null`."""
    at = document
    for step in steps_of(pointer):
        at = _down(at, step)
    return at


def _down(at: JsonValue, step: str) -> JsonValue:
    if isinstance(at, dict):
        return at.get(step)
    if isinstance(at, list) and step.isascii() and step.isdigit() and int(step[:6]) < len(at):
        return at[int(step[:6])]
    return None
