"""`kind: hmac`: a keyed hash over what a template says, per request. See docs/credentials/hmac.md."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import uuid
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import TYPE_CHECKING, Literal, Self, override
from urllib.parse import urlencode

from pydantic import Field, model_validator

from proxy.canonical import set_query, without_query
from proxy.credentials.header import with_headers
from proxy.credentials.kind import HeaderName, Kind, Presented, SecretName, fit_for_header
from proxy.credentials.signing_text import (
    AS_BYTES,
    BUILT_IN,
    Encoding,
    Hash,
    Material,
    form_pairs,
    key_bytes,
    mistake_in,
    names_in,
    reads_body,
)
from proxy.documents import Strict
from proxy.errors import Denial, Refused

if TYPE_CHECKING:
    from proxy.credentials.kind import Credential, Moment, Proving
    from proxy.model import RequestHead


class DigestStage(Strict):
    """A hash, without key, that other templates name."""

    hash: Hash = "sha256"
    of: str = Field(description="Template of what is hashed.")


class HmacCredential(Kind):
    """Signs each request: HMAC (RFC 2104) with the secret over `string_to_sign`."""

    kind: Literal["hmac"]
    secret: SecretName
    key_encoding: Literal["raw", "base64", "hex"] = Field(default="raw", description="How the secret is written.")
    algorithm: Hash = "sha256"
    string_to_sign: str = Field(min_length=1, description="Template of what is signed.")
    digests: dict[SecretName, DigestStage] = Field(
        default={},
        description="Hashes that templates name, `{name}` in hex or `{name:raw}`; each may use earlier ones.",
    )
    encoding: Encoding = Field(default="hex", description="How `{signature}` is written.")
    timestamp: Literal["s", "ms", "us", "iso8601", "http_date"] = Field(default="s", description="`{timestamp}`.")
    nonce: Literal["hex", "uuid", "increasing"] = Field(default="hex", description="`{nonce}`.")
    headers: dict[HeaderName, str] = Field(default={}, description="Headers to set: name to template.")
    query: dict[str, str] = Field(default={}, description="Query parameters to set: name to template.")
    form: dict[str, str] = Field(default={}, description="Fields of the form body to set: name to template.")

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        made = frozenset(self.digests)
        if made & BUILT_IN:
            raise ValueError("a digest has the name of a placeholder")
        first = [*(stage.of for stage in self.digests.values()), self.string_to_sign, *self.form.values()]
        if "signature" in names_in(*first):
            raise ValueError("{signature} stands in headers and query only")
        if "signature" not in names_in(*self.headers.values(), *self.query.values()):
            raise ValueError("no header and no query parameter has {signature}")
        for template in (*first, *self.headers.values(), *self.query.values()):
            if (mistake := mistake_in(template, made)) is not None:
                raise ValueError(mistake)
        return self

    def _names(self) -> frozenset[str]:
        stages = (stage.of for stage in self.digests.values())
        placed = (*self.headers.values(), *self.query.values(), *self.form.values())
        return names_in(self.string_to_sign, *stages, *placed)

    @override
    def secret_names(self) -> frozenset[str]:
        return (self._names() - BUILT_IN - frozenset(self.digests)) | {self.secret}

    @property
    def needs_body(self) -> bool:  # type: ignore[override]
        """Only where a template reads it, or a field of it is set."""
        return bool(self.form) or reads_body(self._names())

    @override
    def prove(
        self, credential: Credential, head: RequestHead, body: bytes | None, moment: Moment
    ) -> Proving[Presented]:
        yield from ()
        material = Material(
            credential, head, body or b"", _written(moment, self.timestamp), _nonce(moment, self.nonce), self.encoding
        )
        material = replace(material, head=self._cleared(head))
        if self.form:
            material = self._with_form(material)
        material = self._placed(material, signed=False)
        for name, stage in self.digests.items():
            material = material.having(name, hashlib.new(stage.hash, material.filled(stage.of)).digest())
        key = key_bytes(credential, self.secret, self.key_encoding)
        made = hmac.digest(key, material.filled(self.string_to_sign), self.algorithm)
        material = self._placed(material.having("signature", made), signed=True)
        held = body is not None or self.form
        return Presented(material.head, material.body if held else None)

    def _cleared(self, head: RequestHead) -> RequestHead:
        """Without what the agent has put where our values go: a signature of its own must not be signed."""
        ours = {name.lower() for name in self.headers}
        kept = tuple(pair for pair in head.headers if pair[0] not in ours)
        return replace(head, headers=kept, query=without_query(head.query, {name.lower() for name in self.query}))

    def _with_form(self, material: Material) -> Material:
        """The body with the fields of `form`: in the place of fields of the same name, or at the end."""
        if material.head.header("content-encoding") is not None:
            raise Refused(Denial("invalid_request", "The body must not be compressed.", by="credentials"))
        left = {name: material.filled(template) for name, template in self.form.items()}
        pairs: list[tuple[str, str | bytes]] = []
        for name, value in form_pairs(material.body):
            if name not in self.form:
                pairs.append((name, value))
            elif name in left:
                pairs.append((name, left.pop(name)))
        return replace(material, body=urlencode([*pairs, *left.items()], errors=AS_BYTES).encode())

    def _placed(self, material: Material, *, signed: bool) -> Material:
        """With the headers and query parameters that do, or do not, hold the signature (or a digest)."""
        late = {"signature", *self.digests}
        for name, template in self.query.items():
            if bool(names_in(template) & late) is signed:
                value = fit_for_header(material.filled(template).decode("latin-1"))
                material = replace(
                    material,
                    head=replace(material.head, query=set_query(material.head.query, name, value.encode("latin-1"))),
                )
        for name, template in self.headers.items():
            if bool(names_in(template) & late) is signed:
                value = fit_for_header(material.filled(template).decode("latin-1"))
                material = replace(material, head=with_headers(material.head, {name: value}))
        return material


def _written(moment: Moment, form: str) -> str:
    at = datetime.fromtimestamp(moment.now_s, UTC)
    match form:
        case "ms":
            return str(int(moment.now_s * 1000))
        case "us":
            return str(int(moment.now_s * 1_000_000))
        case "iso8601":
            return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"
        case "http_date":
            return format_datetime(at, usegmt=True)
        case _:
            return str(int(moment.now_s))


def _nonce(moment: Moment, form: str) -> str:
    match form:
        case "uuid":
            return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
        case "increasing":
            return str(moment.serial)
        case _:
            return secrets.token_hex(16)
