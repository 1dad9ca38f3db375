"""Agent tokens `bca_<id>_<random>`, operator tokens `bco_…`, sessions `bcs_…`, hashed at rest. Pure but for chance."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
import string
from typing import Final

ALPHABET: Final = string.ascii_letters + string.digits
ID_LENGTH: Final = 12
RANDOM_BYTES: Final = 32
TOKEN: Final = re.compile(r"bca_([0-9A-Za-z]{12})_[0-9A-Za-z_-]{43}")
OPERATOR_TOKEN: Final = re.compile(r"bc([os])_([0-9A-Za-z]{12})_[0-9A-Za-z_-]{43}")
"""256 random bits need no slow hash: there is nothing to guess (NIST SP 800-63B, section 5.1.2.2)."""
MAX_HEADER_CHARACTERS: Final = 1024
_ANY: Final = re.compile(r"bc[aost]_[0-9A-Za-z]{12}[0-9A-Za-z_-]{20,}")
"""A token of agents, operators, their sessions or tasks, also one that was cut or changed."""


def new_token(prefix: str = "bca") -> tuple[str, str, str]:
    """A token's public id, the token, and the digest that is stored."""
    token_id = "".join(secrets.choice(ALPHABET) for _ in range(ID_LENGTH))
    token = f"{prefix}_{token_id}_{secrets.token_urlsafe(RANDOM_BYTES)}"
    return token_id, token, digest_of(token)


def digest_of(token: str) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(token.encode()).hexdigest()


def token_in(proxy_authorization: str) -> tuple[str, str] | None:
    """The token that a `Proxy-Authorization` header carries, with its public id; None when it carries none.

    Bearer carries it as it is; Basic (RFC 7617) as user or as password, since clients differ in which they need.
    """
    if len(proxy_authorization) > MAX_HEADER_CHARACTERS:
        return None
    for candidate in credentials_in(proxy_authorization):
        found = TOKEN.fullmatch(candidate)
        if found is not None:
            return candidate, found[1]
    return None


def without_tokens(text: str) -> str:
    """`text` as it may be written down: a token that somebody has put into it is named, not shown (H-04)."""
    return _ANY.sub("{token}", text)


def credentials_in(proxy_authorization: str) -> tuple[str, ...]:
    """What may be a token in the header: Bearer's, or Basic's password and user."""
    scheme, _, rest = proxy_authorization.partition(" ")
    scheme, rest = scheme.lower(), rest.strip()
    if scheme == "bearer":
        return (rest,)
    if scheme != "basic":
        return ()
    try:
        user, _, password = base64.b64decode(rest, validate=True).decode("ascii").partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ()
    return (password, user)
