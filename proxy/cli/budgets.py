"""`briefcased budgets`: what limits there are, and what is left of them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from proxy.budget_settings import USD
from proxy.cli.check import CONFIG, ConfigOption
from proxy.clock import SystemClock
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from sqlalchemy import Connection

    from proxy.budget.standing import Standing, Usage
    from proxy.settings import Settings

app = typer.Typer(help="Budgets and rates, and what is left of them.", no_args_is_help=True)
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON value.")]
NameArgument = Annotated[str, typer.Argument(help="The budget's name.")]


@app.command("list")
def list_(config: ConfigOption = CONFIG, as_json: JsonOption = False) -> None:
    """List every budget with what is used, held by calls under way, and left now; and every rate."""
    standings, settings = _standings(config)
    if as_json:
        rates = [rate.model_dump(mode="json", exclude_none=True) for rate in settings.rates]
        _json({"budgets": [asdict(one) for one in standings], "rates": rates})
        return
    sys.stdout.writelines(f"{_line(one)}\n" for one in standings)
    for rate in settings.rates:
        sys.stdout.write(f"{rate.name}: {rate.calls} calls in {rate.per_s} s, {rate.burst} at once\n")


@app.command("show")
def show(name: NameArgument, config: ConfigOption = CONFIG, as_json: JsonOption = False) -> None:
    """Show one budget: every amount that it keeps, and when each is whole again."""
    found, settings = _standings(config)
    standings = [one for one in found if one.budget == name]
    if not standings:
        known = ", ".join(budget.name for budget in settings.budgets) or "none"
        raise BriefcaseError(f"there is no budget {name}; there are {known}")
    if as_json:
        _json([asdict(one) for one in standings])
        return
    for one in standings:
        sys.stdout.write(f"{_line(one)}\n  {one.holds} calls under way; whole again {_moment(one.resets_at_ms)}\n")


@app.command("usage")
def usage(
    config: ConfigOption = CONFIG,
    budget: Annotated[str | None, typer.Option("--budget", "-b", help="Only this budget.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List what was used in every window that is kept, the newest first."""
    from proxy.budget.standing import usages

    rows, settings = asyncio.run(_read(config, lambda connection, _: list(usages(connection, budget))))
    if as_json:
        _json([asdict(one) for one in rows])
        return
    units = {one.name: one.unit for one in settings.budgets}
    sys.stdout.writelines(f"{_used(one, units.get(one.budget, ''))}\n" for one in rows)


def _standings(config: Path) -> tuple[list[Standing], Settings]:
    from proxy.budget.standing import standings

    now_ms = SystemClock().wall_ms()
    return asyncio.run(
        _read(config, lambda connection, settings: list(standings(connection, settings.budgets, now_ms=now_ms)))
    )


async def _read[T](config: Path, read: Callable[[Connection, Settings], T]) -> tuple[T, Settings]:
    """From the sidecar's own database, or the one that sidecars share. Raises `BriefcaseError`."""
    from sqlalchemy.exc import SQLAlchemyError

    from proxy.catalog.configuration import load_configuration
    from proxy.cli.state import local_passphrase
    from proxy.db.engine import DATABASE, open_database
    from proxy.services import secret_stores, shared_database
    from proxy.settings import environment, home

    settings = load_configuration(config).settings
    stores = secret_stores(
        settings, home=home(), environment=environment(), clock=SystemClock(), passphrase=local_passphrase()
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(stores.close)
        own = open_database(home() / DATABASE)
        stack.callback(own.dispose)
        database = await shared_database(settings.state, own, stores)
        stack.callback(database.dispose)
        try:
            with database.connect() as connection:
                return read(connection, settings), settings
        except SQLAlchemyError as error:
            raise BriefcaseError(f"budgets cannot be read ({type(error).__name__})") from None


def _line(one: Standing) -> str:
    used, held, left, limit = (_amount(n, one.unit) for n in (one.used, one.held, one.left, one.limit))
    return f"{one.budget}{_for(one.each)}: {used} used, {held} held, {left} left of {limit}"


def _used(one: Usage, unit: str) -> str:
    since = "ever" if one.since_ms == 0 else f"since {_moment(one.since_ms)}"
    return f"{one.budget}{_for(one.each)}: {_amount(one.used, unit)} used, {_amount(one.held, unit)} held, {since}"


def _for(each: Mapping[str, str]) -> str:
    return "".join(f" {name}={value}" for name, value in each.items())


def _amount(amount: int, unit: str) -> str:
    return f"${amount / 1_000_000:.6f}" if unit == USD else f"{amount} {unit}".rstrip()


def _moment(at_ms: int | None) -> str:
    return "never" if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _json(value: Any) -> None:  # whatever orjson writes
    sys.stdout.write(orjson.dumps(value).decode() + "\n")
