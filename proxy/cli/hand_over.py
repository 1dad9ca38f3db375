"""What an agent in another container needs of us, written into a directory that both see (`agents.NAME.hand_over`).

The agent's token is read back at the next start and kept while it is valid, so that a restart of the sidecar disturbs
no agent. Everything is written as a whole and `env.sh` last: whoever sees it sees the rest.
"""

from __future__ import annotations

import logging
import os
import shlex
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from certs.bundle import merged_bundle
from certs.files import write_atomically
from proxy.cli.variables import proxy_variables, stand_in_variables
from proxy.errors import BriefcaseError
from proxy.identity import store
from proxy.identity.tokens import digest_of, token_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from sqlalchemy import Engine

    from proxy.app import Sidecar
    from proxy.catalog.configuration import Configuration
    from proxy.catalog.schema import Profile
    from proxy.clock import Clock
    from proxy.credentials.standin import StandIns
    from proxy.settings import HandOver

_log: Final = logging.getLogger("proxy.hand_over")
ROOTS: Final = "ca.pem"
BUNDLE: Final = "ca-bundle.pem"
TOKEN: Final = "token"  # noqa: S105  # a file's name
STAND_INS: Final = "stand-ins.json"
VARIABLES: Final = "env.sh"
PRIVATE: Final = frozenset({VARIABLES, STAND_INS, TOKEN})
PUBLIC_MODE: Final = 0o644
PRIVATE_MODE: Final = 0o640
"""The agent's container runs as another user: it gets in by the directory's group."""
DIRECTORY_MODE: Final = 0o755
MAX_TOKEN_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class Handed:
    """One agent's place, and its token."""

    agent: str
    to: HandOver
    token: str


class HandOvers:
    """Every hand-over of one sidecar: planned before a configuration is in force, carried out after it."""

    def __init__(self, database: Engine, *, home: Path, clock: Clock, environment: Mapping[str, str]) -> None:
        self._database: Final = database
        self._home: Final = home
        self._clock: Final = clock
        self._environment: Final = environment
        self._profiles: Mapping[str, Profile] = {}
        self._handed: tuple[Handed, ...] = ()

    def plan(self, configuration: Configuration) -> tuple[Handed, ...]:
        """Every agent that something is handed over to, registered, with a token that is valid.

        A revoked agent is left out, and what was handed to it is removed: only `briefcased agents add` brings it back.

        Raises:
            BriefcaseError: a directory cannot be used, or an agent would see the sidecar's own state in it.
        """
        found = []
        revoked = {row.name for row in store.list_agents(self._database) if row.revoked_at_ms is not None}
        for name, entry in configuration.settings.agents.items():
            if (to := entry.hand_over) is None:
                continue
            _prepare(to.directory, self._home)
            if name in revoked:
                _log.warning("agent %s is revoked: nothing is handed over to it", name)
                _withdraw(to.directory)
                continue
            token = _valid(to.directory / TOKEN, name, self._database, now_ms=self._clock.wall_ms())
            found.append(Handed(name, to, token or store.add_agent(self._database, name, (), clock=self._clock)))
        return tuple(found)

    def carry_out(self, planned: tuple[Handed, ...], configuration: Configuration, sidecar: Sidecar) -> None:
        """Write what `planned` says, of agents to whom `configuration`, which is in force, hands something over.

        Raises:
            BriefcaseError: a directory cannot be written.
        """
        agents = configuration.settings.agents
        self._handed = tuple(one for one in planned if one.agent in agents and agents[one.agent].hand_over is not None)
        self._profiles = configuration.profiles
        self._write(sidecar)

    def refresh(self, sidecar: Sidecar) -> None:
        """Write again, as roots come and go; a directory that cannot be written is an error in the log, no more."""
        try:
            self._write(sidecar)
        except BriefcaseError as error:
            _log.error("%s", error)  # the text is the whole message

    def _write(self, sidecar: Sidecar) -> None:
        roots = sidecar.bundle_pem()
        bundle = merged_bundle(roots, environment=self._environment)
        stand_ins = sidecar.pipeline.generation.stand_ins
        for one in self._handed:
            for name, content in _files(one, roots, bundle, stand_ins, self._profiles):
                mode = PRIVATE_MODE if name in PRIVATE else PUBLIC_MODE
                write_atomically(one.to.directory / name, content, mode=mode)


def _files(
    one: Handed, roots: bytes, bundle: bytes, stand_ins: StandIns, profiles: Mapping[str, Profile]
) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file, in the order in which they are written."""
    yield ROOTS, roots
    yield BUNDLE, bundle
    yield TOKEN, f"{one.token}\n".encode()
    yield STAND_INS, orjson.dumps(list(_stand_ins(one.agent, stand_ins)), option=orjson.OPT_INDENT_2) + b"\n"
    variables = {
        **proxy_variables(f"http://agent:{one.token}@{one.to.proxy}", one.to.directory / BUNDLE),
        **stand_in_variables(profiles, one.agent, stand_ins),
    }
    yield VARIABLES, "".join(f"export {name}={shlex.quote(value)}\n" for name, value in variables.items()).encode()


def _stand_ins(agent: str, stand_ins: StandIns) -> Iterator[dict[str, str]]:
    for held in stand_ins.all:
        if held.agent == agent:
            yield {"account": str(held.account), "secret": held.slot, "stand_in": held.value}


def _prepare(directory: Path, home: Path) -> None:
    """Make the directory where it is missing; refuse one in which an agent would see our state."""
    own, shared = home.resolve(), directory.resolve()
    if own == shared or own in shared.parents or shared in own.parents:
        raise BriefcaseError(f"{directory}: what agents read must lie outside the state directory {home}")
    try:
        directory.mkdir(mode=DIRECTORY_MODE, parents=True, exist_ok=True)
    except OSError as error:
        raise BriefcaseError(f"{directory} cannot be made: {error.strerror}") from None


def _withdraw(directory: Path) -> None:
    try:
        for name in PRIVATE:
            (directory / name).unlink(missing_ok=True)
    except OSError as error:
        raise BriefcaseError(f"{directory}: {error.strerror}") from None


def _valid(path: Path, agent: str, database: Engine, *, now_ms: int) -> str | None:
    """The token in the file, where it is one of `agent` that is still valid.

    An agent that can write the file may put another token of its own there, and nothing else.
    """
    presented = token_in(f"Bearer {_first_line(path)}")
    if presented is None:
        return None
    token, token_id = presented
    for row in store.valid_tokens(database):
        if row.token_id == token_id and row.agent == agent and row.digest == digest_of(token):
            return token if row.expires_at_ms is None or now_ms < row.expires_at_ms else None
    return None


def _first_line(path: Path) -> str:
    """Empty where there is no such regular file; a link is not followed, a pipe not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        return file.read(MAX_TOKEN_BYTES).decode("ascii", "replace").strip()
