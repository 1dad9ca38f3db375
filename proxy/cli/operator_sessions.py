"""`briefcased operators login|logout|whoami|sessions`: at the control API, from wherever an operator sits."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path  # typer needs it at run time
from typing import Annotated
from urllib.parse import quote

import orjson
import typer

from proxy.cli.agents import JsonOption
from proxy.cli.api_client import ApiClient, ApiError, TokenFileOption, UrlOption, api_at, api_client
from proxy.cli.approval_card import safe
from proxy.cli.connect import WITHIN_S, Wishes
from proxy.cli.session_file import forget, keep, kept
from proxy.errors import BriefcaseError
from proxy.model import Role  # typer needs it at run time

sessions = typer.Typer(help="Logins of operators.", no_args_is_help=True)


def login(
    url: UrlOption = None,
    issuer: Annotated[str | None, typer.Option(help="Label or issuer, where the API has several.")] = None,
    device: Annotated[bool, typer.Option("--device", help="Enter a code elsewhere; no browser here.")] = False,
    role: Annotated[Role | None, typer.Option(help="A lesser role for this login; your own unless said.")] = None,
    hours: Annotated[int | None, typer.Option(min=1, max=24, help="End it sooner than the API would.")] = None,
    ca_file: Annotated[
        Path | None, typer.Option("--ca-file", exists=True, dir_okay=False, help="Trust roots of the provider, PEM.")
    ] = None,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the page's address instead of opening it.")
    ] = False,
    timeout: Annotated[int, typer.Option(min=5, max=3600, help="Seconds to wait for you.")] = WITHIN_S,
    as_json: JsonOption = False,
) -> None:
    """Log in at the OpenID provider of a control API; commands at that API are then yours, for a time."""
    from proxy.cli.login import log_in
    from proxy.credentials.oauth.login import Login

    at = api_at(url)
    wishes = Wishes(not no_browser, timeout, Login())
    asked = {"role": role.value if role is not None else None, "ttl_s": hours * 3600 if hours is not None else None}
    session = log_in(ApiClient(at, None), issuer, wishes, device=device, trust=ca_file, asked=asked)
    keep(at, session.model_dump(mode="json"))
    told = session.model_dump(mode="json", exclude={"token"})
    if as_json:
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
        return
    sys.stdout.write(f"logged in as {told['name']}, {told['role']}, until {_moment(told['expires_at_ms'])}\n")


def logout(url: UrlOption = None) -> None:
    """End your login at a control API, there and here."""
    at = api_at(url)
    token = kept(at)
    if token is None:
        raise BriefcaseError(f"there is no login at {at}")
    try:
        ApiClient(at, token).call("DELETE", "/sessions/current")
    except ApiError as error:
        if error.slug not in ("unauthenticated", "not_found"):
            raise  # it still counts there: it is kept here, so that it can be ended
    forget(at)
    sys.stdout.write("logged out\n")


def whoami(url: UrlOption = None, token_file: TokenFileOption = None, as_json: JsonOption = False) -> None:
    """Show who a control API takes you for."""
    found = api_client(url, token_file).call("GET", "/whoami")
    if as_json:
        sys.stdout.write(orjson.dumps(found).decode() + "\n")
        return
    lesser = f" (this login: {found['token_role']})" if found["token_role"] != found["role"] else ""
    where = found["tenant"] or "(all tenants)"
    sys.stdout.write(safe(f"{found['name']}  {found['role']}{lesser}  {where}  {found['via']}") + "\n")


@sessions.command("list")
def list_(url: UrlOption = None, token_file: TokenFileOption = None, as_json: JsonOption = False) -> None:
    """List your logins; for an admin, everybody's."""
    from proxy.api.session_models import SessionsView
    from proxy.cli.login import read

    found = read(SessionsView, api_client(url, token_file).call("GET", "/sessions")).sessions
    if as_json:
        listed = [one.model_dump(mode="json") for one in found]
        sys.stdout.write(orjson.dumps(listed).decode() + "\n")
        return
    for one in found:
        mark, until = "*" if one.current else " ", _moment(one.expires_at_ms)
        sys.stdout.write(f"{mark} {one.id}  {one.name:<32} {one.role or 'nothing':<10} until {until}\n")


@sessions.command("revoke")
def revoke(
    session: Annotated[str, typer.Argument(help="Its id, as the list shows it.")],
    url: UrlOption = None,
    token_file: TokenFileOption = None,
) -> None:
    """End a login at once; for an admin, anybody's."""
    api_client(url, token_file).call("DELETE", f"/sessions/{quote(session, safe='')}")
    sys.stdout.write(f"revoked {session}\n")


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")
