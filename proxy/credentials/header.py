"""`kind: header`: one header, `prefix` and secret or a template. See docs/credentials/header.md."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, Self, override

from pydantic import Field, model_validator

from proxy.credentials.kind import HeaderName, Kind, Presented, SecretName, named_in, unusable
from proxy.errors import Refused

if TYPE_CHECKING:
    from proxy.credentials.kind import Credential
    from proxy.model import RequestHead

_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
"""RFC 9110, section 5.5, one character for each byte."""


def with_headers(head: RequestHead, headers: dict[str, str]) -> RequestHead:
    """`head` with exactly one of each of `headers`, whatever was there before.

    Raises:
        Refused: `credential_unavailable`; a value has what a header cannot hold, from wherever it came.
    """
    if not all(_VALUE.fullmatch(value) for value in headers.values()):
        raise Refused(unusable("The credential has characters that cannot be sent."))
    ours = {name.lower(): value for name, value in headers.items()}
    kept = tuple(pair for pair in head.headers if pair[0] not in ours)
    return replace(head, headers=kept + tuple(ours.items()))


class HeaderCredential(Kind):
    """Sets one header: `prefix` + secret, or `template` with `{secret_name}` placeholders."""

    kind: Literal["header"]
    header: HeaderName = "Authorization"
    prefix: str = ""
    secret: SecretName | None = None
    template: str | None = None
    add_headers: dict[HeaderName, str] = Field(default={}, description="Fixed headers that go with it.")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.secret is None) == (self.template is None):
            raise ValueError("give either secret or template")
        return self

    @override
    def secret_names(self) -> frozenset[str]:
        return frozenset({self.secret}) if self.secret is not None else named_in(self.template or "")

    @override
    def present(self, credential: Credential, head: RequestHead, body: bytes | None) -> Presented:
        value = credential.text(self.secret) if self.secret is not None else credential.filled(self.template or "")
        return Presented(with_headers(head, {**self.add_headers, self.header: self.prefix + value}), body)
