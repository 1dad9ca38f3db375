"""`kind: workload_federation`: a workload's token for a vendor's. See docs/credentials/workload_federation.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, override
from urllib.parse import urlencode

import orjson
from pydantic import Field

from proxy.credentials import replies
from proxy.credentials.kind import Call, HeaderName, SecretName, call, filled, named_in
from proxy.credentials.token_kind import TokenKind, credential

if TYPE_CHECKING:
    from collections.abc import Mapping

    from proxy.credentials.kind import Credential, Ingredients, Minting


class WorkloadFederationCredential(TokenKind):
    """Posts the workload's token with fixed fields to one endpoint, and presents the token of the answer."""

    kind: Literal["workload_federation"]
    token_url: str
    format: Literal["json", "form"] = "json"
    subject_token: SecretName = Field(default="subject_token", description="Slot of the workload's token.")
    subject_field: str = Field(default="subject_token", description="Under which name it is posted.")
    fields: dict[str, str] = Field(
        description="What is posted besides; may hold {variables}, and what is then empty is left out."
    )
    token_headers: dict[HeaderName, str] = Field(default={}, description="Fixed headers of the exchange.")

    @override
    def secret_names(self) -> frozenset[str]:
        return frozenset({self.subject_token})

    @override
    def variable_names(self) -> frozenset[str]:
        return named_in(*self.fields.values())

    @override
    def endpoints(self, variables: Mapping[str, str]) -> tuple[str, ...]:
        return (self.token_url,)

    @override
    def mint(self, given: Ingredients) -> Minting[Credential]:
        subject = given.secrets[self.subject_token].reveal().decode("latin-1")
        posted = {name: filled(text, given.variables) for name, text in self.fields.items()}
        posted = {name: value for name, value in posted.items() if value} | {self.subject_field: subject}
        if self.format == "json":
            kind, body = "application/json", orjson.dumps(posted)
        else:
            kind, body = "application/x-www-form-urlencoded", urlencode(posted).encode("ascii")
        headers = {**self.token_headers, "content-type": kind, "user-agent": "credential-briefcase"}
        reply = yield from call(Call("POST", self.token_url, headers=headers, body=body))
        token, lifetime_s = replies.bearer(reply, given.now_s)
        return credential(token, given.now_s, lifetime_s)
