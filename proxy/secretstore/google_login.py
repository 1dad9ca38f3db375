"""Access tokens for Google's APIs: by the metadata server, a service account's key, or workload identity federation.

Sources: Google Cloud, "Access tokens from the metadata server", "Using OAuth 2.0 for server to server applications",
"Workload identity federation" (RFC 8693), `generateAccessToken` of the IAM credentials API.
"""

from __future__ import annotations

import base64
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

import orjson
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from proxy.secret import Secret
from proxy.secretstore.asking import FORM, bearer, form, json_object, metadata, seconds_below, text_below, text_of
from proxy.secretstore.login import Login, Token
from proxy.secretstore.store import SecretUnavailableError

if TYPE_CHECKING:
    from proxy.secretstore.asking import Asker
    from proxy.secretstore.store import Means
    from proxy.store_settings import GoogleSettings

SCOPE: Final = "https://www.googleapis.com/auth/cloud-platform"
METADATA: Final = "169.254.169.254"
METADATA_HOST: Final = "GCE_METADATA_HOST"
"""The variable by which Google's own libraries are told of another metadata server."""
TOKEN_OF_THE_MACHINE: Final = "/computeMetadata/v1/instance/service-accounts/default/token"  # noqa: S105  # a path
LIVES_S: Final = 3600
MIN_RSA_BITS: Final = 2048
TYPES: Final = {
    "jwt": "urn:ietf:params:oauth:token-type:jwt",
    "id_token": "urn:ietf:params:oauth:token-type:id_token",
}


def google_login(settings: GoogleSettings, asker: Asker, means: Means) -> Login:
    """The login that the settings describe."""
    ways = {"metadata": _of_the_machine, "service_account": _of_a_key, "federation": _exchanged}
    return Login(partial(ways[settings.auth.method], settings, asker, means), clock=means.clock)


async def _of_the_machine(_settings: GoogleSettings, asker: Asker, means: Means) -> Token:
    place = means.environment.get(METADATA_HOST, METADATA)
    headers = {"metadata-flavor": "Google"}
    answer = await metadata(asker, place, TOKEN_OF_THE_MACHINE, headers)
    if answer.headers.get("metadata-flavor") != "Google":
        raise SecretUnavailableError("gcpsm", "what answers is not Google's metadata server")
    return _token(json_object("gcpsm", answer.body))


async def _of_a_key(settings: GoogleSettings, asker: Asker, means: Means) -> Token:
    described = json_object("gcpsm", text_of(await means.read(settings.auth.key or ""), "gcpsm").encode())
    now_s = means.clock.wall_ms() // 1000
    claims = {
        "iss": text_below("gcpsm", described, "client_email"),
        "scope": SCOPE,
        "aud": "https://oauth2.googleapis.com/token",
        "iat": now_s,
        "exp": now_s + LIVES_S,
    }
    head = {"alg": "RS256", "typ": "JWT"}
    if isinstance(described.get("private_key_id"), str):
        head["kid"] = str(described["private_key_id"])
    signed = f"{_part(orjson.dumps(head))}.{_part(orjson.dumps(claims))}"
    signature = _key(text_below("gcpsm", described, "private_key")).sign(
        signed.encode(), padding.PKCS1v15(), hashes.SHA256()
    )
    body = form(grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer", assertion=f"{signed}.{_part(signature)}")
    at = replace(asker, address=settings.token_address, named="token_address" in settings.model_fields_set)
    return _token(await at.json("POST", "/token", headers=FORM, body=body))


async def _exchanged(settings: GoogleSettings, asker: Asker, means: Means) -> Token:
    auth = settings.auth
    subject = text_of(await means.read(auth.subject_token or ""), "gcpsm")
    body = form(
        grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
        audience=auth.audience or "",
        scope=SCOPE,
        requested_token_type="urn:ietf:params:oauth:token-type:access_token",  # noqa: S106  # a type
        subject_token=subject,
        subject_token_type=TYPES[auth.subject_token_type],
    )
    at = replace(asker, address=settings.sts_address, named="sts_address" in settings.model_fields_set)
    token = _token(await at.json("POST", "/v1/token", headers=FORM, body=body))
    if auth.impersonate is None:
        return token
    at = replace(asker, address=settings.iam_address, named="iam_address" in settings.model_fields_set)
    answer = await at.json(
        "POST",
        f"/v1/projects/-/serviceAccounts/{quote(auth.impersonate)}:generateAccessToken",
        headers={"authorization": bearer(token.secret, "gcpsm"), "content-type": "application/json"},
        body=orjson.dumps({"scope": [SCOPE], "lifetime": f"{LIVES_S}s"}),
    )
    return Token(Secret("google token", text_below("gcpsm", answer, "accessToken")), LIVES_S)


def _token(answer: object) -> Token:
    return Token(
        Secret("google token", text_below("gcpsm", answer, "access_token")), seconds_below(answer, "expires_in")
    )


def _key(pem: str) -> rsa.RSAPrivateKey:
    try:
        key = serialization.load_pem_private_key(pem.encode(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < MIN_RSA_BITS:
        raise SecretUnavailableError("gcpsm", "the key file has no RSA key")
    return key


def _part(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
