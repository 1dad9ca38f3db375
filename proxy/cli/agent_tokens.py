"""`briefcased agents token|narrow`: tokens for one task."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Annotated, Final

import orjson
import typer

from proxy.cli.check import CONFIG, ConfigOption
from proxy.cli.words import duration_s
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from pathlib import Path

    from proxy.identity.task_limits import TaskLimits

MAX_TTL_S: Final = 30 * 86_400

Several = list[str] | None
AccountsOption = Annotated[Several, typer.Option("--accounts", help="provider/account or provider/*; repeatable.")]
OperationsOption = Annotated[
    Several, typer.Option("--operations", help="read, write, admin or profile:operation; repeatable.")
]
MethodsOption = Annotated[Several, typer.Option("--methods", help="HTTP methods; repeatable.")]
HostsOption = Annotated[Several, typer.Option("--hosts", help="Hosts; repeatable.")]
PathsOption = Annotated[Several, typer.Option("--paths", help="What paths begin with; repeatable.")]
PeerOption = Annotated[
    Several,
    typer.Option(
        "--peer", help="ip:ADDRESS, or uid:NUMBER or process:PID (unix socket) it must come from; repeatable."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON value.")]


def token(
    name: Annotated[str, typer.Argument(help="The agent.")],
    ttl: Annotated[str, typer.Option("--ttl", help="How long it holds: 90s, 15m, 1h, 2d.")] = "1h",
    accounts: AccountsOption = None,
    operations: OperationsOption = None,
    methods: MethodsOption = None,
    hosts: HostsOption = None,
    paths: PathsOption = None,
    peer: PeerOption = None,
    user: Annotated[str | None, typer.Option("--user", help="On whose behalf.")] = None,
    task: Annotated[str | None, typer.Option("--task", help="An id of yours; budgets and policies see it.")] = None,
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Make a token of an agent for one task; it is shown once, and can be narrowed without us."""
    limits = _limits(ttl, accounts, operations, methods, hosts, paths, peer)
    text = asyncio.run(_minted(config, name, limits, user, task))
    _show(text, name, as_json=as_json)


def narrow(
    text: Annotated[str, typer.Argument(metavar="TOKEN", help="A task token, or - to read it from standard input.")],
    ttl: Annotated[str | None, typer.Option("--ttl", help="How long it holds from now: 90s, 15m, 1h, 2d.")] = None,
    accounts: AccountsOption = None,
    operations: OperationsOption = None,
    methods: MethodsOption = None,
    hosts: HostsOption = None,
    paths: PathsOption = None,
    peer: PeerOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a task token narrower; needs no sidecar, no configuration and no key."""
    from proxy.identity import task_tokens

    given = sys.stdin.readline().strip() if text == "-" else text
    limits = _limits(ttl, accounts, operations, methods, hosts, paths, peer)
    try:
        new = task_tokens.narrowed(given, limits)
    except ValueError as error:
        raise BriefcaseError(str(error)) from None
    _show(new, None, as_json=as_json)


async def _minted(config: Path, name: str, limits: TaskLimits, user: str | None, task: str | None) -> str:
    from proxy.cli.shared_state import shared_state
    from proxy.identity import task_tokens
    from proxy.identity.directory import Directory
    from proxy.services import TASK_TOKENS

    async with shared_state(config) as state:
        agent = state.agent(name)
        if Directory.of(state.settings).acting(agent, user) is None:
            raise BriefcaseError(f"{name} may not act for a user {user}")
        try:
            return task_tokens.mint(
                state.seal.derived(TASK_TOKENS), name, limits, user=user, task=task, life=agent.life
            )
        except ValueError as error:
            raise BriefcaseError(str(error)) from None


def _limits(  # one for each option
    ttl: str | None,
    accounts: Several,
    operations: Several,
    methods: Several,
    hosts: Several,
    paths: Several,
    peers: Several,
) -> TaskLimits:
    from proxy.identity.task_limits import TaskLimits

    return TaskLimits(
        until_ms=None if ttl is None else int(time.time() + _seconds(ttl)) * 1000,
        accounts=tuple(accounts or ()),
        operations=tuple(operations or ()),
        methods=tuple(one.upper() for one in methods or ()),
        hosts=tuple(one.lower() for one in hosts or ()),
        paths=tuple(paths or ()),
        peers=tuple(_peer(one) for one in peers or ()),
    )


def _peer(text: str) -> str:
    """The peer as tokens name it: of a process also when it started."""
    from proxy.identity import processes

    number = text.removeprefix(processes.PREFIX)
    if number == text or not (number.isascii() and number.isdigit()):
        return text
    found = processes.name_of(int(number))
    if found is None:
        raise BriefcaseError(f"there is no process {number} that we can see")
    return found


def _seconds(ttl: str) -> int:
    seconds = duration_s(ttl) or 0
    if not 0 < seconds <= MAX_TTL_S:
        raise BriefcaseError("--ttl is a number with s, m, h or d, of at most 30 days")
    return seconds


def _show(text: str, agent: str | None, *, as_json: bool) -> None:
    from proxy.identity.tasks import revocable

    if as_json:
        named = {} if agent is None else {"agent": agent}
        sys.stdout.write(orjson.dumps({**named, "token": text, "id": f"task_{revocable(text)}"}).decode() + "\n")
        return
    sys.stdout.write(f"{text}\n")
    sys.stderr.write(f"Its id is task_{revocable(text)}.\nProxy URL: http://agent:TOKEN@HOST:PORT\n")
