"""`kind: query`: one query parameter. See docs/credentials/query.md."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal, override

from proxy.canonical import set_query
from proxy.credentials.kind import Kind, Presented, SecretName

if TYPE_CHECKING:
    from proxy.credentials.kind import Credential
    from proxy.model import RequestHead


class QueryCredential(Kind):
    """Sets one query parameter to the secret."""

    kind: Literal["query"]
    parameter: str
    secret: SecretName

    @override
    def secret_names(self) -> frozenset[str]:
        return frozenset({self.secret})

    @override
    def present(self, credential: Credential, head: RequestHead, body: bytes | None) -> Presented:
        query = set_query(head.query, self.parameter, credential.text(self.secret).encode("latin-1"))
        return Presented(replace(head, query=query), body)
