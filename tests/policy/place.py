"""What decides in a sidecar, put together as `proxy.sidecar` does it, on files and a database of the test."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import orjson

from proxy.api.call import Call
from proxy.api.handlers import policies as api
from proxy.api.policy_models import Confirmation
from proxy.api.problems import ProblemError
from proxy.catalog.bundle import frame_of
from proxy.catalog.configuration import Configuration
from proxy.catalog.schema import Profile
from proxy.clock import ClockWatch
from proxy.decision import Decision, decide
from proxy.documents import Document
from proxy.enforcing import Enforcing, WaitingError
from proxy.errors import BriefcaseError, ConfigError, Denial, Refused
from proxy.exchange import Exchange, Tunnel
from proxy.generation import build_generation
from proxy.identity.locks import Locks
from proxy.identity.registry import StaticRegistry
from proxy.model import Agent, Authority, Operator, RequestHead, Role
from proxy.policy import Policies
from proxy.policy_standing import vocabulary_of
from proxy.policy_versions import PolicyVersions, digest_of
from proxy.rights import Rights
from proxy.risk import Circumstances
from proxy.settings import Settings
from tests.policy.family import text_of
from tests.policy.oracle import AGENTS, Said
from tests.rig.services import services

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from sqlalchemy import Engine

    from proxy.decision import Generation
    from proxy.policy_change import Admitted
    from tests.approval.hands import Hands
    from tests.policy.family import Request

PROFILE = """\
schema: 1
name: example
title: Example
docs: https://example.test/
checked: "2026-11-24"
hosts: [{host: api.example.test}]
secrets: {key: {stand_in: {template: "key-{base62:24}"}}}
credentials: {bearer: {kind: header, prefix: "Bearer ", secret: key}}
operations:
  - {id: read, methods: [GET], path: "/**", action: read}
  - {id: write, methods: [POST], path: "/**", action: write}
  - {id: admin, methods: [DELETE], path: "/**", action: admin}
"""
PROFILES = {"example": Document("example", PROFILE).validated(Profile)}
METHODS = {"read": "GET", "write": "POST", "admin": "DELETE"}
ACCOUNT = {"secrets": {"key": "file:/k"}, "actions": list(METHODS)}
WHO = {name: Agent(name, ("*",), f"t-{name}", groups=tuple(groups)) for name, groups in AGENTS.items()}


class Receipts:
    """Where changes are written down, unless it is `full`."""

    def __init__(self) -> None:
        self.changes: list[dict[str, object]] = []
        self.full = False

    def new_id(self) -> str:
        return f"rcp_{len(self.changes)}"

    async def record_change(self, fields: Mapping[str, object]) -> None:
        if self.full:
            raise Refused(Denial("receipt_unavailable", "Receipts cannot be written now.", by="receipts"))
        self.changes.append(dict(fields))

    def of(self, change: str) -> int:
        return sum(one["change"] == change for one in self.changes)


@dataclass
class Files:
    """`briefcased.yaml` and the files of policies that it names, as they are now."""

    folder: Path
    known: ClassVar[dict[tuple[Path, Said], Configuration]] = {}
    """Loading takes most of the time, and the same text is always the same set."""

    def write(self, said: Said) -> Configuration:
        written = self._written(said)
        found = self.known.get((self.folder, said))
        if found is None:
            policies, rollout = written.deciding()
            found = self.known[self.folder, said] = replace(written, policies=policies, rollout=rollout)
        return found

    def half_written(self, said: Said) -> Configuration:
        """Not loaded yet, and it cannot be."""
        written = self._written(said)
        with (self.folder / "own.cedar").open("a") as file:
            file.write('@id("half") permit (principal, action')
        return written

    def _written(self, said: Said) -> Configuration:
        own, following = self.folder / "own.cedar", self.folder / "next.cedar"
        own.write_text(text_of(said.chosen))
        policies: dict[str, Any] = {
            "files": [str(own)],
            "observe": said.observe,
            "widening": "confirm" if said.confirm else "tell",
        }
        if said.stage is not None:
            following.write_text(text_of(said.stage.chosen))
            policies["candidate"] = {
                "files": [str(following)],
                "agents": sorted(said.stage.agents),
                "groups": sorted(said.stage.groups),
                "percent": 100 if said.stage.everybody else 0,
            }
        providers = {"example": {"accounts": {"main": ACCOUNT}}}
        whole = {"version": 1, "policies": policies, "providers": providers}
        return Configuration(Settings.model_validate_json(orjson.dumps(whole)), PROFILES)


class Place:
    """One process from its start on. `configuration` is what the files say."""

    def __init__(self, engine: Engine, hands: Hands, receipts: Receipts) -> None:
        self.hands, self.receipts = hands, receipts
        self.versions = PolicyVersions(engine, hands)
        written: Any = receipts
        self.enforcing = Enforcing(self.versions, written, hands, "ann")
        self.watch = ClockWatch(hands, hands.monotonic_s)
        self.locks = Locks(engine, hands)
        registry = StaticRegistry({name: agent for name, agent in WHO.items()}, hands)
        self.rights = Rights(registry, self.locks, hands, lambda: self.generation)
        self.generation: Generation

    async def start(self, configuration: Configuration) -> None:
        """Raises `BriefcaseError`."""
        self._install(await self.enforcing.begin(configuration, tuple(WHO.values())))

    async def reload(self, configuration: Configuration) -> str:
        """`in force`, `waits`, `unrecorded`, or `refused` where the files have a mistake."""
        now = self.generation
        try:
            admitted = await self.enforcing.reloaded(configuration, now.policies, now.rollout, tuple(WHO.values()))
            await self._put(admitted)
        except WaitingError as waiting:
            return "waits" if self.enforcing.waiting == waiting.version.number else "waits unseen"
        except ConfigError:
            return "refused"
        except BriefcaseError:
            return "unrecorded" if self.receipts.full else "failed"
        self.watch.accept()
        return "in force"

    async def _put(self, admitted: Admitted) -> None:
        await self.enforcing.put(admitted)
        self._install(admitted.configuration)

    def _install(self, configuration: Configuration) -> None:
        self.generation = build_generation(1, configuration, WHO.values(), stand_in_key=b"k" * 32)

    async def confirm(self, who: str, tenant: str | None, version: int) -> str:
        """`confirmed`, or why not."""
        by = Operator(who, Role.ADMIN, Role.ADMIN, tenant, "token:t")
        registry: Any = None
        given = services(
            clock=self.hands,
            receipts=self.receipts,
            agents=WHO.values,
            generation=lambda: self.generation,
            enforcing=self.enforcing,
        )
        try:
            await api.confirm(Call(operator=by, services=given, registry=registry, body=Confirmation(version=version)))
        except ProblemError as error:
            return error.problem.slug
        return "confirmed"

    def ask(self, request: Request) -> tuple[str, frozenset[str], str | None, str | None]:
        """As `Oracle.answer`: the slug or the strength, whose saying it is, what was observed, what is beside it."""
        agent = WHO[request.agent]
        if (
            stopped := self.rights.locked(Exchange("rcp_1", Tunnel(agent, None), 1, 0.0, account="example/main"))
        ) is not None:
            return stopped.slug, frozenset(), None, None
        segments = (request.path.removeprefix("/"),)
        head = RequestHead(
            METHODS[request.action],
            "https",
            Authority("api.example.test", 443),
            request.path,
            segments,
            None,
            (),
            has_body=False,
        )
        circumstances = Circumstances(clock_jumped=self.watch.jumped())
        found = decide(self.generation, agent, head, now_ms=self.hands.wall, circumstances=circumstances)
        if isinstance(found, Denial):
            named = found.extra.get("policies", [])
            assert isinstance(named, list)
            return found.slug, frozenset(named), None, found.candidate
        assert isinstance(found, Decision)
        ruling = found.ruling
        word = ("allow", "approval", "strong")[ruling.strength]
        return word, frozenset(ruling.policies), ruling.observed, ruling.candidate


def roll_back(engine: Engine, hands: Hands, configuration: Configuration, number: int, author: str) -> int:
    """What `briefcased policy rollback` keeps, in a process of its own."""
    versions = PolicyVersions(engine, hands)
    own, rollout = configuration.deciding()
    frame = frame_of(configuration.settings, configuration.profiles, rollout)
    earlier = versions.one(number)
    assert earlier is not None
    policies = Policies.load(earlier.sources, vocabulary_of(configuration))
    return versions.add(
        digest=policies.version,
        sources=earlier.sources,
        files_digest=digest_of(own.sources, frame),
        frame=frame.without_candidate(),
        author=author,
        reason="back",
        restores=number,
    )
