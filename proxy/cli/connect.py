"""`briefcased connect`: a person lets an account be used; what comes of it rests sealed in the database."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import threading
import webbrowser
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple, cast

import orjson
import typer

from proxy.cli.check import CONFIG, ConfigOption
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from proxy.cli.connections.opened import Chosen, Connections
    from proxy.credentials.kind import Credential
    from proxy.credentials.oauth.device import Device, Waiting
    from proxy.credentials.oauth.login import Login
    from proxy.credentials.oauth.places import Places

WITHIN_S: Final = 300
MAX_SHOWN: Final = 1000
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object.")]
AccountArgument = Annotated[str, typer.Argument(help="PROVIDER, or PROVIDER/ACCOUNT as in the configuration.")]


class Wishes(NamedTuple):
    """How the person wants to be asked."""

    opens: bool
    within_s: int
    login: Login


def connect(
    account: AccountArgument,
    config: ConfigOption = CONFIG,
    no_browser: Annotated[
        bool, typer.Option("--no-browser", help="Print the page's address instead of opening it.")
    ] = False,
    timeout: Annotated[int, typer.Option(min=5, max=3600, help="Seconds to wait for you.")] = WITHIN_S,
    acr_values: Annotated[
        str, typer.Option(help="How strong the login has to be, where a provider asks for that (RFC 9470).")
    ] = "",
    max_age: Annotated[int | None, typer.Option(min=0, help="How many seconds old the login may be.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Let agents use an account of yours: sign in at the provider; what it gives is stored here, sealed."""
    from proxy.credentials.oauth.login import Login

    wishes = Wishes(not no_browser, timeout, Login(acr_values, max_age))
    try:
        told = asyncio.run(_connect(config, account, wishes))
    except KeyboardInterrupt:
        say("interrupted; nothing is stored")
        raise
    if as_json:
        sys.stdout.write(orjson.dumps(told).decode() + "\n")
        return
    scope = shown(str(told["scope"]))
    sys.stdout.write(f"connected {told['account']}{f'; scope: {scope}' if scope else ''}; {lasting(told)}\n")


def shown(text: str) -> str:
    """What a server wrote, as far as a terminal may get it."""
    if not (text.isascii() and text.isprintable()):
        return "(cannot be shown)"
    return text if len(text) <= MAX_SHOWN else text[:MAX_SHOWN] + "…"


def lasting(told: dict[str, object]) -> str:
    """How long it lasts, in words."""
    if told["refreshes"]:
        return "refreshed when needed"
    return "does not expire" if told["expires_at"] is None else f"until {told['expires_at']}"


async def _connect(config: Path, name: str, wishes: Wishes) -> dict[str, object]:
    from proxy.cli.connections.opened import opened
    from proxy.credentials.grants import Granted
    from proxy.credentials.oauth.places import places
    from proxy.db.threads import in_thread

    async with opened(config) as connections:
        chosen = await connections.chosen(connections.account(name))
        at = await connections.run(chosen, places(chosen.kind, connections.given(chosen, Granted())))
        way = _by_device if chosen.kind.grant == "device_code" else _by_browser
        credential = await way(connections, chosen, at, wishes)
        kept = credential.keep or {}
        await in_thread(connections.services.grants.put, chosen.order.key, kept)
    return {
        "account": str(chosen.order.account),
        "credential": chosen.order.name,
        "scope": kept.get("scope", ""),
        "refreshes": bool(kept.get("refresh_token")),
        "expires_at": moment(kept.get("expires_at_s")),
    }


async def _by_browser(connections: Connections, chosen: Chosen, at: Places, wishes: Wishes) -> Credential:
    from proxy.cli.connections.callback import Callback
    from proxy.credentials.grants import Granted
    from proxy.credentials.kind import MintFailedError
    from proxy.credentials.oauth.authorize import read_answer, redeem, start

    callback = Callback(chosen.kind.connect.redirect)
    redirect_uri = await callback.start()
    try:
        given = connections.given(chosen, Granted())
        started = await connections.run(chosen, start(chosen.kind, given, at, redirect_uri, wishes.login))
        callback.expect(partial(read_answer, started=started))
        show(started.url, wishes)
        code = await callback.answer(within_s=wishes.within_s)
    except MintFailedError as failed:
        raise BriefcaseError(f"{chosen.order.account}: {failed.denial.detail}") from None
    finally:
        await callback.close()
    say("the provider has answered; fetching the token")
    return await connections.run(chosen, redeem(chosen.kind, connections.given(chosen, Granted()), started, code))


async def _by_device(connections: Connections, chosen: Chosen, at: Places, wishes: Wishes) -> Credential:
    from proxy.credentials.grants import Granted
    from proxy.credentials.kind import Credential
    from proxy.credentials.oauth.device import poll, start_device
    from proxy.credentials.runner import NoAnswerError

    given = connections.given(chosen, Granted())
    device = await connections.run(chosen, start_device(chosen.kind, given, at, wishes.login))
    show_device(device)

    async def ask() -> Credential | Waiting:
        asking = poll(chosen.kind, connections.given(chosen, Granted()), at, device)
        try:
            return await connections.run(chosen, asking, passing=NoAnswerError)
        except NoAnswerError:
            return "no_answer"

    try:
        return await entered(device, ask, Credential, within_s=wishes.within_s)
    except TimeoutError:
        raise BriefcaseError(f"{chosen.order.account}: nobody entered the code in time") from None


async def entered[T](device: Device, ask: Callable[[], Awaitable[T | Waiting]], kind: type[T], *, within_s: float) -> T:
    """What `ask` gives, a `kind`, once a person has entered the code of `device`. Raises `TimeoutError`."""
    from proxy.credentials.oauth.device import Pace

    pace = Pace(device.interval_s)
    async with asyncio.timeout(min(device.expires_in_s, within_s)):
        while True:
            await asyncio.sleep(pace.interval_s)
            found = await ask()
            if isinstance(found, kind):
                return found
            pace.after(cast("Waiting", found))


def show(url: str, wishes: Wishes) -> None:
    """Open the page where that is wanted, and always say where it is."""
    if not wishes.opens:
        say(f"Open this page:  {url}")
        return
    say(f"opening the provider's page in your browser; if it does not appear, open it yourself:\n{url}")
    # A thread of its own, which nobody waits for: a browser in a terminal ends when the person leaves it.
    threading.Thread(target=_open, args=(url,), daemon=True).start()


def show_device(device: Device) -> None:
    """Where a person enters a device's code, and the code."""
    say(f"Open this page:  {device.verification_uri}\nand enter:       {device.user_code}")
    if device.verification_uri_complete is not None:
        say(f"or open:         {device.verification_uri_complete}\nand compare the code that it shows.")


def _open(url: str) -> None:
    with contextlib.suppress(webbrowser.Error, OSError):
        webbrowser.open(url)


def say(text: str) -> None:
    """Progress, on standard error."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def moment(seconds: str | None) -> str | None:
    """A time as it is shown, or None where there is none."""
    whole = (seconds or "").partition(".")[0]
    if not (whole.isascii() and whole.isdigit() and len(whole) <= 11):  # noqa: PLR2004  # the year 5138
        return None
    return datetime.fromtimestamp(int(whole), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
