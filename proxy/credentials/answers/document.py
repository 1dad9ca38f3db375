"""`kind: document`: a text or JSON document with stand-ins in it, as metadata servers give. See docs/token-calls.md."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self, override

from pydantic import Field, JsonValue, model_validator

from proxy.credentials.answers.aws_sts import utc
from proxy.credentials.answers.kind import NO_STORE, AnswerKind, json_answer
from proxy.credentials.kind import HeaderName  # noqa: TC001  # pydantic needs it at run time
from proxy.errors import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from proxy.credentials.answers.kind import Asked

PLACE: Final = re.compile(r"\{(?:(stand_in|variable|param|header):([A-Za-z0-9_-]{1,64})|(now|expires))\}")


class _MissingError(Exception):
    """Something that the document needs is not there."""


class DocumentAnswer(AnswerKind):
    """`body` with its places filled in: a text as `text/plain`, anything else as JSON.

    Places: `{stand_in:SLOT}`, `{variable:NAME}`, `{param:NAME}`, `{header:NAME}`, `{now}`, `{expires}`.
    """

    kind: Literal["document"]
    body: JsonValue
    headers: dict[HeaderName, str] = {}
    lifetime_s: Annotated[int, Field(ge=60, le=31_536_000)] = Field(
        default=3600, description="How far `{expires}` is in the future."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.otherwise != "refuse":
            raise ValueError("a document answers every call")
        return self

    @override
    def slots(self) -> frozenset[str]:
        return frozenset(name for kind, name in self._places() if kind == "stand_in")

    @override
    def variable_names(self) -> frozenset[str]:
        return frozenset(name for kind, name in self._places() if kind == "variable")

    def _places(self) -> Iterator[tuple[str, str]]:
        for text in (*texts_in(self.body), *self.headers.values()):
            for kind, name, _ in PLACE.findall(text):
                yield kind, name

    @override
    def answer(self, asked: Asked) -> Answer | None:
        try:
            headers = tuple((n.lower().encode(), _field(self._filled(v, asked))) for n, v in self.headers.items())
            body = self._with_values(self.body, asked)
        except _MissingError:
            return Answer(404, ((b"content-type", b"text/plain"), NO_STORE), b"")
        if isinstance(body, str):
            plain = () if b"content-type" in dict(headers) else ((b"content-type", b"text/plain"),)
            return Answer(200, (*plain, *headers, NO_STORE), body.encode())
        made = json_answer(body)
        return Answer(made.status, (*made.headers, *headers), made.body)

    def _with_values(self, value: JsonValue, asked: Asked) -> JsonValue:
        match value:
            case str():
                return self._filled(value, asked)
            case list():
                return [self._with_values(each, asked) for each in value]
            case dict():
                return {name: self._with_values(each, asked) for name, each in value.items()}
        return value

    def _filled(self, text: str, asked: Asked) -> str:
        def fill(found: re.Match[str]) -> str:
            kind, name, moment = found.groups()
            if moment:
                return utc(asked.now_s + (self.lifetime_s if moment == "expires" else 0))
            known = {
                "stand_in": asked.holder.stand_ins,
                "variable": asked.holder.variables,
                "param": asked.params,
                "header": dict(asked.head.headers),
            }[kind]
            if name not in known:
                raise _MissingError
            return known[name]

        return PLACE.sub(fill, text)


def _field(value: str) -> bytes:
    """`value` as that of a header. Raises `_MissingError`: it has, from the request, what cannot stand there."""
    if not value.isascii() or not value.isprintable():
        raise _MissingError
    return value.encode("ascii")


def texts_in(value: JsonValue) -> Iterator[str]:
    """Every string in `value`, at any depth; names of members are none."""
    match value:
        case str():
            yield value
        case list():
            for each in value:
                yield from texts_in(each)
        case dict():
            for each in value.values():
                yield from texts_in(each)
