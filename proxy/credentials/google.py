"""`kind: google`: tokens of a Google service account, from its key. See docs/credentials/google.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Self, override
from urllib.parse import urlencode

import orjson
from pydantic import Field, model_validator

from proxy.credentials import replies
from proxy.credentials.assertion import signing_input
from proxy.credentials.kind import Call, SecretName, call, filled, named_in
from proxy.credentials.token_kind import TokenKind, credential
from proxy.keys import software
from proxy.keys.public import base64url
from proxy.keys.signer import KeyUnavailableError
from proxy.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Credential, Ingredients, Minting

CLOUD_PLATFORM: Final = "https://www.googleapis.com/auth/cloud-platform"
JWT_BEARER: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
FORM: Final = {"content-type": "application/x-www-form-urlencoded"}
ASSERTION_S: Final = 3600
"""Google takes no longer ones."""


class GoogleCredential(TokenKind):
    """Signs an assertion with the key in a service account's JSON file, and exchanges it; or presents it as it is."""

    kind: Literal["google"]
    service_account: SecretName = Field(default="service_account", description="Slot of the JSON key file.")
    obtain: Literal["access_token", "id_token", "self_signed"] = "access_token"
    scopes: tuple[str, ...] = (CLOUD_PLATFORM,)
    audience: str = Field(default="", description="Of an ID token, or of a self-signed one in place of scopes.")
    subject: str = Field(default="", description="The user it acts for, by domain-wide delegation.")
    token_url: str = "https://oauth2.googleapis.com/token"  # noqa: S105  # an address

    @model_validator(mode="after")
    def _has_target(self) -> Self:
        if self.obtain == "id_token" and not self.audience:
            raise ValueError("an ID token has an audience")
        if not self.scopes and not self.audience:
            raise ValueError("give scopes or an audience")
        return self

    @override
    def secret_names(self) -> frozenset[str]:
        return frozenset({self.service_account})

    @override
    def variable_names(self) -> frozenset[str]:
        return named_in(self.audience, self.subject)

    @override
    def endpoints(self, variables: Mapping[str, str]) -> tuple[str, ...]:
        return (self.token_url,)

    @override
    def mint(self, given: Ingredients) -> Minting[Credential]:
        account = _ServiceAccount(given.secrets[self.service_account], self.token_url)
        jwt = account.signed(self._claims(account.email, given))
        also = {"service_account_private_key": account.private_key, "assertion": Secret("assertion", jwt)}
        if self.obtain == "self_signed":
            return credential(jwt, given.now_s, ASSERTION_S, also={k: v for k, v in also.items() if k != "assertion"})
        form = urlencode({"grant_type": JWT_BEARER, "assertion": jwt}).encode("ascii")
        reply = yield from call(Call("POST", self.token_url, headers=FORM, body=form))
        if self.obtain == "id_token":
            found, audience = replies.document(reply, given.now_s), filled(self.audience, given.variables)
            token, lifetime_s = id_token(found, "id_token", audience, given.now_s)
        else:
            token, lifetime_s = replies.bearer(reply, given.now_s)
        return credential(token, given.now_s, lifetime_s, also=also)

    def _claims(self, email: str, given: Ingredients) -> dict[str, str | int]:
        claims: dict[str, str | int] = {"iss": email, "iat": given.now_s, "exp": given.now_s + ASSERTION_S}
        audience, subject = filled(self.audience, given.variables), filled(self.subject, given.variables)
        match self.obtain:
            case "access_token":
                claims |= {"aud": self.token_url, "scope": " ".join(self.scopes)}
            case "id_token":
                claims |= {"aud": self.token_url, "target_audience": audience}
            case "self_signed":
                claims |= {"sub": email}
                claims |= {"aud": audience} if audience else {"scope": " ".join(self.scopes)}
        return claims | {"sub": subject} if subject else claims


def id_token(found: replies.Document, name: str, audience: str, now_s: int) -> tuple[str, int]:
    """The ID token under `name`, and how long it lives. Raises where it is for another audience."""
    token = replies.token(found, name)
    claims = replies.claims(token)
    if claims.get("aud") != audience:
        raise replies.refused("The ID token is for another audience.")
    end_s = claims.get("exp")
    if not isinstance(end_s, int) or isinstance(end_s, bool) or end_s <= now_s:
        raise replies.failed("The ID token has no expiry that can be used.")
    return token, min(end_s - now_s, replies.MAX_LIFETIME_S)


class _ServiceAccount:
    """What a key file of Google's says. Raises `MintFailedError` where it is none, or is for another token endpoint."""

    def __init__(self, file: Secret, token_url: str) -> None:
        try:
            said = orjson.loads(file.reveal())
        except orjson.JSONDecodeError:
            said = None
        fields = [said.get(name) if isinstance(said, dict) else None for name in ("client_email", "private_key")]
        email, pem = fields
        if not isinstance(email, str) or not isinstance(pem, str) or said.get("type") != "service_account":
            raise replies.refused("The secret is not the JSON key file of a service account.")
        if said.get("token_uri", token_url) != token_url:
            raise replies.refused("The key file is for another token endpoint than the profile's.")
        self.email: Final = email
        self.private_key: Final = Secret("service account key", pem)
        self._key_id: Final = said.get("private_key_id")
        try:
            self._signer: Final = software.load(self.private_key)
        except KeyUnavailableError:
            raise replies.refused("The private key in the key file cannot be used.") from None

    def signed(self, claims: Mapping[str, object]) -> str:
        """A JWT with its key."""
        header = {"kid": self._key_id} if isinstance(self._key_id, str) else {}
        message = signing_input(self._signer.public.algorithm, claims, header)
        return f"{message}.{base64url(self._signer.signature(message.encode('ascii')))}"
