"""Asking, voting, using, expiring, restarting, in any order and in two processes: always as the oracle says."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from proxy.approval.grants import Terms, scope_of
from proxy.approval.service import Waiter
from proxy.approval.states import State, Vote
from proxy.approval.store import Changed
from proxy.errors import Denial, Refused
from proxy.model import Strength
from tests.approval.hands import EMPTIED, Hands
from tests.approval.oracle import Oracle, Standing, Wanted
from tests.approval.requests import AGENT, HEAD, asked
from tests.approval.voting import Desk

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from sqlalchemy import Engine

    from proxy.approval.fingerprint import Asked
    from proxy.approval.grants import Grant
    from proxy.approval.states import Approval

QUICK = {"max_examples": 6, "stateful_step_count": 20}
LONG = {"max_examples": 60, "stateful_step_count": 40}
KINDS = (
    {},
    {"strong": True},
    {"needs": 2},
    {"strong": True, "needs": 2},
)
WANTED = st.builds(
    lambda agent, path, body, kind: Wanted(agent, path, body, **kind),
    st.sampled_from(["coder", "other"]),
    st.sampled_from(["/a", "/b"]),
    st.sampled_from(["1", "2", "3", "4"]),
    st.sampled_from(KINDS),
)
PROCESS = st.integers(0, 1)


def real(wanted: Wanted) -> Asked:
    """The request itself."""
    return asked(
        agent=replace(AGENT, name=wanted.agent),
        head=replace(HEAD, path=wanted.path),
        body=wanted.body.encode(),
        strength=Strength.STRONG if wanted.strong else Strength.APPROVAL,
        needs=wanted.needs,
    )


async def answer[T](asking: Awaitable[T]) -> T | Denial:
    """What comes of it."""
    try:
        return await asking
    except Refused as refused:
        return refused.denial


class Machine(RuleBasedStateMachine):
    """The real thing beside the oracle."""

    ids = Bundle("ids")
    grants = Bundle("grants")
    permits = Bundle("permits")

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        with engine.begin() as connection:
            for table in EMPTIED:
                connection.exec_driver_sql(f"DELETE FROM {table}")
        self.engine, self.hands, self.oracle = engine, Hands(), Oracle()
        self.start = (self.hands.wall, self.hands.monotonic)
        self.desks = [Desk(engine, self.hands) for _ in range(2)]
        self.runner = asyncio.Runner()
        self.used: list[str] = []

    def teardown(self) -> None:
        self.runner.close()

    def run(self, work: Any) -> Any:
        return self.runner.run(work)

    # -- the agents' side

    @rule(target=permits, process=PROCESS, wanted=WANTED)
    def begin(self, process: int, wanted: Wanted) -> Any:
        """A request arrives; one that may go holds its permit until `finish`."""
        return self._begin(process, wanted)

    @rule(target=ids, process=PROCESS, wanted=WANTED)
    def ask(self, process: int, wanted: Wanted) -> Any:
        """As `begin`; the approval that it is told it needs can be voted on."""
        self._begin(process, wanted)
        pending = [a.id for a in self.oracle.approvals.values() if a.wanted == wanted and a.state == "pending"]
        return pending[0] if pending else None

    def _begin(self, process: int, wanted: Wanted) -> Approval | Grant | None:
        ready = self.oracle.ready(wanted)
        waiter = Waiter(asyncio.Event(), lambda: False)
        got = self.run(answer(self.desks[process].approvals.granted(real(wanted), "X", waiter=waiter)))
        if ready:
            assert not isinstance(got, Denial)
            assert got.id in ready
            return got
        assert isinstance(got, Denial)
        id_ = str(got.extra.get("approval_id"))
        match self.oracle.asked(wanted):
            case "new":
                assert got.slug == "approval_required"
                self.oracle.new(id_, wanted)
            case "approval_rejected" | "rate_limited" as why:
                assert got.slug == why
            case known:
                assert (got.slug, id_) == ("approval_required", known)
        return None

    @rule(process=PROCESS, permit=consumes(permits))
    def finish(self, process: int, permit: Approval | Grant | None) -> None:
        """A request that holds a permit is about to leave."""
        if permit is None:
            return
        wanted = self.oracle.use(permit.id)
        got = self.run(answer(self.desks[process].approvals.use(permit, receipt="rcp_1")))
        assert (got.slug if isinstance(got, Denial) else "allowed") == wanted
        if wanted == "allowed":
            self.used.append(permit.id)

    # -- the approvers' side

    @rule(
        process=PROCESS, id_=ids, approver=st.sampled_from(["ann", "cat", "dan"]), no=st.integers(0, 5),
        key=st.booleans(),
    )  # fmt: skip
    def vote(self, process: int, id_: str | None, approver: str, no: int, key: bool) -> None:
        if id_ is None:
            return
        yes = no > 0
        said = self.run(self.desks[process].approvals.vote(id_, Vote(approver, yes, "key-1" if key else None)))
        match self.oracle.vote(id_, approver, yes, key):
            case "counted":
                assert isinstance(said, Changed)
                assert said.approval.state.value == self.oracle.approvals[id_].state
            case state:
                assert said is State(state)

    @rule(
        target=grants,
        process=PROCESS,
        wanted=WANTED,
        key=st.booleans(),
        uses=st.integers(1, 2),
        for_s=st.integers(1, 1000),
    )
    def grant(self, process: int, wanted: Wanted, key: bool, uses: int, for_s: int) -> str:
        store, vote = self.desks[process].approvals.grants, Vote("ann", yes=True, factor="key-1" if key else None)
        scope = scope_of(real(wanted), wanted.path)
        made = store.make(scope, Terms(for_s, uses, 1000), vote, approval=None, reason="")
        now = self.oracle.now
        end = (now.wall_s + for_s, now.steady_s + for_s)
        self.oracle.grants[made.id] = Standing(made.id, wanted.agent, wanted.path, key, uses, *end)
        return made.id

    @rule(process=PROCESS, id_=grants)
    def revoke(self, process: int, id_: str) -> None:
        assert self.desks[process].approvals.grants.revoke(id_, by="ann") != self.oracle.grants[id_].revoked
        self.oracle.grants[id_].revoked = True

    # -- the world

    @rule(seconds=st.sampled_from([1, 60, 299, 599, 600, 601]))
    def time_passes(self, seconds: int) -> None:
        self._move(seconds, seconds)

    @rule(seconds=st.sampled_from([-86_400, -601, -1, 1, 601]))
    def somebody_sets_the_clock(self, seconds: int) -> None:
        self._move(seconds, 0)

    def _move(self, wall_s: int, steady_s: int) -> None:
        self.hands.wall += wall_s * 1000
        self.hands.monotonic += steady_s
        self.oracle.now.wall_s += wall_s
        self.oracle.now.steady_s += steady_s

    @rule(process=PROCESS)
    def deadlines_are_written_down(self, process: int) -> None:
        self.desks[process].store.expire()
        self.oracle.expire(None)

    @rule(process=PROCESS)
    def restart(self, process: int) -> None:
        self.desks[process] = Desk(self.engine, self.hands)

    # -- always

    @invariant()
    def the_database_says_what_the_oracle_says(self) -> None:
        store = self.desks[0].store
        now = store.now()
        there = {one.id: one.standing(now).value for one in store.listed(tenant=None, state=None, limit=1000)}
        assert there == {one.id: self.oracle.stands(one) for one in self.oracle.approvals.values()}

    @invariant()
    def p9_no_approval_lets_two_requests_go(self) -> None:
        own = [id_ for id_ in self.used if id_.startswith("apr_")]
        assert len(own) == len(set(own))


def check(engine: Engine, **how: int) -> None:
    run_state_machine_as_test(
        lambda: Machine(engine),
        settings=settings(deadline=None, suppress_health_check=list(HealthCheck), database=None, **how),
    )


def test_p9_approvals_do_what_the_rules_say(database: Engine) -> None:
    check(database, **QUICK)


@pytest.mark.slow
def test_p9_approvals_do_what_the_rules_say_for_long(database: Engine) -> None:
    check(database, **LONG)
