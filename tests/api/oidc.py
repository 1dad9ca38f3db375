"""What the tests of logins share: a provider of the test's own, whose tokens may say anything, and how one is used."""

from __future__ import annotations

import json
import secrets
import time
from typing import TYPE_CHECKING, Any

from proxy.identity.id_token import nonce_for
from tests.fakes.issuer import new_key, token

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from tests.api.conftest import Api

ISSUER = "https://id.example.test"
CLIENT = "briefcase"
ROLES = [
    {"claim": "groups", "value": "admins", "role": "admin"},
    {"claim": "groups", "value": "approvers", "role": "approver"},
    {"claim": "groups", "value": "research", "role": "admin", "tenant": "elsewhere"},
    {"claim": "groups", "value": "staff", "role": "viewer"},
]
KEY = new_key("ES256", "one")


def provider(folder: Path, **changed: Any) -> dict[str, Any]:
    """As the configuration describes it; its keys are in a file."""
    keys = folder / "keys.json"
    keys.write_text(json.dumps({"keys": [KEY.as_dict(private=False)]}))
    base = {"label": "own", "issuer": ISSUER, "client_id": CLIENT, "jwks_file": str(keys), "roles": ROLES}
    return {**base, **changed}


def verifier() -> str:
    return secrets.token_urlsafe(48)


def id_token(api: Api, secret: str, *, key: Any = KEY, algorithm: str = "ES256", **changed: Any) -> str:
    """An ID token of a login with the verifier `secret`; `changed` are claims (None takes one away) or `header`."""
    base = {
        "now": time.time(), "iss": ISSUER, "aud": CLIENT, "sub": "ann", "groups": ["staff", "approvers"], "nbf": None,
        "nonce": nonce_for(secret, api.base.removeprefix("http://")), "kubernetes.io": None,
    }  # fmt: skip
    return token(key, algorithm, **{**base, **changed})


async def exchanged(api: Api, text: str, secret: str, **more: Any) -> httpx.Response:
    return await api.call(None, "POST", "/sessions", {"id_token": text, "verifier": secret, **more})


async def logged_in(api: Api, who: str, **changed: Any) -> dict[str, Any]:
    """A session; from now on `api` calls with it as `who`."""
    secret = verifier()
    answer = await exchanged(api, id_token(api, secret, sub=who, **changed), secret)
    assert answer.status_code == 201, answer.text
    api.tokens[who] = answer.json()["token"]
    return dict(answer.json())
