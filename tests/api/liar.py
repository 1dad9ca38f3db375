"""A relay between an approver's command and the control API, which lies as it is told."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import orjson
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Liar:
    """Passes on what it does not change. `lies` are answers by path, `refusals` too, `votes` changes votes on their way."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.url = ""
        self.lies: dict[str, Any] = {}
        self.refusals: dict[str, Any] = {}
        self.vote_at: str | None = None
        self.vote_more: dict[str, Any] = {}

    async def relay(self, request: web.Request) -> web.Response:
        if request.path in self.lies:
            return web.json_response(self.lies[request.path])
        if request.path in self.refusals:
            return web.json_response(self.refusals[request.path], status=403)
        path, body = request.path_qs, await request.read()
        if path.endswith("/votes"):
            path = self.vote_at or path
            body = orjson.dumps({**orjson.loads(body), **self.vote_more})
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        async with httpx.AsyncClient(base_url=self.base, trust_env=False, verify=False) as client:
            answer = await client.request(request.method, path, content=body, headers=headers)
        kind = answer.headers["content-type"].partition(";")[0]
        return web.Response(body=answer.content, status=answer.status_code, content_type=kind)


@asynccontextmanager
async def lying(base: str) -> AsyncIterator[Liar]:
    liar, app = Liar(base), web.Application()
    app.router.add_route("*", "/{path:.*}", liar.relay)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        liar.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield liar
    finally:
        await runner.cleanup()
