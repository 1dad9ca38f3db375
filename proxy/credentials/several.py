"""`kind: several`: several spots at once, as Datadog's two keys in two headers. See docs/credentials/several.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self, override

from pydantic import Field, model_validator

from proxy.credentials.basic import BasicCredential
from proxy.credentials.cookie import CookieCredential
from proxy.credentials.header import HeaderCredential
from proxy.credentials.kind import Kind, Presented
from proxy.credentials.query import QueryCredential

if TYPE_CHECKING:
    from proxy.credentials.kind import Credential
    from proxy.model import RequestHead

Part = Annotated[HeaderCredential | BasicCredential | QueryCredential | CookieCredential, Field(discriminator="kind")]


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
    def present(self, credential: Credential, head: RequestHead, body: bytes | None) -> Presented:
        presented = Presented(head, body)
        for part in self.parts:
            presented = part.present(credential, presented.head, presented.body)
        return presented


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
