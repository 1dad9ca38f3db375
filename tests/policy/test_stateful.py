"""I-04, I-05, I-13: sets of policies come, wait, are confirmed, staged, rolled back and restarted, in any order.

After each step everybody's calls are decided as the oracle says, by the policies that it says; and what nobody else has
confirmed asks for no less than before.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from proxy.identity import locks
from tests.approval.conftest import database, server  # noqa: F401  # fixtures
from tests.approval.hands import Hands
from tests.policy.family import FAMILY, Chosen, Request
from tests.policy.oracle import AGENTS, Kept, Oracle, Said, Stage
from tests.policy.place import Files, Place, Receipts, roll_back

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path

    from sqlalchemy import Engine

QUICK = {"max_examples": 4, "stateful_step_count": 12}
LONG = {"max_examples": 40, "stateful_step_count": 40}
USUAL = frozenset({"reads", "writes", "free-reads", "not-strong"})
EDITS = st.frozensets(st.sampled_from(sorted(FAMILY)), min_size=1, max_size=2)
WHOM = st.sampled_from([
    ((), (), False), ((), (), False), (("early",), (), False), (("early", "late"), (), False), ((), ("crew",), False),
    (("early",), ("crew",), False), ((), (), True),
])  # fmt: skip
"""Agents, groups, or everybody."""
OPERATORS = st.sampled_from([("bob", None), ("bob", None), ("ann", None), ("cat", "acme")])


class Machine(RuleBasedStateMachine):
    """The real thing beside the oracle. `said` is what the files say now."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        super().__init__()
        with engine.begin() as connection:
            for table in ("policy_versions", "locks"):
                connection.exec_driver_sql(f"DELETE FROM {table}")
        self.engine, self.files = engine, Files(folder)
        self.hands, self.oracle, self.receipts = Hands(), Oracle(), Receipts()
        self.runner = asyncio.Runner()
        self.said = Said(USUAL, confirm=True)
        self.place: Place

    def teardown(self) -> None:
        self.runner.close()

    def run[T](self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    @initialize()
    def first_start(self) -> None:
        self.start()

    def start(self) -> None:
        """Where what the files say must wait, what was in force last goes on."""
        last, files = self.oracle.last(), self.said
        came = self.oracle.put(files, None if last is None else last.said, "ann", recorded=True)
        if came == "waits":
            assert last is not None
            self.oracle.now = last.said
        self.place = Place(self.engine, self.hands, self.receipts)
        self.oracle.off_s = 0
        self.run(self.place.start(self.files.write(files)))
        assert (self.place.enforcing.waiting is not None) == (came == "waits")

    # -- what operators do

    @rule(edits=EDITS)
    def edit(self, edits: Chosen) -> None:
        """Some policies come, others go."""
        self.reload(replace(self.said, chosen=self.said.chosen ^ edits or USUAL))

    @rule(edits=EDITS)
    def edit_and_die_before_the_reload(self, edits: Chosen) -> None:
        self.said = replace(self.said, chosen=self.said.chosen ^ edits or USUAL)
        self.start()

    @rule(edits=EDITS, narrows=st.booleans(), whom=WHOM)
    def stage(self, edits: Chosen, narrows: bool, whom: tuple[tuple[str, ...], tuple[str, ...], bool]) -> None:
        following = self.said.chosen | {"closed", "night"} if narrows else self.said.chosen ^ edits or USUAL
        agents, groups, everybody = whom
        stage = Stage(following, frozenset(agents), frozenset(groups), everybody)
        self.reload(replace(self.said, stage=stage))

    @rule()
    def take_the_candidate_away(self) -> None:
        self.reload(replace(self.said, stage=None))

    @rule()
    @precondition(lambda self: self.said.stage is not None)
    def finish_the_rollout(self) -> None:
        assert self.said.stage is not None
        self.reload(replace(self.said, chosen=self.said.stage.chosen, stage=None))

    @rule(observe=st.booleans())
    def observe(self, observe: bool) -> None:
        self.reload(replace(self.said, observe=observe))

    @rule(confirm=st.sampled_from([True, True, False]))
    def choose_the_gate(self, confirm: bool) -> None:
        self.reload(replace(self.said, confirm=confirm))

    @rule()
    def back_to_what_is_in_force(self) -> None:
        """Files as they were: what waits is in nobody's way any more."""
        assert self.oracle.now is not None
        self.reload(self.oracle.now)

    def reload(self, said: Said, *, recorded: bool = True) -> None:
        self.said = said
        expected = self.oracle.put(said, self.oracle.now, "ann", recorded=recorded)
        if expected == "in force":
            self.oracle.off_s = 0
        assert self.run(self.place.reload(self.files.write(said))) == expected

    @rule(edits=EDITS)
    def reload_while_receipts_cannot_be_written(self, edits: Chosen) -> None:
        self.receipts.full = True
        self.reload(replace(self.said, chosen=self.said.chosen ^ edits or USUAL), recorded=False)
        self.receipts.full = False

    @rule()
    def reload_what_is_half_written(self) -> None:
        assert self.run(self.place.reload(self.files.half_written(self.said))) == "refused"

    @rule(who=OPERATORS, back=st.sampled_from([0, 0, 0, 1]), at_once=st.booleans())
    def confirm_what_waits(self, who: tuple[str, str | None], back: int, at_once: bool) -> None:
        self.confirm(who, back, at_once)

    def confirm(self, who: tuple[str, str | None], back: int, at_once: bool) -> None:
        newest, (name, tenant) = self.oracle.kept[-1], who
        number = max(1, newest.number - back)
        expected = "confirmed"
        if tenant is not None:
            expected = "forbidden"
        elif number != newest.number or not newest.waits:
            expected = "not_found"
        elif name == newest.author:
            expected = "own_request"
        assert self.run(self.place.confirm(name, tenant, number)) == expected
        if expected == "confirmed":
            newest.confirmed = True
            if at_once:
                self.reload(self.said)

    @rule(more=EDITS, who=OPERATORS, at_once=st.booleans())
    def allow_more_and_have_it_confirmed(self, more: Chosen, who: tuple[str, str | None], at_once: bool) -> None:
        self.reload(replace(self.said, chosen=self.said.chosen | more))
        self.confirm(who, 0, at_once)

    @rule(pick=st.integers(0, 1000), author=st.sampled_from(["ann", "bob"]), at_once=st.booleans())
    def roll_back(self, pick: int, author: str, at_once: bool) -> None:
        """By another process; where none runs, or the one that runs dies, the next start takes it."""
        earlier = self.oracle.kept[pick % len(self.oracle.kept)]
        number = roll_back(self.engine, self.hands, self.files.write(self.said), earlier.number, author)
        files = self.said.deciding
        brought = replace(files, chosen=earlier.said.chosen, stage=None)
        self.oracle.kept.append(Kept(number, files, brought, author, restores=earlier.number))
        if at_once:
            self.reload(self.said)
        else:
            self.start()

    @rule(agent=st.sampled_from(sorted(AGENTS)))
    def lock(self, agent: str) -> None:
        locks.lock(self.engine, [("agent", agent)], reason="odd", by="ann", clock=self.hands)
        self.oracle.locked.add(agent)

    @rule(agent=st.sampled_from(sorted(AGENTS)))
    def unlock(self, agent: str) -> None:
        locks.unlock(self.engine, [("agent", agent)])
        self.oracle.locked.discard(agent)

    # -- the world

    @rule()
    def crash_and_start(self) -> None:
        self.start()

    @rule(hours=st.sampled_from([1, 7, 12]))
    def time_passes(self, hours: int) -> None:
        self.hands.forward(hours * 3600)

    @rule(seconds=st.sampled_from([-7 * 3600, -2, -1, 1, 2, 7 * 3600]))
    def somebody_sets_the_clock(self, seconds: int) -> None:
        """A step of one second is slewed away, and right from then on."""
        self.hands.wall += seconds * 1000
        self.oracle.off_s += seconds

    # -- always

    @invariant()
    def every_call_is_decided_as_the_rules_say(self) -> None:
        self.run(self.place.locks.refresh())
        self.place.watch.jumped()
        self.oracle.looks()
        hour = self.hands.wall // 3_600_000 % 24
        for agent, groups in AGENTS.items():
            for action in ("read", "write", "admin"):
                for path in ("/ask", "/closed", "/x"):
                    request = Request(agent, groups, action, path, hour)
                    assert self.place.ask(request) == self.oracle.answer(request), request

    @invariant()
    def versions_and_receipts_tell_what_happened(self) -> None:
        told = [
            (one.number, one.restores, one.is_waiting, one.confirmed_by is not None, one.receipt is not None)
            for one in self.place.versions.every()
        ]
        kept = self.oracle.kept
        assert told == [(one.number, one.restores, one.waits, one.confirmed, one.was_in_force) for one in kept]
        assert self.receipts.of("policies") == sum(one.was_in_force for one in kept)
        assert self.receipts.of("policies_pending") == self.oracle.pending
        waiting = self.place.enforcing.pending()
        assert (None if waiting is None else waiting.number) == (kept[-1].number if kept[-1].waits else None)


def check(engine: Engine, folder: Path, **how: int) -> None:
    run_state_machine_as_test(
        lambda: Machine(engine, folder),
        settings=settings(deadline=None, suppress_health_check=list(HealthCheck), database=None, **how),
    )


def test_i05_sets_of_policies_decide_as_the_rules_say(database: Engine, tmp_path: Path) -> None:  # noqa: F811
    check(database, tmp_path, **QUICK)


@pytest.mark.slow
def test_i05_sets_of_policies_decide_as_the_rules_say_for_long(database: Engine, tmp_path: Path) -> None:  # noqa: F811
    check(database, tmp_path, **LONG)
