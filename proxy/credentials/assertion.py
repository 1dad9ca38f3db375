"""Signed JWTs in compact form, as assertions and as tokens of their own. Pure: the signature is yielded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from proxy.credentials.kind import Sign, signature
from proxy.keys.public import base64url

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from proxy.credentials.kind import Reply
    from proxy.keys.public import PublicKey

type Claims = Mapping[str, object]


def signing_input(algorithm: str, claims: Claims, header: Mapping[str, str] | None = None) -> str:
    """What is signed: header and claims, each base64url, with a dot between them (RFC 7515, section 5.1)."""
    head = {"alg": algorithm, "typ": "JWT", **(header or {})}
    return f"{base64url(orjson.dumps(head))}.{base64url(orjson.dumps(claims))}"


def signed(
    key: str, public: PublicKey, claims: Claims, header: Mapping[str, str] | None = None
) -> Generator[Sign, Reply | bytes, str]:
    """A JWT with the account's key in slot `key`, whose public half is `public`; in `mint` and in `prove`."""
    message = signing_input(public.algorithm, claims, header)
    made = yield from signature(Sign(key, message.encode("ascii")))
    return f"{message}.{base64url(made)}"
