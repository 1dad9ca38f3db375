"""Everything that an agent could bring as a credential of its own is taken off for a managed host (D-02). Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from proxy.canonical import without_query

if TYPE_CHECKING:
    from proxy.model import RequestHead

ALWAYS_HEADERS: Final = frozenset(
    {
        "authorization", "cookie", "cookie2", "x-api-key", "api-key", "apikey", "x-auth-token", "x-access-token",
        "x-goog-api-key", "x-amz-security-token", "private-token", "job-token", "dpop", "x-authorization",
    }
)  # fmt: skip
ALWAYS_QUERY: Final = frozenset({"access_token", "api_key", "apikey", "client_secret"})


def strip_foreign(
    head: RequestHead,
    *,
    strip_headers: tuple[str, ...],
    strip_query: tuple[str, ...],
    owned_headers: tuple[str, ...],
    owned_query: tuple[str, ...],
    read: frozenset[str] = frozenset(),
) -> RequestHead:
    """`head` without usual and profile-named credentials, and without what chooses whose account is used.

    `read` are headers that stay, because the credential kind reads them and takes them off.
    """
    headers = ALWAYS_HEADERS.union(map(str.lower, strip_headers)) - read | set(map(str.lower, owned_headers))
    query = ALWAYS_QUERY.union(map(str.lower, strip_query), map(str.lower, owned_query))
    return replace(
        head,
        headers=tuple(pair for pair in head.headers if pair[0] not in headers),
        query=without_query(head.query, query),
    )
