"""One question to a token endpoint: client authentication, proof, and the one repetition for a nonce."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlencode

import orjson

from proxy.credentials.kind import Call, call
from proxy.credentials.oauth.client import authenticated
from proxy.credentials.oauth.dpop import (
    KEY,
    NONCE_HEADER,
    NONCE_WANTED,
    PROOF_HEADER,
    Proven,
    nonce_of,
    proof,
    target_of,
)
from proxy.credentials.oauth.reply import error_code

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import JsonValue

    from proxy.credentials.kind import Ingredients, Minting, Reply
    from proxy.credentials.oauth.client import Client

type Fields = Mapping[str, JsonValue]
"""Parameters by name; a list is a parameter that is repeated, an object is sent as JSON."""
FORM: Final = "application/x-www-form-urlencoded"
JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked, of whom, and how.

    Attributes:
        audience: of a client assertion.
        certificate: the slot of the client certificate, or None.
        proves: whether a DPoP proof goes along.
        nonce: the last one of this server, or None.
        uses_up: see `Call.uses_up`.
    """

    url: str
    fields: Fields = field(repr=False)
    client: Client
    client_id: str
    audience: str
    format: Literal["form", "json"] = "form"
    headers: Mapping[str, str] = field(default_factory=dict)
    certificate: str | None = None
    proves: bool = False
    nonce: str | None = None
    uses_up: Mapping[str, str] = field(default_factory=dict, repr=False)


def ask(question: Question, given: Ingredients) -> Minting[tuple[Reply, str | None]]:
    """The reply, and the newest nonce. Only an answer that wants a nonce is followed by one more question.

    A refused assertion is not sent again, and no other way of authentication is tried.
    """
    reply, nonce = yield from _once(question, given, question.nonce)
    if question.proves and nonce != question.nonce and _wants_nonce(reply):
        reply, nonce = yield from _once(question, given, nonce)
    return reply, nonce


def _once(question: Question, given: Ingredients, nonce: str | None) -> Minting[tuple[Reply, str | None]]:
    fields, headers = yield from authenticated(question.client, question.client_id, question.audience, given)
    if question.proves:
        proven = Proven("POST", target_of(question.url), given.now_s, nonce=nonce)
        headers[PROOF_HEADER] = yield from proof(given.keys[KEY], proven)
    content_type, body = encoded({**question.fields, **fields}, question.format)
    fixed = {"accept": JSON, "content-type": content_type, "cache-control": "no-store"}
    reply = yield from call(
        Call(
            "POST",
            question.url,
            headers={**fixed, **question.headers, **headers},
            body=body,
            certificate=question.certificate,
            uses_up=question.uses_up,
        )
    )
    return reply, nonce_of(reply.headers.get(NONCE_HEADER)) or nonce


def encoded(fields: Fields, form: Literal["form", "json"]) -> tuple[str, bytes]:
    """Content type and body."""
    if form == "json":
        return JSON, orjson.dumps(dict(fields))
    pairs = [(name, one if isinstance(one, str) else orjson.dumps(one)) for name, one in _repeated(fields)]
    return FORM, urlencode(pairs).encode()


def _repeated(fields: Fields) -> Iterator[tuple[str, JsonValue]]:
    """A list of strings is a repeated parameter (`resource`, RFC 8707); any other list is one JSON value."""
    for name, value in fields.items():
        if isinstance(value, list) and all(isinstance(one, str) for one in value):
            yield from ((name, one) for one in value)
        else:
            yield name, value


def _wants_nonce(reply: Reply) -> bool:
    """Source: RFC 9449, section 8."""
    if reply.status not in (400, 401):
        return False
    try:
        document = orjson.loads(reply.body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(document, dict) and error_code(document) == NONCE_WANTED
