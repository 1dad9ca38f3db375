"""`briefcased operators login`: a person signs in at an OpenID provider, and this program becomes theirs for a time."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from proxy.cli.connect import Wishes, show
from proxy.clock import SystemClock
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import BaseModel

    from proxy.api.session_models import LoginView, SessionToken
    from proxy.cli.api_client import ApiClient
    from proxy.credentials.kind import Ingredients, Minting
    from proxy.credentials.oauth import OAuthCredential
    from proxy.credentials.oauth.device import Waiting
    from proxy.credentials.oauth.identity import IdToken
    from proxy.credentials.oauth.places import Places
    from proxy.egress.http import HttpClient

CONNECT_S: Final = 5.0
CALL_S: Final = 15.0
VERIFIER_BYTES: Final = 48


@dataclass(frozen=True, slots=True)
class _Provider:
    """One way to log in: whom to ask, and how."""

    kind: OAuthCredential
    client_id: str
    http: HttpClient
    trust: Path | None
    clock: SystemClock

    @property
    def given(self) -> Ingredients:
        from proxy.credentials.oauth.identity import login_given

        return login_given(self.client_id, self.clock.wall_ms() // 1000)

    async def ask[T](self, minting: Minting[T]) -> T:
        """What `minting` returns. Raises `MintFailedError`, `CallFailedError`."""
        from proxy.credentials.asking import answered

        return await answered(minting, self.http, trust=self.trust)


def chosen(ways: list[LoginView], issuer: str | None) -> LoginView:
    """The way to log in that `issuer` names, by its label or URL; the only one where none is named."""
    if not ways:
        raise BriefcaseError("nobody logs in at this API: its operators have tokens (briefcased operators add)")
    found = [one for one in ways if issuer is None or issuer in (one.label, one.issuer)]
    if len(found) != 1:
        raise BriefcaseError(f"say where with --issuer: {', '.join(one.label for one in ways)}")
    return found[0]


def log_in(
    client: ApiClient, issuer: str | None, wishes: Wishes, *, device: bool, trust: Path | None, asked: dict[str, Any]
) -> SessionToken:
    """The new session, with its token; `asked` is what else is sent for it. Raises `BriefcaseError`."""
    from proxy.api.session_models import LoginsView, SessionToken
    from proxy.identity.id_token import nonce_for

    way = chosen(read(LoginsView, client.call("GET", "/logins")).logins, issuer)
    if device and not way.device:
        raise BriefcaseError(f"{way.label}: this API does not take logins by --device")
    verifier = secrets.token_urlsafe(VERIFIER_BYTES)
    token = asyncio.run(_token(way, wishes, nonce_for(verifier, client.host), device=device, trust=trust))
    answer = client.call("POST", "/sessions", {"id_token": token.text, "verifier": verifier, **asked})
    return read(SessionToken, answer)


def read[M: BaseModel](form: type[M], answer: object) -> M:
    """What the API answered, in the form that it must have: a terminal gets to see it. Raises `BriefcaseError`."""
    try:
        return form.model_validate(answer)
    except ValueError:
        raise BriefcaseError("the control API answered something else than was asked") from None


async def _token(way: LoginView, wishes: Wishes, nonce: str, *, device: bool, trust: Path | None) -> IdToken:
    from proxy.credentials.kind import CallFailedError, MintFailedError
    from proxy.credentials.oauth.identity import identity_places, login_kind

    clock = SystemClock()
    try:
        kind = login_kind(way.issuer, scope=way.scope, redirect=way.redirect)
    except ValueError:
        raise BriefcaseError("the API names an issuer that nobody can log in at") from None
    provider = _Provider(kind, way.client_id, _http(clock), trust, clock)
    try:
        at = await provider.ask(identity_places(way.issuer))
        return await (_by_device if device else _by_browser)(provider, at, wishes, nonce)
    except MintFailedError as failed:
        raise BriefcaseError(f"{way.label}: {failed.denial.detail}") from None
    except CallFailedError as failed:
        raise BriefcaseError(f"{way.label}: {failed}") from None


async def _by_browser(provider: _Provider, at: Places, wishes: Wishes, nonce: str) -> IdToken:
    from proxy.cli.connections.callback import Callback
    from proxy.credentials.oauth.authorize import read_answer, start
    from proxy.credentials.oauth.identity import identified
    from proxy.credentials.oauth.login import Login

    callback = Callback(provider.kind.connect.redirect)
    redirect_uri = await callback.start()
    try:
        asking = start(provider.kind, provider.given, at, redirect_uri, Login(nonce=nonce))
        started = await provider.ask(asking)
        callback.expect(partial(read_answer, started=started))
        show(started.url, wishes)
        code = await callback.answer(within_s=wishes.within_s)
    finally:
        await callback.close()
    return await provider.ask(identified(provider.kind, provider.given, started, code))


async def _by_device(provider: _Provider, at: Places, wishes: Wishes, nonce: str) -> IdToken:
    from proxy.cli.connect import entered, show_device
    from proxy.credentials.kind import CallFailedError
    from proxy.credentials.oauth.device import start_device
    from proxy.credentials.oauth.identity import IdToken, polled_identity
    from proxy.credentials.oauth.login import Login

    device = await provider.ask(start_device(provider.kind, provider.given, at, Login(nonce=nonce)))
    show_device(device)

    async def ask() -> IdToken | Waiting:
        try:
            return await provider.ask(polled_identity(provider.kind, provider.given, at, device))
        except CallFailedError:
            return "no_answer"

    try:
        return await entered(device, ask, IdToken, within_s=wishes.within_s)
    except TimeoutError:
        raise BriefcaseError("nobody entered the code in time") from None


def _http(clock: SystemClock) -> HttpClient:
    from proxy.egress.dial import Dialler
    from proxy.egress.http import HttpClient
    from proxy.egress.resolver import Resolver

    dialler = Dialler(
        resolver=Resolver(clock=clock, timeout_s=CONNECT_S), connect_timeout_s=CONNECT_S, own_listeners=frozenset
    )
    return HttpClient(dialler=dialler, timeout_s=CALL_S)
