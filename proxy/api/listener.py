"""The control API over HTTP: the only module of the sidecar that knows aiohttp, loaded only where it is configured.

    Host, Origin -> who -> route -> role -> form -> handler

Nothing of a failure is shown but a problem of ours.
"""

from __future__ import annotations

import asyncio
import logging
import os
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from aiohttp import web
from pydantic import BaseModel, ValidationError
from sqlalchemy.exc import SQLAlchemyError

from proxy.api.admission import Knock, admitted, stranger
from proxy.api.call import Call, Visit
from proxy.api.openapi import document
from proxy.api.problems import CONTENT_TYPE, Problem, ProblemError
from proxy.api.routes import BASE, ROUTES
from proxy.api.sockets import AdminSocket, peer_uid
from proxy.approval.channels.slack_incoming import PATH as SLACK
from proxy.db.sealing import UnsealError
from proxy.db.threads import in_thread
from proxy.errors import BriefcaseError, Refused

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from proxy.api.call import ApiServices, Route
    from proxy.api.logins import Logins
    from proxy.identity.operator_registry import OperatorRegistry
    from proxy.model import Operator
    from proxy.operator_settings import OperatorSettings

_log: Final = logging.getLogger("proxy.api")
MAX_BODY_BYTES: Final = 1024 * 1024
"""Every form fits, also where each character is escaped."""
MAX_STREAMS: Final = 32
BODY_WITHIN_S: Final = 10.0
WRITE_WITHIN_S: Final = 10.0
OPENAPI: Final = "/api/openapi.json"
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "briefcased",
    "X-Content-Type-Options": "nosniff",
}
_OPERATOR: Final = web.RequestKey("operator", object)


class ApiListener:
    """One application behind a TCP listener, a unix socket, or both."""

    def __init__(
        self,
        services: ApiServices,
        registry: OperatorRegistry,
        logins: Logins,
        settings: Callable[[], OperatorSettings],
    ) -> None:
        self._services: Final = services
        self._registry: Final = registry
        self._logins: Final = logins
        self._settings: Final = settings
        self._own_uid: Final = os.geteuid()
        self._admin: AdminSocket | None = None
        self._streams = 0
        self._closing: Final = asyncio.Event()
        app = web.Application(middlewares=[self._guard], client_max_size=MAX_BODY_BYTES)
        app.on_response_prepare.append(_headers)
        app.router.add_post(SLACK + "{channel}", self._from_slack)
        app.router.add_get(OPENAPI, _openapi, allow_head=False)
        for route in ROUTES:
            answer = self._answer if route.visit is None else self._visited
            app.router.add_route(route.method, BASE + route.path, partial(answer, route))
        self._runner: Final = web.AppRunner(
            app, access_log=None, logger=_silent(), handle_signals=False, shutdown_timeout=1.0, keepalive_timeout=15.0
        )

    async def start(self, api: str | None, admin: str | None) -> tuple[str, int] | None:
        """Listen at `api` (HOST:PORT) and `admin` (unix:/PATH), where they are; where TCP is bound.

        Raises:
            BriefcaseError: an address is taken, or cannot be used.
        """
        await self._runner.setup()
        if admin is not None:
            self._admin = AdminSocket(admin, mode=self._mode())
            await web.SockSite(self._runner, self._admin.listening).start()
            _log.info("control API on %s", admin)
        if api is None:
            return None
        host, _, port = api.rpartition(":")
        host = host.strip("[]")
        site = web.TCPSite(self._runner, host, int(port))
        try:
            await site.start()
        except OSError as error:
            raise BriefcaseError(f"{api}: {error.strerror or error}") from None
        addresses = [one for one in self._runner.addresses if isinstance(one, tuple)]
        _log.info("control API on %s:%d", host, addresses[0][1])
        return host, int(addresses[0][1])

    def reloaded(self) -> None:
        """Another configuration is in force: who may connect to the socket may be others now."""
        if self._admin is not None:
            self._admin.allow(self._mode())

    async def close(self) -> None:
        """Stop listening, and end streams."""
        self._closing.set()
        if self._admin is not None:
            self._admin.remove()
        await self._runner.cleanup()

    def _mode(self) -> int:
        """Where the configuration names users of the machine, they may connect: they are known by their user id."""
        return 0o666 if self._settings().local else 0o600

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        try:
            if request.path.startswith(SLACK):
                return await handler(request)  # Slack proves itself by its signature, and calls us by any name
            knock = _knock(request)
            if (refused := stranger(knock, self._settings())) is not None:
                return _problem(refused)
            if (request.method, request.path) in _OPEN:
                return await handler(request)
            who = await in_thread(admitted, knock, self._registry, self._settings(), own_uid=self._own_uid)
            if isinstance(who, Problem):
                return _problem(who)
            request[_OPERATOR] = who
            return await handler(request)
        except ProblemError as error:
            return _problem(error.problem)
        except (Refused, SQLAlchemyError, UnsealError):
            return _problem(Problem("unavailable", "The database or the receipts cannot be used now.", 1))
        except web.HTTPException as error:
            return _problem(_STATUSES.get(error.status, Problem("malformed")), allow=error.headers.get("Allow"))
        except Exception:  # noqa: BLE001  # the guard: what failed is nobody's business but the log's
            _log.exception("a call of the control API failed")
            return _problem(Problem("internal"))

    async def _from_slack(self, request: web.Request) -> web.StreamResponse:
        """A click in Slack (see `SlackIncoming`); `authorization` and the like are never looked at."""
        route = self._services.slack.routes().get(request.path)
        if route is None:
            raise ProblemError("not_found")
        async with asyncio.timeout(BODY_WITHIN_S):
            body = await request.read()
        reply = await route({name.lower(): value for name, value in request.headers.items()}, body)
        return web.Response(text=reply.text, status=reply.status)

    async def _visited(self, route: Route, request: web.Request) -> web.StreamResponse:
        assert route.visit is not None
        _query(route, request)
        knock = _knock(request)
        visit = Visit(
            services=self._services,
            logins=self._logins,
            host=knock.headers["host"],
            source=knock.source,
            body=await _body(route, request),
        )
        return _json(await route.visit(visit), status=201 if route.creates else 200)

    async def _answer(self, route: Route, request: web.Request) -> web.StreamResponse:
        operator: Operator = request[_OPERATOR]  # type: ignore[assignment]
        if not route.allows(operator):
            if route.method != "GET":
                who = {"by": operator.name, "via": operator.via, "tenant": operator.tenant}
                await self._services.receipts.record_change(
                    {**who, "change": route.name, "target": None, "refused": "forbidden"}
                )
            raise ProblemError("forbidden")
        call = Call(
            operator=operator,
            services=self._services,
            registry=self._registry,
            names=dict(request.match_info),
            query=_query(route, request),
            body=await _body(route, request),
            since=request.headers.get("Last-Event-ID"),
        )
        if route.stream is not None:
            return await self._follow(route, call, request)
        assert route.handler is not None
        return _json(await route.handler(call), status=201 if route.creates else 200)

    async def _follow(self, route: Route, call: Call, request: web.Request) -> web.StreamResponse:
        """Events until the client goes away, the operator is revoked, or we stop."""
        if self._streams >= MAX_STREAMS:
            raise ProblemError("throttled", "Too many streams are open.", retry_after_s=30)
        assert route.stream is not None
        self._streams += 1
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        events = route.stream(call)
        try:
            await answer.prepare(request)
            with suppress(ConnectionError, TimeoutError):
                async for event in events:
                    if self._closing.is_set() or not await self._still(route, call, request):
                        break
                    data = b": \n\n" if event is None else _event(event.id, event.name, event.data)
                    async with asyncio.timeout(WRITE_WITHIN_S):
                        await answer.write(data)
        finally:
            self._streams -= 1
            await events.aclose()  # type: ignore[attr-defined]  # they are generators
        return answer

    async def _still(self, route: Route, call: Call, request: web.Request) -> bool:
        """Whether the operator still may, and sees what they saw when the stream began."""
        who = await in_thread(admitted, _knock(request), self._registry, self._settings(), own_uid=self._own_uid)
        if isinstance(who, Problem) or (who.name, who.tenant) != (call.operator.name, call.operator.tenant):
            return False
        return route.allows(who)


def _silent() -> logging.Logger:
    """For aiohttp: what it says of a request that is none holds pieces of it, which may be a token."""
    logger = logging.getLogger("proxy.api.requests")
    logger.disabled = True
    return logger


_OPEN: Final = frozenset((route.method, BASE + route.path) for route in ROUTES if route.visit is not None)
_STATUSES: Final = {
    404: Problem("not_found"),
    405: Problem("method_not_allowed"),
    413: Problem("too_large"),
}


async def _openapi(request: web.Request) -> web.Response:
    del request
    return web.Response(body=document(), content_type="application/json")


async def _headers(request: web.Request, response: web.StreamResponse) -> None:
    del request
    response.headers.update(HEADERS)


def _knock(request: web.Request) -> Knock:
    transport = request.transport
    own = transport.get_extra_info("sockname") if transport is not None else None
    uid = peer_uid(transport)
    address = (str(own[0]), int(own[1])) if isinstance(own, tuple) else None
    headers: dict[str, str] = {}
    for name, value in request.headers.items():  # of two, neither is believed
        headers[name.lower()] = value if name.lower() not in headers else ""
    return Knock(headers, uid, f"uid {uid}" if address is None else str(request.remote), address)


def _query(route: Route, request: web.Request) -> BaseModel | None:
    given = request.query
    if len(set(given)) != len(given):
        raise ProblemError("invalid_request", errors=[("query", "a name stands twice")])
    if route.query is None:
        if given:
            raise ProblemError("invalid_request", errors=[("query", "this call takes none")])
        return None
    return _checked(lambda: route.query.model_validate(dict(given)), "query")  # type: ignore[union-attr]


async def _body(route: Route, request: web.Request) -> BaseModel | None:
    if route.body is None:
        return None
    if request.content_type != "application/json":
        raise ProblemError("unsupported_media_type")
    async with asyncio.timeout(BODY_WITHIN_S):
        body = await request.read()
    return _checked(lambda: route.body.model_validate_json(body), "body")  # type: ignore[union-attr]


def _checked(read: Callable[[], BaseModel], where: str) -> BaseModel:
    try:
        return read()
    except ValidationError as errors:
        found = [(".".join(map(str, (where, *one["loc"]))), one["type"]) for one in errors.errors(include_input=False)]
        raise ProblemError("invalid_request", errors=found[:20]) from None


def _json(value: BaseModel, *, status: int) -> web.Response:
    return web.Response(body=value.model_dump_json().encode(), content_type="application/json", status=status)


def _event(id_: str, name: str, data: BaseModel) -> bytes:
    return f"id: {id_}\nevent: {name}\ndata: {data.model_dump_json()}\n\n".encode()


def _problem(problem: Problem, *, allow: str | None = None) -> web.Response:
    headers = {"Allow": allow} if allow is not None else {}
    if problem.retry_after_s is not None:
        headers["Retry-After"] = str(problem.retry_after_s)
    if problem.slug == "unauthenticated":
        headers["WWW-Authenticate"] = 'Bearer realm="briefcased"'
    return web.Response(body=problem.document(), content_type=CONTENT_TYPE, status=problem.status, headers=headers)
