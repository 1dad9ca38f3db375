"""`kind: path`: one whole path segment, as Telegram's `/bot<token>/`. See docs/credentials/path.md."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal, override
from urllib.parse import quote

from pydantic import Field

from proxy.credentials.kind import Kind, Presented, named_in, unusable
from proxy.errors import Refused

if TYPE_CHECKING:
    from proxy.credentials.kind import Credential
    from proxy.model import RequestHead


class PathCredential(Kind):
    """Replaces the path segment in which the agent sends its stand-in: `template` is the segment, `bot{token}`."""

    kind: Literal["path"]
    segment: Annotated[int, Field(ge=0, le=16)]
    template: str

    @override
    def secret_names(self) -> frozenset[str]:
        return named_in(self.template)

    @override
    def present(self, credential: Credential, head: RequestHead, body: bytes | None) -> Presented:
        if self.segment >= len(head.segments):
            raise Refused(unusable("The path is too short to hold the credential."))
        value = credential.filled(self.template)
        pieces = head.path[1:].split("/")
        pieces[self.segment] = quote(value, safe="!$&'()*+,=:@", encoding="latin-1")
        segments = (*head.segments[: self.segment], value, *head.segments[self.segment + 1 :])
        return Presented(replace(head, path="/" + "/".join(pieces), segments=segments), body)
