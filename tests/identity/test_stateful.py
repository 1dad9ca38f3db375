"""H-08, I-15, J-08: registered, revoked, logged out, locked, restarted, in any order: always as the oracle says.

What is revoked or locked is so within a second, in every process, and stays so whatever the clock does: agents, their
tokens and task tokens, operators with tokens, keys and grants, logins, locks.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, invariant, multiple, rule, run_state_machine_as_test

from proxy.approval.approvers import NotEntitledError, NotThereError
from proxy.approval.grants import Terms, scope_of
from proxy.approval.key_statements import registration, seconding
from proxy.approval.signing import proven
from proxy.approval.statement import Wish
from proxy.errors import BriefcaseError
from proxy.identity import operators, sessions
from proxy.identity.id_token import Person
from proxy.identity.operator_registry import Unknown
from proxy.keys.software import generate
from proxy.model import Agent, Operator, Role
from proxy.operator_settings import OperatorSettings
from tests.approval.conftest import database, server  # noqa: F401  # fixtures
from tests.approval.requests import asked
from tests.approval.voting import ballot
from tests.identity import oracle
from tests.identity.agents_machine import AGENTS, FULL, HERE, LESS, PROCESS, AgentsMachine, provider
from tests.identity.gate import LOCAL

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from proxy.keys.software import SoftwareSigner
    from tests.identity.gate import Gate
    from tests.identity.oracle import Rules

QUICK = {"max_examples": 6, "stateful_step_count": 24}
LONG = {"max_examples": 60, "stateful_step_count": 50}
NAMES = st.sampled_from(["ann", "ben", "coder"])
ROLES = st.sampled_from([Role.APPROVER, Role.ADMIN])
TENANT = st.sampled_from([None, "acme", "globex"])
PEOPLE = {"sub-1": ("corp/pia", "admins"), "sub-2": ("corp/quin", "on-call"), "sub-3": ("corp/pia", "on-call")}
"""The third one calls themselves what the first one does."""


class Machine(AgentsMachine):
    """With operators, and what speaks for them."""

    passes = Bundle("passes")
    logins = Bundle("logins")
    signers = Bundle("signers")
    grants = Bundle("grants")

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.known: list[str] = []
        self.signs: dict[str, SoftwareSigner] = {}

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
        except sessions.SpentError:
            assert expected == "spent"
            return multiple()
        except sessions.NameTakenError:
            assert expected == "taken"
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

    def who(self, process: int, text: str) -> Operator:
        """Whose the token is, or, where it is nobody's any more, Ann with a new one."""
        ask = self.gates[process].operators.by_token
        if isinstance(found := ask(f"Bearer {text}", HERE), Operator):
            return found
        if self.oracle.add_operator("ann", "admin", None):
            operators.add_operator(self.engine, "ann", Role.ADMIN, clock=self.hands)
        issued = operators.add_token(self.engine, "ann", clock=self.hands, role=Role.ADMIN, hours=1)
        self.passed(issued.token, "ann", Role.ADMIN, 1)
        new = ask(f"Bearer {issued.token}", HERE)
        assert isinstance(new, Operator)
        return new

    @rule(target=signers, process=PROCESS, text=passes | logins, confirmed=st.booleans())
    def register(self, process: int, text: str, confirmed: bool) -> Any:
        by, desk, signer = self.who(process, text), self.gates[process].desk, generate("Ed25519")
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
        agent=AGENTS, for_s=st.sampled_from([60, 600, 3600]),
    )  # fmt: skip
    def grant(self, process: int, text: str, tenant: str, agent: str, for_s: int) -> Any:
        by, desk = self.who(process, text), self.gates[process].desk
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

    @rule(id_=grants, back_s=st.sampled_from([0, 7200]))
    def its_time_passes(self, id_: str, back_s: int) -> None:
        """As long as a grant lasts; meanwhile somebody sets the wall clock back."""
        grant, now = self.oracle.grants[id_], self.oracle.now
        left_s = max(0.0, grant.steady_end_s - now.steady_s) if grant.boot == now.boot else 60
        self.hands.forward(left_s)
        self.hands.wall -= back_s * 1000
        self.look()

    @rule(process=PROCESS, text=passes | logins, id_=grants, key=signers)
    def second(self, process: int, text: str, id_: str, key: str) -> None:
        """Signed, where the key counts and is one's own."""
        by, desk = self.who(process, text), self.gates[process].desk
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

    def ask_operator(self, gate: Gate, text: str) -> None:
        found = gate.operators.by_token(f"Bearer {text}", HERE)
        told = None if isinstance(found, Unknown) else (found.name, found.role, found.ceiling, found.tenant)
        assert told == self.oracle.operates(text)


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
