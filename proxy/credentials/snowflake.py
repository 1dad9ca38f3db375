"""`kind: snowflake`: a JWT that Snowflake takes for a user's key pair. See docs/credentials/snowflake.md."""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Final, Literal, override

from joserfc.jwk import RSAKey
from pydantic import Field

from proxy.credentials import replies
from proxy.credentials.assertion import signed
from proxy.credentials.header import with_headers
from proxy.credentials.kind import Presented, SecretName, filled, named_in
from proxy.credentials.token_kind import TokenKind, credential

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Credential, Ingredients, Minting
    from proxy.keys.public import PublicKey
    from proxy.model import RequestHead

LIFETIME_S: Final = 3540
"""Snowflake takes none that lives longer than an hour."""
TYPE: Final = {"x-snowflake-authorization-token-type": "KEYPAIR_JWT"}


class SnowflakeCredential(TokenKind):
    """Signed here, without asking anyone, and kept for nearly an hour."""

    kind: Literal["snowflake"]
    key: SecretName = Field(default="user", description="Slot of the user's RSA key.")
    account: str = "{account}"
    user: str = "{user}"

    @override
    def variable_names(self) -> frozenset[str]:
        return named_in(self.account, self.user)

    @override
    def key_names(self) -> Mapping[str, str]:
        return {self.key: "RS256"}

    @override
    def foreign_keys(self) -> frozenset[str]:
        return frozenset({self.key})

    @override
    def present(self, credential: Credential, head: RequestHead, body: bytes | None) -> Presented:
        presented = super().present(credential, head, body)
        return Presented(with_headers(presented.head, TYPE), body)

    @override
    def mint(self, given: Ingredients) -> Minting[Credential]:
        public = given.keys[self.key]
        if public.algorithm != "RS256":
            raise replies.refused("Snowflake takes RSA keys only.")
        # An account locator is followed by its region, which is not part of the name here.
        account = filled(self.account, given.variables).partition(".")[0].upper()
        subject = f"{account}.{filled(self.user, given.variables).upper()}"
        claims = {
            "iss": f"{subject}.{fingerprint(public)}",
            "sub": subject,
            "iat": given.now_s,
            "exp": given.now_s + LIFETIME_S,
        }
        jwt = yield from signed(self.key, public, claims)
        return credential(jwt, given.now_s, LIFETIME_S)


def fingerprint(public: PublicKey) -> str:
    """As `DESCRIBE USER` shows it: SHA-256 of the public key's DER (SubjectPublicKeyInfo), base64 with padding."""
    der = RSAKey.import_key(dict(public.jwk)).as_der(private=False)
    return f"SHA256:{base64.b64encode(hashlib.sha256(der).digest()).decode('ascii')}"
