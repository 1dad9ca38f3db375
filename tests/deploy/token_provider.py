"""The sample provider with a login: refresh tokens that may be used once; whoever uses one twice loses the account.

It is mounted in place of the sample's program, which lies beside it.
"""

from __future__ import annotations

import sys

sys.path.insert(0, "/srv")

from aiohttp import web
from sample import certified, main, served  # type: ignore[import-not-found]

LIFETIME_S = 4


def with_login(key: str) -> web.Application:
    """The sample's endpoints, and a token endpoint with what its tokens are good for."""
    app: web.Application = served(key)
    state = {"current": "first-refresh-token-0123456789", "serial": 0, "revoked": False}

    async def token(request: web.Request) -> web.Response:
        form = await request.post()
        if state["revoked"] or form.get("refresh_token") != state["current"]:
            state["revoked"] = True
            print(f"token: REUSED, from {request.remote}", flush=True)
            return web.json_response({"error": "invalid_grant"}, status=400)
        state["serial"] = int(state["serial"]) + 1
        state["current"] = f"refresh-token-{state['serial']}-0123456789"
        print(f"token: {state['serial']}, from {request.remote}", flush=True)
        return web.json_response(
            {
                "access_token": f"access-token-{state['serial']}-0123456789",
                "token_type": "Bearer",
                "expires_in": LIFETIME_S,
                "refresh_token": state["current"],
            }
        )

    async def mine(request: web.Request) -> web.Response:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        good = given == f"access-token-{state['serial']}-0123456789"
        return web.json_response({"serial": state["serial"], "you_sent": given}, status=200 if good else 401)

    app.router.add_post("/token", token)
    app.router.add_get("/v1/mine", mine)
    return app


if __name__ == "__main__":
    sys.modules["sample"].served, sys.modules["sample"].certified = with_login, certified
    main()
