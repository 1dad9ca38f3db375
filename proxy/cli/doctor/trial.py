"""Trying clients: each in its ways, in order, until one gets through; several clients at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy.cli.confined import starter
from proxy.cli.doctor.client import Mode, filled
from proxy.cli.doctor.judge import Reading, judged, reading
from proxy.cli.doctor.process import MARK, ran
from proxy.cli.doctor.report import Row, Tried, Verdict
from proxy.cli.doctor.surroundings import attempt_environment
from proxy.confine.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from proxy.cli.doctor.client import Client, Way
    from proxy.cli.doctor.laboratory import Laboratory, Site

VERSION: Final = re.compile(r"\d+(?:\.\d+)+")
VERSION_LIMIT_S: Final = 20.0


async def tried(
    clients: Sequence[Client],
    laboratory: Laboratory,
    *,
    folder: Path,
    operators: Mapping[str, str],
    limit_s: float,
    at_once: int,
    mode: Mode = Mode.VARIABLES,
) -> list[Row]:
    """A row per client that `mode` says something about, in order.

    At most `at_once` programs run at a time, an attempt for `limit_s` at most, times the client's patience.
    """
    places = asyncio.Semaphore(at_once)
    trial = _Trial(laboratory, folder, operators, limit_s, mode)

    async def one(client: Client) -> Row:
        async with places:
            return await trial.row(client)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(client)) for client in clients if mode in client.modes]
    return [task.result() for task in tasks]


@dataclass(frozen=True, slots=True)
class _Start:
    """How an attempt's program is started."""

    argv: Sequence[str]
    environment: Mapping[str, str]
    descriptors: tuple[int, ...] = ()


@contextlib.contextmanager
def started(argv: Sequence[str], environment: Mapping[str, str]) -> Iterator[_Start]:
    """As it is."""
    yield _Start(argv, environment)


@contextlib.contextmanager
def started_confined(argv: Sequence[str], environment: Mapping[str, str], *, door: Path) -> Iterator[_Start]:
    """With no way out but `door`."""
    plan = Plan(list(argv), dict(environment), str(door), [str(door.parent)], os.getpid())
    with starter(plan) as (command, kept, descriptor):
        yield _Start(command, {**kept, MARK: environment[MARK]}, (descriptor,))


class _Trial:
    def __init__(
        self, laboratory: Laboratory, folder: Path, operators: Mapping[str, str], limit_s: float, mode: Mode
    ) -> None:
        self._laboratory: Final = laboratory
        self._folder: Final = folder
        self._operators: Final = operators
        self._limit_s: Final = limit_s
        self._mode: Final = mode

    async def row(self, client: Client) -> Row:
        if shutil.which(client.command, path=self._operators.get("PATH")) is None:
            return Row(client.name, "", Verdict.ABSENT, "", "")
        version = await self._version(client)
        if version is None:
            return Row(client.name, "", Verdict.ABSENT, "", f"{client.command} is there, what it needs is not")
        if client.untried:
            return Row(client.name, version, Verdict.UNTRIED, "", client.untried)
        attempts: list[tuple[Tried, Reading]] = []
        for way in client.ways:
            attempts.append(await self._attempt(client, way))
            if attempts[-1][1] is Reading.REACHED:
                break
        found = judged([(attempt.needs, read) for attempt, read in attempts])
        told = tuple(attempt for attempt, _ in attempts)
        return Row(client.name, version, found.verdict, found.needs, found.why, told)

    async def _version(self, client: Client) -> str | None:
        """None where the command fails: a library that is missing, a shim without a program behind it."""
        folder = self._folder / f"version-{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700)
        environment = self._environment(folder, {})
        code, said = await ran(client.version, environment=environment, folder=folder, limit_s=VERSION_LIMIT_S)
        shutil.rmtree(folder, ignore_errors=True)
        found = VERSION.search(said.decode("utf-8", "replace"))
        return found[0] if code == 0 and found else None

    async def _attempt(self, client: Client, way: Way) -> tuple[Tried, Reading]:
        async with self._laboratory.site(self._mode) as site:
            for name, text in client.files.items():
                (site.folder / name).parent.mkdir(parents=True, exist_ok=True)
                (site.folder / name).write_text(filled(text, site.values))
            argv = tuple(filled(word, site.values) for word in way.argv)
            start = started if site.door is None else partial(started_confined, door=site.door)
            with start((*(() if self._spared(client) else site.launcher), *argv), self._variables(way, site)) as plan:
                code, said = await ran(
                    plan.argv,
                    environment=plan.environment,
                    folder=site.folder,
                    limit_s=self._limit_s * client.patience,
                    enough=site.reached,
                    descriptors=plan.descriptors,
                )
            read = reading(site.seen())
        if self._mode in (Mode.REDIRECTED, Mode.CONFINED) and read is Reading.AROUND:
            read = Reading.REACHED
        shutil.rmtree(site.folder, ignore_errors=True)
        needs = filled(way.needs, {**site.values, "bundle": "BUNDLE"})
        return Tried(needs, self._proxied(way), str(read), code, self._laboratory.scrub(said)), read

    def _spared(self, client: Client) -> bool:
        """Whether an address for the provider's name would keep the client from the proxy."""
        return client.resolves and self._mode is Mode.VARIABLES

    def _proxied(self, way: Way) -> bool:
        return way.proxied and self._mode is Mode.VARIABLES

    def _variables(self, way: Way, site: Site) -> dict[str, str]:
        proxy = dict(site.variables) if self._proxied(way) else site.trust_alone()
        own = {name: filled(value, site.values) for name, value in way.variables.items()}
        return self._environment(site.folder, {**proxy, "SAMPLE_API_KEY": site.values["key"], **own})

    def _environment(self, folder: Path, proxy: Mapping[str, str]) -> dict[str, str]:
        mark = secrets.token_hex(8)
        return attempt_environment(self._operators, real_home=Path.home(), folder=folder, mark=mark, proxy=proxy)
