"""`kind: basic`: HTTP Basic (RFC 7617), as git over https uses it. See docs/credentials/basic.md."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Literal, Self, override

from pydantic import model_validator

from proxy.credentials.header import with_headers
from proxy.credentials.kind import Kind, Presented, named_in, unusable
from proxy.errors import Refused

if TYPE_CHECKING:
    from proxy.credentials.kind import Credential
    from proxy.model import RequestHead


class BasicCredential(Kind):
    """User and password, each a literal with `{secret_name}` placeholders."""

    kind: Literal["basic"]
    username: str = ""
    password: str = ""

    @model_validator(mode="after")
    def _can_be_encoded(self) -> Self:
        if ":" in self.username or not (self.username + self.password).isascii():
            raise ValueError("a user name has no colon, and both are ASCII (RFC 7617, section 2)")
        return self

    @override
    def secret_names(self) -> frozenset[str]:
        return named_in(self.username, self.password)

    @override
    def present(self, credential: Credential, head: RequestHead, body: bytes | None) -> Presented:
        username = credential.filled(self.username)
        if ":" in username:
            raise Refused(unusable("The user name has a colon, which HTTP Basic cannot hold."))
        pair = f"{username}:{credential.filled(self.password)}"
        encoded = base64.b64encode(pair.encode("latin-1")).decode("ascii")
        return Presented(with_headers(head, {"authorization": f"Basic {encoded}"}), body)
