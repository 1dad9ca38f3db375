"""H-08, I-15, J-08: registered, revoked, logged out, locked, restarted, in any order: always as the oracle says.

What is revoked or locked is so within a second, in every process, and stays so whatever the clock does: agents, their
tokens and task tokens, operators with tokens, keys and grants, logins, locks.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule, run_state_machine_as_test

from proxy.approval.approvers import NotEntitledError, NotThereError
from proxy.approval.grants import Terms, scope_of
from proxy.approval.key_statements import registration, seconding
from proxy.approval.signing import proven
from proxy.approval.statement import Wish
from proxy.errors import BriefcaseError
from proxy.identity import locks, operators, sessions, store
from proxy.identity.directory import Directory
from proxy.identity.id_token import Person
from proxy.identity.operator_registry import Unknown
from proxy.identity.store import Belongs
from proxy.identity.task_limits import TaskLimits
from proxy.identity.task_tokens import mint, narrowed
from proxy.identity.tasks import revocable
from proxy.keys.software import generate
from proxy.model import Agent, Operator, Role
from proxy.operator_settings import OidcProvider, OperatorSettings
from tests.approval.conftest import database, server  # noqa: F401  # fixtures
from tests.approval.hands import EMPTIED, Hands
from tests.approval.requests import AGENT, asked
from tests.approval.voting import ballot
from tests.identity import oracle
from tests.identity.gate import LOCAL, SEED, SETTINGS, Gate, World
from tests.identity.oracle import ACCOUNTS, Oracle, Rules

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from sqlalchemy import Engine

    from proxy.keys.software import SoftwareSigner

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
QUICK = {"max_examples": 8, "stateful_step_count": 25}
LONG = {"max_examples": 100, "stateful_step_count": 60}
HERE, THERE = "10.0.0.1", "10.0.0.2"
STEP_S, STEPS = locks.EVERY_S, 2
PROCESS = st.integers(0, 1)
AGENTS = st.sampled_from(["coder", "rival", "built"])
ABOUT = st.sampled_from([None, ("acme", ("alice",)), ("globex", ("bob",)), ("nowhere", ())])
GRANTED = st.sampled_from([(), ("*",), ("example/red",), ("example/*",)])
NAMES = st.sampled_from(["ann", "ben", "coder"])
ROLES = st.sampled_from([Role.APPROVER, Role.ADMIN])
TENANT = st.sampled_from([None, "acme", "globex"])
PEOPLE = {"sub-1": ("corp/pia", "admins"), "sub-2": ("corp/quin", "on-call"), "sub-3": ("corp/pia", "on-call")}
"""The third one calls themselves what the first one does."""
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


class Machine(RuleBasedStateMachine):
    """The real thing beside the oracle."""

    tokens = Bundle("tokens")
    tasks = Bundle("tasks")
    passes = Bundle("passes")
    logins = Bundle("logins")
    signers = Bundle("signers")
    grants = Bundle("grants")

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        with engine.begin() as connection:
            for table in TABLES:
                connection.exec_driver_sql(f"DELETE FROM {table}")
        self.engine, self.hands, self.oracle = engine, Hands(), Oracle(FULL)
        self.world = World(engine, self.hands, OperatorSettings(oidc=(provider(FULL),)))
        self.gates = [Gate(self.world) for _ in range(2)]
        self.runner = asyncio.Runner()
        self.known: list[str] = []
        self.held: dict[tuple[str, str], Agent] = {}
        self.signs: dict[str, SoftwareSigner] = {}
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
        text = store.add_agent(
            self.engine, name, accounts, clock=self.hands, expires_at_ms=end_ms, belongs=belongs
        )
        self.oracle.add_agent(name, accounts, about)
        self.oracle.tokens[text] = oracle.Token(name, self.oracle.life(name), end_ms)
        return text

    @rule(name=AGENTS)
    def revoke_agent(self, name: str) -> None:
        assert store.revoke_agent(self.engine, name, clock=self.hands) == self.oracle.revoke_agent(name)

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

    # -- operators

    @rule(target=passes, name=NAMES, role=ROLES, tenant=TENANT, hours=st.sampled_from([1, 24]))
    def add_operator(self, name: str, role: Role, tenant: str | None, hours: int) -> Any:
        added = self.oracle.add_operator(name, role.value, tenant)
        try:
            issued = operators.add_operator(self.engine, name, role, clock=self.hands, tenant=tenant, hours=hours)
        except BriefcaseError:
            assert not added
            return multiple()
        assert added
        return self.passed(issued.token, name, role, hours)

    @rule(target=passes, name=NAMES, role=ROLES, hours=st.sampled_from([1, 24]))
    def add_pass(self, name: str, role: Role, hours: int) -> Any:
        there = name in self.oracle.operators and not self.oracle.operators[name].revoked
        try:
            issued = operators.add_token(self.engine, name, clock=self.hands, role=role, hours=hours)
        except BriefcaseError:
            assert not there
            return multiple()
        assert there
        return self.passed(issued.token, name, role, hours)

    def passed(self, text: str, name: str, role: Role, hours: int) -> str:
        life, end_ms = self.oracle.operators[name].life, self.hands.wall + hours * 3_600_000
        self.oracle.passes[text] = oracle.Pass(name, life, role.value, end_ms)
        self.known.append(text)
        return text

    @rule(process=PROCESS, name=NAMES, dies=st.booleans())
    def revoke_operator(self, process: int, name: str, dies: bool) -> None:
        """Where the process dies in the middle of it, once more, in the other one."""
        done = self.oracle.revoke_operator(name)
        if done and dies:
            assert operators.revoke_operator(self.engine, name, clock=self.hands)
            left = any(self.speaks(name))
            self.restart(process)
            assert self.run(self.gates[1 - process].revoke_operator(name)) == left
        else:
            assert self.run(self.gates[process].revoke_operator(name)) == done

    def speaks(self, name: str) -> Any:
        """Whether something of this operator's is still there, as the database says."""
        keys, held = self.gates[0].desk.keys, self.gates[0].desk.approvals.grants
        tenant = self.oracle.operators[name].tenant
        yield from (one.revoked_at_ms is None and one.tenant == tenant for one in keys.listed(approver=name))
        for one in held.listed(tenant=tenant, limit=1000):
            yield one.revoked_at_ms is None and name in one.approvers

    @rule(
        target=logins, subject=st.sampled_from(sorted(PEOPLE)), once=st.integers(0, 30),
        role=st.sampled_from([None, Role.APPROVER]), ttl_s=st.sampled_from([300, 3600, 90_000]),
    )  # fmt: skip
    def log_in(self, subject: str, once: int, role: Role | None, ttl_s: int) -> Any:
        wanted, group = PEOPLE[subject]
        person = Person(subject, wanted, (("groups", group),), None, str(once))
        used = self.world.operators.oidc[0]
        expected = self.oracle.log_in(subject, wanted, str(once))
        try:
            made, text = sessions.start(self.engine, used, person, role=role, ttl_s=ttl_s, clock=self.hands)
        except (sessions.SpentError, sessions.NameTakenError) as error:
            assert expected == ("spent" if isinstance(error, sessions.SpentError) else "taken")
            return multiple()
        assert made.name == expected
        end_ms = self.hands.wall + min(ttl_s, self.oracle.rules.login_s) * 1000
        self.oracle.logins[text] = oracle.Login(
            expected, group, None if role is None else role.value, self.hands.wall, end_ms
        )
        self.oracle.spent[str(once)] = text
        self.known.append(text)
        return text

    @rule(process=PROCESS, text=logins, whose=logins)
    def log_out(self, process: int, text: str, whose: str) -> None:
        """One ends one's own login, an admin of all tenants anybody's, an admin of one tenant those there."""
        me, other = self.oracle.operates(text), self.oracle.logins.get(whose)
        by = self.gates[process].operators.by_token(f"Bearer {text}", HERE)
        if me is None or not isinstance(by, Operator):
            return
        now_ms = self.oracle.now.wall_ms
        there = other is not None and not other.ended and now_ms < other.end_ms
        admin = me[1] == me[2] == "admin" and me[3] is None
        may = other is not None and there and (other.name == me[0] or admin)
        assert self.run(self.gates[process].end_session(by, whose.split("_")[1])) == may
        if may and other is not None:
            other.ended = True

    @rule(rules=st.sampled_from([FULL, LESS]))
    def the_roles_change(self, rules: Rules) -> None:
        self.oracle.rules = rules
        self.world.operators = OperatorSettings(oidc=(provider(rules),))

    # -- what approvers leave behind

    def who(self, process: int, text: str) -> Operator | None:
        found = self.gates[process].operators.by_token(f"Bearer {text}", HERE)
        return found if isinstance(found, Operator) else None

    @rule(target=signers, process=PROCESS, text=passes | logins, confirmed=st.booleans())
    def register(self, process: int, text: str, confirmed: bool) -> Any:
        by = self.who(process, text)
        if by is None:
            return multiple()
        desk, signer = self.gates[process].desk, generate("Ed25519")
        id_ = signer.public.thumbprint
        says = partial(registration, key=id_, approver=by.name)
        proof = proven(signer.signature, id_, says, now_ms=self.hands.wall)
        self.run(desk.registrar.register(by, dict(signer.public.jwk), proof, label=""))
        if confirmed:
            self.run(desk.registrar.confirm(LOCAL, id_, by.name, None))
        self.oracle.keys[id_] = oracle.Key(by.name, by.tenant, confirmed)
        self.signs[id_] = signer
        return id_

    @rule(process=PROCESS, id_=signers)
    def revoke_key(self, process: int, id_: str) -> None:
        done = self.oracle.revoke_key(id_)
        try:
            self.run(self.gates[process].desk.registrar.revoke(LOCAL, id_))
        except BriefcaseError:
            assert not done
        else:
            assert done

    @rule(
        target=grants, process=PROCESS, text=passes | logins, tenant=st.sampled_from(["acme", "globex"]),
        agent=AGENTS, for_s=st.sampled_from([60, 3600, 86_400]),
    )  # fmt: skip
    def grant(self, process: int, text: str, tenant: str, agent: str, for_s: int) -> Any:
        by, desk = self.who(process, text), self.gates[process].desk
        if by is None:
            return multiple()
        wanted = asked(agent=Agent(agent, ("*",), "t", tenant=tenant))
        wish = Wish(Terms(for_s, 5, 1000), wanted.head.path)
        may = self.oracle.entitled(by.name, by.tenant, tenant, agent)
        try:
            made = self.run(desk.approvers.grant(scope_of(wanted, wanted.head.path), ballot(by=by, grant=wish)))
        except NotEntitledError:
            assert not may
            return multiple()
        assert may
        now = self.oracle.now
        self.oracle.grants[made.id] = oracle.Grant(
            tenant, {by.name: None}, now.wall_ms + for_s * 1000, now.steady_s + for_s, now.boot
        )
        return made.id

    @rule(process=PROCESS, text=passes | logins, id_=grants, key=signers)
    def second(self, process: int, text: str, id_: str, key: str) -> None:
        """Signed, where the key counts and is one's own."""
        by, desk = self.who(process, text), self.gates[process].desk
        if by is None:
            return
        grant, theirs = self.oracle.grants[id_], self.oracle.keys[key]
        found = desk.approvals.grants.get(id_)
        assert found is not None
        proof = None
        if self.oracle.counts(key) and (theirs.approver, theirs.tenant) == (by.name, by.tenant):
            says = partial(seconding, grant=id_, scope=found.scope, terms=found.terms, approver=by.name)
            proof = proven(self.signs[key].signature, key, says, now_ms=self.hands.wall)
        may = self.oracle.entitled(by.name, by.tenant, grant.tenant, found.scope.agent)
        try:
            self.run(desk.approvers.second(id_, by, proof))
        except NotEntitledError:
            assert not may
        except NotThereError:
            assert by.tenant not in (None, grant.tenant)
        except BriefcaseError:
            assert not self.oracle.alive(grant)
        else:
            assert may
            assert self.oracle.alive(grant)
            grant.behind[by.name] = None if proof is None else key

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

    @rule(seconds=st.sampled_from([1, 30, 60, 601, 3600, 86_400]))
    def time_passes(self, seconds: int) -> None:
        self.hands.forward(seconds)
        self.look()

    @rule(seconds=st.sampled_from([-86_400 * 40, -86_400, -601, -1, 1, 601, 86_400 * 40]))
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
    def what_is_looked_up_is_so_at_once(self) -> None:
        for gate in self.gates:
            for text in self.known:
                self.ask_operator(gate, text)
            for id_, key in self.oracle.keys.items():
                found = gate.desk.keys.counting(id_, key.approver, tenant=key.tenant)
                assert (found is not None) == self.oracle.counts(id_), id_
            for id_, grant in self.oracle.grants.items():
                there = gate.desk.approvals.grants.get(id_)
                assert there is not None
                assert there.alive(gate.desk.approvals.grants.now()) == self.oracle.alive(grant), id_

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

    def ask_operator(self, gate: Gate, text: str) -> None:
        found = gate.operators.by_token(f"Bearer {text}", HERE)
        told = None if isinstance(found, Unknown) else (found.name, found.role, found.ceiling, found.tenant)
        assert told == self.oracle.operates(text)

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
            assert (gate.fault(held, source, account) is not None) == (locked or not covered)


def whose(agent: Agent) -> oracle.Who:
    return agent.name, agent.tenant, agent.accounts, None if agent.user is None else agent.user.name


def check(engine: Engine, **how: int) -> None:
    run_state_machine_as_test(
        lambda: Machine(engine),
        settings=settings(deadline=None, suppress_health_check=list(HealthCheck), database=None, **how),
    )


def test_h_08_who_may_do_what_is_as_the_rules_say(database: Engine) -> None:  # noqa: F811
    check(database, **QUICK)


@pytest.mark.slow
def test_h_08_who_may_do_what_is_as_the_rules_say_for_long(database: Engine) -> None:  # noqa: F811
    check(database, **LONG)
