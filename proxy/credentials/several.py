"""`kind: several`: several spots at once, as Datadog's two keys in two headers. See docs/credentials/several.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self, override

from pydantic import Field, model_validator

from proxy.credentials.basic import BasicCredential
from proxy.credentials.cookie import CookieCredential
from proxy.credentials.header import HeaderCredential
from proxy.credentials.kind import Kind, Lesson, Presented
from proxy.credentials.query import QueryCredential
from proxy.credentials.tls_client import TlsClientCredential
from proxy.credentials.totp import TotpCredential

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Credential, Moment, Proving
    from proxy.model import RequestHead, ResponseHead
    from proxy.secret import Secret

Part = Annotated[
    HeaderCredential | BasicCredential | QueryCredential | CookieCredential | TotpCredential | TlsClientCredential,
    Field(discriminator="kind"),
]


class SeveralCredentials(Kind):
    """Each part in its place; all of their secrets are needed."""

    kind: Literal["several"]
    parts: Annotated[tuple[Part, ...], Field(min_length=2)]

    @model_validator(mode="after")
    def _in_different_spots(self) -> Self:
        if len({_spot(part) for part in self.parts}) < len(self.parts):
            raise ValueError("two parts have the same place: the later would take the earlier away")
        return self

    @override
    def secret_names(self) -> frozenset[str]:
        return frozenset[str]().union(*(part.secret_names() for part in self.parts))

    @override
    def key_names(self) -> Mapping[str, str]:
        return {slot: algorithm for part in self.parts for slot, algorithm in part.key_names().items()}

    @override
    def certificate_slot(self) -> str | None:
        return next((slot for part in self.parts if (slot := part.certificate_slot()) is not None), None)

    @property
    def needs_body(self) -> bool:  # type: ignore[override]
        """Where a part does."""
        return any(part.needs_body for part in self.parts)

    @override
    def prove(
        self, credential: Credential, head: RequestHead, body: bytes | None, moment: Moment
    ) -> Proving[Presented]:
        made: dict[str, Secret] = {}
        for part in self.parts:
            presented = yield from part.prove(credential, head, body, moment)
            head, body = presented.head, presented.body
            made |= presented.secrets
        return Presented(head, body, made)

    @override
    def learn(self, credential: Credential, head: RequestHead, response: ResponseHead, moment: Moment) -> Lesson:
        """What the parts learn, of which none sends a request again."""
        lessons = (part.learn(credential, head, response, moment) for part in self.parts)
        return Lesson({name: value for lesson in lessons for name, value in lesson.facts.items()})


def _spot(part: Part) -> tuple[str, str]:
    """Where a part puts its secret."""
    match part:
        case HeaderCredential():
            return "header", part.header.lower()
        case BasicCredential():
            return "header", "authorization"
        case CookieCredential():
            return "header", "cookie"
        case QueryCredential():
            return "query", part.parameter.lower()
        case TlsClientCredential():
            return "connection", ""
        case TotpCredential():
            place = part.header or part.query
            return ("body", part.pointer) if place is None else ("header" if part.header else "query", place.lower())
