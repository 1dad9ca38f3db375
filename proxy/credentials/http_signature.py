"""`kind: http_signature`: HTTP Message Signatures (RFC 9421), Web Bot Auth. See docs/credentials/http_signature.md."""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from typing import TYPE_CHECKING, Annotated, Final, Literal, Self, override

from pydantic import Field, model_validator

from proxy.credentials.covered import JOSE, Parameters, UnsignableError, content_digest, mistake_in, name_of
from proxy.credentials.header import with_headers
from proxy.credentials.kind import (
    Kind,
    Presented,
    SecretName,
    Sign,
    filled,
    named_in,
    signature,
    unusable,
)
from proxy.credentials.signing_text import key_bytes
from proxy.errors import Denial, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Credential, Moment, Proving
    from proxy.credentials.rfc9421 import Prepared
    from proxy.model import RequestHead

WEB_BOT_AUTH: Final = "web-bot-auth"
WELL_KNOWN: Final = "/.well-known/http-message-signatures-directory"
"""Where the host of `signature_agent` serves the public keys."""
SHARED: Final = "hmac-sha256"
NONCE_BYTES: Final = 64
"""As Web Bot Auth recommends."""
_AGENT: Final = re.compile(r"https://[A-Za-z0-9._~:/{}@%-]+|data:[A-Za-z0-9+/=;,._-]+")


class HttpSignatureCredential(Kind):
    """Signs each request with a key of the account; the private key may rest in a token or remotely."""

    kind: Literal["http_signature"]
    key: SecretName = Field(default="signing", description="The key's slot.")
    secret: SecretName | None = Field(default=None, description="The shared secret, in place of a key: hmac-sha256.")
    key_encoding: Literal["raw", "base64", "hex"] = Field(
        default="raw", description="How the shared secret is written."
    )
    algorithm: Literal[
        "ed25519", "ecdsa-p256-sha256", "ecdsa-p384-sha384", "rsa-pss-sha512", "rsa-v1_5-sha256", "hmac-sha256"
    ] = "ed25519"
    components: tuple[str, ...] = Field(default=("@method", "@target-uri"), description="What is covered, in order.")
    optional_components: tuple[str, ...] = Field(default=(), description="Covered where the request has them.")
    content_digest: Literal["sha-256", "sha-512"] | None = Field(
        default=None, description="Set Content-Digest (RFC 9530) on requests with a body, and cover it."
    )
    label: Annotated[str, Field(pattern=r"^[a-z*][a-z0-9_.*-]{0,31}$")] = "sig1"
    keyid: str = Field(default="", description="May name `{variable}`; empty: the key's thumbprint (RFC 7638).")
    include_alg: bool = True
    lifetime_s: Annotated[int, Field(ge=1, le=86400)] | None = Field(default=300, description="None: no `expires`.")
    nonce: bool = Field(default=True, description="A fresh one for each request.")
    tag: str | None = None
    signature_agent: str | None = Field(
        default=None, description="URL of the key directory, as Signature-Agent, and covered; may name `{variable}`."
    )

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if (self.algorithm == SHARED) != (self.secret is not None) or (self.secret is not None and not self.keyid):
            raise ValueError("hmac-sha256 takes a secret and a keyid, every other algorithm a key")
        mistake = mistake_in((*self.components, *self.optional_components))
        if mistake is not None:
            raise ValueError(mistake)
        if self.signature_agent is not None and not _AGENT.fullmatch(self.signature_agent):
            raise ValueError("signature_agent is an https URL, or a data URL")
        if self.tag == WEB_BOT_AUTH:
            covers = {"@authority", "@target-uri"} & set(self.components)
            if not covers or self.lifetime_s is None or self.keyid or self.secret is not None:
                raise ValueError("web-bot-auth covers @authority, has a lifetime, and its keyid is the thumbprint")
        return self

    @property
    def needs_body(self) -> bool:  # type: ignore[override]
        """Only for its digest."""
        return self.content_digest is not None

    @override
    def secret_names(self) -> frozenset[str]:
        return frozenset() if self.secret is None else frozenset({self.secret})

    @override
    def variable_names(self) -> frozenset[str]:
        return named_in(self.keyid, self.signature_agent or "")

    @override
    def key_names(self) -> Mapping[str, str]:
        return {self.key: JOSE[self.algorithm]} if self.secret is None else {}

    @override
    def prove(
        self, credential: Credential, head: RequestHead, body: bytes | None, moment: Moment
    ) -> Proving[Presented]:
        head, covered = self._described(credential, head, body)
        created_s = int(moment.now_s)
        parameters = Parameters(
            label=self.label,
            algorithm=self.algorithm,
            keyid=self._keyid(credential),
            created_s=created_s,
            expires_s=None if self.lifetime_s is None else created_s + self.lifetime_s,
            nonce=base64.b64encode(secrets.token_bytes(NONCE_BYTES)).decode() if self.nonce else None,
            tag=self.tag,
            include_alg=self.include_alg,
        )
        try:
            prepared = _prepared(head, body, covered, parameters)
            if self.secret is not None:
                made = hmac.digest(key_bytes(credential, self.secret, self.key_encoding), prepared.base, "sha256")
            else:
                made = yield from signature(Sign(self.key, prepared.base))
            return Presented(prepared.signed(head, made), body)
        except UnsignableError as error:
            detail = f"The request cannot be signed: {error}."
            raise Refused(Denial("invalid_request", detail, by="credentials")) from None

    def _keyid(self, credential: Credential) -> str:
        if (
            self.secret is None
            and credential.keys[self.key].algorithm.replace("EdDSA", "Ed25519") != JOSE[self.algorithm]
        ):
            raise Refused(unusable("The key of this account is not one for the signature's algorithm."))
        return filled(self.keyid, credential.facts) if self.keyid else credential.keys[self.key].thumbprint

    def _described(
        self, credential: Credential, head: RequestHead, body: bytes | None
    ) -> tuple[RequestHead, tuple[str, ...]]:
        """`head` with the fields that go with a signature, and what is covered of it."""
        present = {name for name, _ in head.headers} | {"host"}
        there = tuple(c for c in self.optional_components if (n := name_of(c)).startswith("@") or n in present)
        covered = (*self.components, *there)
        if self.content_digest is not None and body is not None:
            head = with_headers(head, {"content-digest": content_digest(body, self.content_digest)})
            covered += () if "content-digest" in covered else ("content-digest",)
        if self.signature_agent is not None:
            agent = filled(self.signature_agent, credential.facts)
            if not _AGENT.fullmatch(agent):  # it stands between quotes
                raise Refused(unusable("A variable of this account does not fit into a URL."))
            head = with_headers(head, {"signature-agent": f'{self.label}="{agent}"'})
            covered += (f'"signature-agent";key="{self.label}"',)
        return head, covered


def _prepared(head: RequestHead, body: bytes | None, covered: tuple[str, ...], parameters: Parameters) -> Prepared:
    try:
        from proxy.credentials.rfc9421 import prepared  # noqa: PLC0415  # its library is an extra
    except ImportError:
        raise Refused(unusable("Message signatures need the extra `signatures`.")) from None
    return prepared(head, body, covered, parameters)
