"""`kind: google_federation`: Google Cloud without a key. See docs/credentials/google_federation.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal, Self, override
from urllib.parse import quote, urlencode

import orjson
from pydantic import Field, model_validator

from proxy.credentials import replies
from proxy.credentials.google import CLOUD_PLATFORM, FORM, id_token
from proxy.credentials.kind import Call, SecretName, call, filled, named_in
from proxy.credentials.token_kind import TokenKind, credential
from proxy.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Credential, Ingredients, Minting

TOKEN_EXCHANGE: Final = "urn:ietf:params:oauth:grant-type:token-exchange"  # noqa: S105  # RFC 8693
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"  # noqa: S105
IAM: Final = "https://www.googleapis.com/auth/iam"
"""All that taking on a service account needs."""
JWT: Final = "urn:ietf:params:oauth:token-type:jwt"


class GoogleFederationCredential(TokenKind):
    """Exchanges a workload's token at Google's STS, then takes on a service account where one is named."""

    kind: Literal["google_federation"]
    subject_token: SecretName = Field(default="subject_token", description="Slot of the workload's token.")
    subject_token_type: str = JWT
    audience: str = Field(
        default="//iam.googleapis.com/projects/{project_number}/locations/global/workloadIdentityPools/{pool}/providers/{provider}",
        description="The provider in the workload identity pool.",
    )
    service_account: str = Field(default="", description="E-mail of the service account to take on; empty: none.")
    obtain: Literal["access_token", "id_token"] = "access_token"
    scopes: tuple[str, ...] = (CLOUD_PLATFORM,)
    id_audience: str = Field(default="", description="Of an ID token.")
    lifetime_s: int = Field(default=3600, ge=600, le=43_200, description="Of a service account's access token.")
    token_url: str = "https://sts.googleapis.com/v1/token"  # noqa: S105  # an address
    iam_url: str = "https://iamcredentials.googleapis.com"

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.obtain == "id_token" and not (self.service_account and self.id_audience):
            raise ValueError("an ID token has an id_audience, and is one of a service account")
        return self

    @override
    def secret_names(self) -> frozenset[str]:
        return frozenset({self.subject_token})

    @override
    def variable_names(self) -> frozenset[str]:
        return named_in(self.audience, self.service_account, self.id_audience)

    @override
    def endpoints(self, variables: Mapping[str, str]) -> tuple[str, ...]:
        return (self.token_url, self.iam_url)

    @override
    def mint(self, given: Ingredients) -> Minting[Credential]:
        email = filled(self.service_account, given.variables)
        form = {
            "grant_type": TOKEN_EXCHANGE,
            "audience": filled(self.audience, given.variables),
            "scope": IAM if email else " ".join(self.scopes),
            "requested_token_type": ACCESS_TOKEN,
            "subject_token": given.secrets[self.subject_token].reveal().decode("latin-1"),
            "subject_token_type": self.subject_token_type,
        }
        reply = yield from call(Call("POST", self.token_url, headers=FORM, body=urlencode(form).encode("ascii")))
        federated, federated_s = replies.bearer(reply, given.now_s, issued=ACCESS_TOKEN)
        if not email:
            return credential(federated, given.now_s, federated_s)
        also = {"federated_token": Secret("federated token", federated)}
        token, lifetime_s = yield from self._taken_on(email, federated, given)
        return credential(token, given.now_s, lifetime_s, also=also)

    def _taken_on(self, email: str, federated: str, given: Ingredients) -> Minting[tuple[str, int]]:
        """A token of the service account, and its lifetime. Source: IAM Service Account Credentials API, v1."""
        audience = filled(self.id_audience, given.variables)
        if self.obtain == "id_token":
            method, asked = "generateIdToken", {"audience": audience, "includeEmail": True}
        else:
            method, asked = "generateAccessToken", {"scope": list(self.scopes), "lifetime": f"{self.lifetime_s}s"}
        reply = yield from call(
            Call(
                "POST",
                f"{self.iam_url}/v1/projects/-/serviceAccounts/{quote(email, safe='@')}:{method}",
                headers={"authorization": f"Bearer {federated}", "content-type": "application/json"},
                body=orjson.dumps(asked),
            )
        )
        if reply.status in (403, 404):
            raise replies.withdrawn("This workload may not take on the service account.")
        found = replies.document(reply, given.now_s)
        if self.obtain == "id_token":
            return id_token(found, "token", audience, given.now_s)
        return replies.token(found, "accessToken"), replies.until_s(found, "expireTime", given.now_s) - given.now_s
