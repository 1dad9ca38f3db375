"""`kind: body_field`: one field of a JSON object or form. See docs/credentials/body_field.md."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, ClassVar, Literal, NoReturn, Self, override
from urllib.parse import parse_qsl, urlencode

from pydantic import Field, model_validator

from proxy.canonical.pointer import steps_of
from proxy.credentials.kind import Kind, Presented, SecretName, as_utf8
from proxy.errors import Denial, Refused

if TYPE_CHECKING:
    from proxy.credentials.kind import Credential
    from proxy.model import RequestHead

MAX_FORM_FIELDS = 1000
AS_BYTES = "surrogateescape"
"""What is not UTF-8 comes out as it went in (PEP 383)."""


class BodyFieldCredential(Kind):
    """Sets one field of a JSON object (JSON pointer) or form body; an operation must name it."""

    kind: Literal["body_field"]
    format: Literal["json", "form"]
    pointer: str = Field(description="JSON pointer (RFC 6901) such as `/token`, or the form field's name.")
    secret: SecretName
    needs_body: ClassVar[bool] = True
    opt_in: ClassVar[bool] = True

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        if self.format == "json" and not self.pointer.startswith("/"):
            raise ValueError("a JSON pointer starts with /")
        return self

    @override
    def secret_names(self) -> frozenset[str]:
        return frozenset({self.secret})

    @override
    def present(self, credential: Credential, head: RequestHead, body: bytes | None) -> Presented:
        if head.header("content-encoding") is not None:
            raise Refused(_invalid("The body must not be compressed."))
        value = credential.text(self.secret)
        given = body or b""
        return Presented(head, self._json(given, as_utf8(value)) if self.format == "json" else self._form(given, value))

    def _json(self, body: bytes, value: str) -> bytes:
        try:  # whole numbers of any size stay what they are
            document = json.loads((body or b"{}").decode(), parse_constant=_refuse)
        except (ValueError, RecursionError):
            raise Refused(_invalid("The body is not JSON.")) from None
        *way, last = steps_of(self.pointer)
        at = document
        for step in way:
            at = at.get(step) if isinstance(at, dict) else None
        if not isinstance(at, dict):
            raise Refused(_invalid("The body has no object at the place of the credential."))
        at[last] = value
        try:
            return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        except ValueError:
            raise Refused(_invalid("The body has a number or a text that JSON cannot hold.")) from None

    def _form(self, body: bytes, value: str) -> bytes:
        try:
            pairs = parse_qsl(
                body.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS, errors=AS_BYTES
            )
        except (UnicodeDecodeError, ValueError):
            raise Refused(_invalid("The body is not a form.")) from None
        kept = [(name, text) for name, text in pairs if name != self.pointer]
        return urlencode([*kept, (self.pointer, value.encode("latin-1"))], errors=AS_BYTES).encode()


def _refuse(_name: str) -> NoReturn:
    raise ValueError("not a JSON number")


def _invalid(detail: str) -> Denial:
    return Denial("invalid_request", detail, by="credentials")
