"""`kind: request_jwt`: a JWT for each request, bound to it. See docs/credentials/request_jwt.md."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final, Literal, override

from pydantic import Field, field_validator

from proxy.credentials.assertion import signed
from proxy.credentials.header import with_headers
from proxy.credentials.kind import HeaderName, Kind, Presented, SecretName, filled, named_in
from proxy.model import HTTPS_PORT
from proxy.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Credential, Moment, Proving
    from proxy.model import RequestHead

REQUEST: Final = frozenset({"method", "host", "path", "target"})
"""What a claim may name besides the account's variables."""


class RequestJwtCredential(Kind):
    """Signs claims that name the request, anew for each."""

    kind: Literal["request_jwt"]
    key: SecretName = Field(default="request", description="Slot of the signing key.")
    algorithm: Literal["ES256", "ES384", "EdDSA", "Ed25519", "RS256", "PS256"] = "ES256"
    claims: dict[str, str | tuple[str, ...]] = Field(
        description="Texts or lists of texts; may hold {method}, {host}, {path}, {target} and {variables}."
    )
    jose: dict[str, str] = Field(
        default={}, description="Further header parameters, such as kid; may hold {variables}."
    )
    lifetime_s: int = Field(default=120, ge=1, le=3600)
    stamps: tuple[Literal["iat", "nbf", "exp", "jti"], ...] = ("iat", "nbf", "exp", "jti")
    nonce: bool = Field(default=False, description="A random `nonce` in the header.")
    header: HeaderName = "Authorization"
    prefix: str = "Bearer "
    add_headers: dict[HeaderName, str] = Field(default={}, description="Fixed headers that go with it.")

    @field_validator("jose")
    @classmethod
    def _says_nothing_of_the_signature(cls, jose: dict[str, str]) -> dict[str, str]:
        if jose.keys() & {"alg", "crit", "b64", "nonce"}:
            raise ValueError("alg, crit, b64 and nonce are not the profile's to say")
        return jose

    @override
    def variable_names(self) -> frozenset[str]:
        return named_in(*self._texts()) - REQUEST | named_in(*self.jose.values())

    @override
    def key_names(self) -> Mapping[str, str]:
        return {self.key: self.algorithm}

    @override
    def foreign_keys(self) -> frozenset[str]:
        return frozenset({self.key})

    @override
    def prove(
        self, credential: Credential, head: RequestHead, body: bytes | None, moment: Moment
    ) -> Proving[Presented]:
        now_s = int(moment.now_s)
        known = {**credential.facts, **_request(head)}
        claims: dict[str, object] = {
            name: filled(text, known) if isinstance(text, str) else [filled(each, known) for each in text]
            for name, text in self.claims.items()
        }
        stamps = {"iat": now_s, "nbf": now_s, "exp": now_s + self.lifetime_s, "jti": secrets.token_urlsafe(16)}
        claims |= {name: stamps[name] for name in self.stamps}
        header = {name: filled(text, credential.facts) for name, text in self.jose.items()}
        if self.nonce:
            header["nonce"] = secrets.token_hex(16)
        jwt = yield from signed(self.key, credential.keys[self.key], claims, header)
        sent = with_headers(head, {**self.add_headers, self.header: self.prefix + jwt})
        return Presented(sent, body, {"request_jwt": Secret("request JWT", jwt)})

    def _texts(self) -> list[str]:
        return [t for text in self.claims.values() for t in ((text,) if isinstance(text, str) else text)]


def _request(head: RequestHead) -> dict[str, str]:
    authority = head.authority
    host = authority.host if authority.port == HTTPS_PORT else str(authority)
    target = head.path if head.query is None else f"{head.path}?{head.query}"
    return {"method": head.method, "host": host, "path": head.path, "target": target}
