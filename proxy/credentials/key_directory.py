"""The directory of public keys that Web Bot Auth looks up, with its own signatures (draft of the webbotauth group)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import orjson

from proxy.canonical import parse_authority
from proxy.credentials.covered import JOSE, Parameters, UnsignableError, content_digest
from proxy.credentials.http_signature import WELL_KNOWN
from proxy.credentials.rfc9421 import prepared_answer
from proxy.model import HTTPS_PORT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from proxy.keys.public import PublicKey
    from proxy.keys.signer import Signer

MEDIA_TYPE: Final = "application/http-message-signatures-directory+json"
TAG: Final = "http-message-signatures-directory"
COVERED: Final = ('"@authority";req', "content-digest")


def directory(keys: Iterable[PublicKey]) -> bytes:
    """The document: a JWK set (RFC 7517), each key named by its thumbprint."""
    members = [{**key.jwk, "kid": key.thumbprint, "use": "sig"} for key in keys]
    return orjson.dumps({"keys": members})


async def fields(
    host: str, body: bytes, signers: Iterable[Signer], *, created_s: int, expires_s: int
) -> Mapping[str, str]:
    """The header fields that go with `body`, served at `host`: one signature of each key.

    Raises:
        KeyUnavailableError: a key cannot sign.
        UnsignableError: `host` is no host, or a key signs in a way that message signatures do not know.
    """
    made = {"content-type": MEDIA_TYPE, "content-digest": content_digest(body, "sha-256")}
    names = {jose: name for name, jose in JOSE.items()} | {"EdDSA": "ed25519"}
    if parse_authority(host.encode(), HTTPS_PORT) is None:
        raise UnsignableError("the place of the directory is not a host")
    for index, signer in enumerate(signers):
        algorithm = names.get(signer.public.algorithm)
        if algorithm is None:
            raise UnsignableError(f"keys that sign with {signer.public.algorithm} have no place in a directory")
        parameters = Parameters(
            label=f"binding{index}",
            algorithm=algorithm,
            keyid=signer.public.thumbprint,
            created_s=created_s,
            expires_s=expires_s,
            tag=TAG,
        )
        prepared = prepared_answer(f"https://{host}{WELL_KNOWN}", made.items(), COVERED, parameters)
        made |= prepared.fields(await signer.sign(prepared.base))
    return made
