"""`kind: azure`: an application's token of Microsoft Entra ID. See docs/credentials/azure.md."""

from __future__ import annotations

import hashlib
import uuid
from typing import TYPE_CHECKING, Final, Literal, override
from urllib.parse import urlencode

from pydantic import Field

from proxy.credentials import replies
from proxy.credentials.assertion import signed
from proxy.credentials.kind import Call, SecretName, call, filled, named_in
from proxy.credentials.token_kind import TokenKind, credential
from proxy.keys.public import base64url

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Credential, Ingredients, Minting

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_S: Final = 300
FORM: Final = {"content-type": "application/x-www-form-urlencoded", "accept": "application/json"}


class AzureCredential(TokenKind):
    """Client credentials at a tenant's token endpoint, shown by a secret, a certificate, or a workload's token."""

    kind: Literal["azure"]
    auth: Literal["secret", "certificate", "federated"] = "secret"
    tenant: str = "{tenant}"
    client_id: str = "{client_id}"
    scope: str = Field(description="Of one resource, ending in /.default.", pattern=r"^\S+/\.default$")
    client_secret: SecretName = Field(default="client_secret", description="For secret.")
    key: SecretName = Field(default="client", description="For certificate: slot of the key, with its certificate.")
    subject_token: SecretName = Field(default="subject_token", description="For federated: the workload's token.")
    authority: str = "https://login.microsoftonline.com"

    @override
    def secret_names(self) -> frozenset[str]:
        match self.auth:
            case "secret":
                return frozenset({self.client_secret})
            case "federated":
                return frozenset({self.subject_token})
            case "certificate":
                return frozenset()

    @override
    def variable_names(self) -> frozenset[str]:
        return named_in(self.tenant, self.client_id, self.scope)

    @override
    def key_names(self) -> Mapping[str, str]:
        return {self.key: "PS256"} if self.auth == "certificate" else {}

    @override
    def foreign_keys(self) -> frozenset[str]:
        return frozenset(self.key_names())

    @override
    def endpoints(self, variables: Mapping[str, str]) -> tuple[str, ...]:
        return (self._token_url(variables),)

    @override
    def mint(self, given: Ingredients) -> Minting[Credential]:
        client_id = filled(self.client_id, given.variables)
        shown = yield from self._shown(client_id, given)
        form = {
            "grant_type": "client_credentials",
            "client_id": client_id,
            "scope": filled(self.scope, given.variables),
            **shown,
        }
        url = self._token_url(given.variables)
        reply = yield from call(Call("POST", url, headers=FORM, body=urlencode(form).encode("ascii")))
        token, lifetime_s = replies.bearer(reply, given.now_s)
        return credential(token, given.now_s, lifetime_s)

    def _token_url(self, variables: Mapping[str, str]) -> str:
        return f"{self.authority}/{filled(self.tenant, variables)}/oauth2/v2.0/token"

    def _shown(self, client_id: str, given: Ingredients) -> Minting[dict[str, str]]:
        """The form fields that show who asks."""
        match self.auth:
            case "secret":
                yield from ()
                return {"client_secret": given.secrets[self.client_secret].reveal().decode("utf-8", "replace")}
            case "federated":
                assertion = given.secrets[self.subject_token].reveal().decode("latin-1")
            case "certificate":
                assertion = yield from self._assertion(client_id, given)
        return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}

    def _assertion(self, client_id: str, given: Ingredients) -> Minting[str]:
        """Source: Microsoft identity platform, "Application authentication certificate credentials"."""
        public = given.keys[self.key]
        if not public.certificates:
            raise replies.refused("The key of this account has no certificate with it.")
        claims = {
            "aud": self._token_url(given.variables),
            "iss": client_id,
            "sub": client_id,
            "jti": str(uuid.uuid4()),
            "nbf": given.now_s,
            "iat": given.now_s,
            "exp": given.now_s + ASSERTION_S,
        }
        thumbprint = base64url(hashlib.sha256(public.certificates[0]).digest())
        jwt = yield from signed(self.key, public, claims, {"x5t#S256": thumbprint})
        return jwt
