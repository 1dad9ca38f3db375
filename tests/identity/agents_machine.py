"""Agents, their tokens and what is locked, in two processes beside an oracle: rules for a state machine."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from proxy.identity import locks, store
from proxy.identity.directory import Directory
from proxy.identity.store import Belongs
from proxy.identity.task_limits import TaskLimits
from proxy.identity.task_tokens import mint, narrowed
from proxy.identity.tasks import revocable
from proxy.model import Action, Agent, Called
from proxy.operator_settings import OidcProvider, OperatorSettings
from tests.approval.hands import EMPTIED, Hands
from tests.identity import oracle
from tests.identity.gate import SEED, SETTINGS, Gate, World
from tests.identity.oracle import ACCOUNTS, Oracle, Rules

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from sqlalchemy import Engine

TABLES = (
    *EMPTIED,
    "agent_tokens",
    "agents",
    "operator_tokens",
    "operators",
    "operator_sessions",
    "operator_people",
    "locks",
)
HERE, THERE = "10.0.0.1", "10.0.0.2"
STEP_S, STEPS = locks.EVERY_S, 2
PROCESS = st.integers(0, 1)
AGENTS = st.sampled_from(["coder", "rival", "built"])
ABOUT = st.sampled_from([None, ("acme", ("alice",)), ("globex", ("bob",)), ("nowhere", ())])
GRANTED = st.sampled_from([(), ("*",), ("example/red",), ("example/*",)])
KEYS = st.sampled_from([
    ("all", ""), ("tenant", "acme"), ("tenant", "globex"), ("agent", "coder"), ("agent", "built"), ("user", "alice"),
    ("account", "example/red"), ("account", "example/blue"), ("provider", "example"), ("provider", "second"),
])  # fmt: skip
GROUPS: dict[str, tuple[str, str | None]] = {"admins": ("admin", None), "on-call": ("approver", "acme")}
FULL = Rules(GROUPS, 3600)
LESS = Rules({"admins": ("admin", None)}, 600)


def provider(rules: Rules) -> OidcProvider:
    roles = [
        {"claim": "groups", "value": group, "role": role, "tenant": tenant}
        for group, (role, tenant) in rules.groups.items()
    ]
    return OidcProvider.model_validate(
        {
            "label": "corp",
            "issuer": "https://login.test",
            "client_id": "x",
            "roles": tuple(roles),
            "session_s": rules.login_s,
        }
    )


class AgentsMachine(RuleBasedStateMachine):
    """The real thing beside the oracle."""

    tokens = Bundle("tokens")
    tasks = Bundle("tasks")

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        with engine.begin() as connection:
            for table in TABLES:
                connection.exec_driver_sql(f"DELETE FROM {table}")
        self.engine, self.hands, self.oracle = engine, Hands(), Oracle(FULL)
        self.world = World(engine, self.hands, OperatorSettings(oidc=(provider(FULL),)))
        self.gates = [Gate(self.world) for _ in range(2)]
        self.runner = asyncio.Runner()
        self.held: dict[tuple[str, str], Agent] = {}
        self.look()

    def teardown(self) -> None:
        self.runner.close()

    def run[T](self, work: Awaitable[T]) -> T:
        return self.runner.run(work)  # type: ignore[arg-type]  # they are coroutines

    def look(self) -> None:
        """The oracle sees the same clocks."""
        now = self.oracle.now
        now.wall_ms, now.steady_s, now.boot = self.hands.wall, self.hands.monotonic, self.world.boot

    # -- agents

    @rule(target=tokens, name=AGENTS, accounts=GRANTED, about=ABOUT, ends_s=st.sampled_from([None, 60, 3600]))
    def add_agent(
        self, name: str, accounts: tuple[str, ...], about: tuple[str, tuple[str, ...]] | None, ends_s: int | None
    ) -> str:
        end_ms = None if ends_s is None else self.hands.wall + ends_s * 1000
        belongs = None if about is None else Belongs(about[0], users=about[1])
        text = store.add_agent(self.engine, name, accounts, clock=self.hands, expires_at_ms=end_ms, belongs=belongs)
        self.oracle.add_agent(name, accounts, about)
        self.oracle.tokens[text] = oracle.Token(name, self.oracle.life(name), end_ms)
        return text

    @rule(name=AGENTS)
    def revoke_agent(self, name: str) -> None:
        assert store.revoke_agent(self.engine, name, clock=self.hands) == self.oracle.revoke_agent(name)

    @rule(target=tokens, name=AGENTS)
    def another_of_the_name_comes(self, name: str) -> Any:
        """Whoever holds a task token of the one before."""
        self.add_agent(name, ("*",), ("acme", ()), None)
        self.mint(0, name, None, 86_400, ())
        self.revoke_agent(name)
        return self.add_agent(name, ("*",), ("acme", ()), None)

    @rule(
        target=tasks, process=PROCESS, name=AGENTS, user=st.sampled_from([None, "alice", "bob"]),
        ttl_s=st.sampled_from([60, 3600, 86_400]), accounts=st.sampled_from([(), ("example/red",)]),
    )  # fmt: skip
    def mint(self, process: int, name: str, user: str | None, ttl_s: int, accounts: tuple[str, ...]) -> Any:
        """As `briefcased agents token` does."""
        agent = next((one for one in self.gates[process].registry.agents() if one.name == name), None)
        allowed = agent is not None and Directory.of(SETTINGS).acting(agent, user) is not None
        assert allowed == (self.oracle.agent(name) is not None and (user is None or self.oracle.may_act(name, user)))
        if agent is None or not allowed:
            return multiple()
        end_ms = self.hands.wall // 1000 * 1000 + ttl_s * 1000
        text = mint(SEED, name, TaskLimits(end_ms, accounts=accounts), user=user, life=agent.life)
        self.oracle.tasks[text] = oracle.Task(name, self.oracle.life(name), user, (end_ms,), accounts=accounts)
        return text

    @rule(
        target=tasks, text=tasks, ttl_s=st.sampled_from([None, 30, 7200]), sources=st.sampled_from([(), (HERE,)]),
        accounts=st.sampled_from([("example/red", "second/main"), ("example/blue",)]),
    )  # fmt: skip
    def narrow(self, text: str, ttl_s: int | None, sources: tuple[str, ...], accounts: tuple[str, ...]) -> Any:
        """What a holder does, who asks nobody."""
        above = self.oracle.tasks[text]
        end_ms = None if ttl_s is None else self.hands.wall // 1000 * 1000 + ttl_s * 1000
        peers = tuple(f"ip:{one}" for one in sources)
        try:
            new = narrowed(text, TaskLimits(end_ms, accounts=accounts, peers=peers))
        except ValueError:  # too long
            return multiple()
        ends = above.ends_ms if end_ms is None else (*above.ends_ms, end_ms)
        self.oracle.tasks[new] = oracle.Task(above.agent, above.life, above.user, ends, sources, accounts, above)
        return new

    @rule(text=tasks)
    def revoke_task(self, text: str) -> None:
        key = (locks.TOKEN, revocable(text))
        locks.lock(self.engine, [key], reason="lost", by="ann", clock=self.hands)
        self.oracle.tasks[text].revoked = True

    # -- locks

    @rule(key=KEYS)
    def lock(self, key: tuple[str, str]) -> None:
        locks.lock(self.engine, [key], reason="odd", by="ann", clock=self.hands)
        self.oracle.locks.add(key)

    @rule(key=KEYS)
    def unlock(self, key: tuple[str, str]) -> None:
        assert locks.unlock(self.engine, [key]) == [key] * (key in self.oracle.locks)
        self.oracle.locks.discard(key)

    # -- the world

    @rule(seconds=st.sampled_from([1, 61, 601, 3601]))
    def time_passes(self, seconds: int) -> None:
        self.hands.forward(seconds)
        self.look()

    @rule(seconds=st.sampled_from([-86_400, -3601, -601, 601, 86_400 * 40]))
    def somebody_sets_the_clock(self, seconds: int) -> None:
        self.hands.wall += seconds * 1000
        self.look()

    @rule(process=PROCESS)
    def restart(self, process: int) -> None:
        self.gates[process] = Gate(self.world)

    @rule()
    def reboot(self) -> None:
        self.world.boot += 1
        self.hands.monotonic = 10.0
        self.gates = [Gate(self.world) for _ in range(2)]
        self.look()

    # -- always

    @invariant()
    def within_a_second_every_process_knows(self) -> None:
        for _ in range(STEPS):  # what `Locks.watch` does meanwhile
            self.hands.forward(STEP_S)
            for gate in self.gates:
                self.run(gate.locks.refresh())
        self.look()
        for gate in self.gates:
            for text, token in self.oracle.tokens.items():
                self.ask_agent(gate, text, HERE, self.oracle.bears(token), None)
            for text, task in self.oracle.tasks.items():
                for source in (HERE, THERE):
                    self.ask_agent(gate, text, source, self.oracle.works(task, source), task)

    def ask_agent(
        self, gate: Gate, text: str, source: str, expected: oracle.Who | None, task: oracle.Task | None
    ) -> None:
        """Who comes with this token, what may run, and what of before may go on."""
        found = gate.authenticator.authenticate(f"Bearer {text}", source)
        held = self.held.get((text, source))
        if expected is None:
            assert not isinstance(found, Agent)
            assert held is None or gate.authenticator.current(held) is None
            assert held is None or all(gate.fault(held, source, one) for one in (None, *ACCOUNTS))
            return
        assert isinstance(found, Agent)
        assert whose(found) == expected
        held = self.held.setdefault((text, source), found)
        now = gate.authenticator.current(held)
        assert now is not None
        assert whose(now) == expected
        assert (gate.fault(held, source, None) is not None) == self.oracle.locked(expected, None)
        for account in ACCOUNTS:
            locked, covered = self.oracle.locked(expected, account), self.oracle.covers(expected, account)
            assert gate.locked(found, source, account) == locked
            assert permits(found, account, self.hands.wall) == self.oracle.permits(task, account)
            assert (gate.fault(held, source, account) is not None) == (locked or not covered)


def permits(agent: Agent, account: str, now_ms: int) -> bool:
    """Whether the limits of its task token, if it has one, let it call something with `account`."""
    name = account.partition("/")[0]
    call = Called(now_ms, f"{name}.test", "GET", "/x", account, name, f"{name}:read", Action.READ)
    return agent.session is None or agent.session.permits(call)


def whose(agent: Agent) -> oracle.Who:
    return agent.name, agent.tenant, agent.accounts, None if agent.user is None else agent.user.name
