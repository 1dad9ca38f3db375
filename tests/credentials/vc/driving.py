"""Runs what a kind yields without a network: `web` answers its calls, `private` (a JWK) makes its signatures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import orjson
from pydantic import TypeAdapter

from proxy.credentials import CredentialSpec
from proxy.credentials.kind import Call, CallFailedError, Ingredients, MintFailedError, Reply, Sign
from proxy.keys.software import load
from proxy.keys.software import sign as sign_with
from proxy.model import AccountId
from proxy.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from jwcrypto.jwk import JWK

    from proxy.credentials.kind import Kind

    type Web = Mapping[str, Reply | Callable[[Call], Reply]]

ACCOUNT = AccountId("example", "main")


def spec(**fields: Any) -> Kind:
    return TypeAdapter(CredentialSpec).validate_json(orjson.dumps(fields))


def reply(status: int = 200, body: object = b"", **headers: str) -> Reply:
    raw = body if isinstance(body, bytes) else body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Reply(status, {name.replace("_", "-").lower(): value for name, value in headers.items()}, raw)


def given(
    *,
    secrets: Mapping[str, str] | None = None,
    holder: JWK | None = None,
    now_s: int = 0,
    slot: str = "holder",
    **more: Any,
) -> Ingredients:
    keys = {slot: load(Secret(slot, holder.export())).public} if holder is not None else {}
    return Ingredients(ACCOUNT, {n: Secret(n, v) for n, v in (secrets or {}).items()}, keys=keys, now_s=now_s, **more)


def driven[T](
    generator: Generator[Any, Any, T], web: Web, holder: JWK | None = None, calls: list[Call] | None = None
) -> T:
    """What `generator` returns. A call to a place that `web` does not know fails."""
    answer: object = None
    problem: CallFailedError | None = None
    while True:
        try:
            step = generator.throw(problem) if problem is not None else generator.send(answer)
        except StopIteration as ended:
            return ended.value
        answer = problem = None
        if isinstance(step, Sign):
            signer = load(Secret("k", holder.export()))
            answer = sign_with(signer._key, signer.public.algorithm, step.message)
            continue
        if calls is not None:
            calls.append(step)
        found = web.get(step.url)
        if found is None:
            problem = CallFailedError("there is nothing")
        else:
            answer = found(step) if callable(found) else found


def slug_of(generator: Generator[Any, Any, Any], web: Web, holder: JWK | None = None) -> str:
    """The slug with which minting fails; a call that failed unheeded counts as the runner counts it."""
    try:
        driven(generator, web, holder)
    except MintFailedError as failed:
        return failed.denial.slug
    except CallFailedError:
        return "token_endpoint_error"
    return "minted"
