"""The states of an approval, without a database (J-08)."""

from __future__ import annotations

import pytest

from proxy.approval.states import FOLLOWING, Approval, Moment, State, Vote
from proxy.model import Strength

NOW = Moment(1_000_000, "boot-1", 500.0)


def approval(state: State = State.PENDING, *, strength: Strength = Strength.APPROVAL, needs: int = 1) -> Approval:
    return Approval(
        id="apr_1", tenant="acme", agent="coder", user=None, account="github/work", profile="github",
        operation="issues.create", fingerprint="f", family="m", state=state, strength=strength, needs=needs,
        created_at_ms=NOW.wall_ms, deadline=NOW.later(60),
    )  # fmt: skip


def test_what_has_ended_stays_as_it_is() -> None:
    ended = {state for state, after in FOLLOWING.items() if not after}
    assert ended == {State.REJECTED, State.EXPIRED, State.WITHDRAWN, State.CONSUMED}
    assert set(FOLLOWING) == set(State)


def test_only_what_was_approved_can_be_consumed() -> None:
    assert [state for state, after in FOLLOWING.items() if State.CONSUMED in after] == [State.APPROVED]


@pytest.mark.parametrize(
    ("moment", "over"),
    [
        (NOW.later(59.9), False),
        (NOW.later(60), True),
        (Moment(NOW.wall_ms - 3_600_000, "boot-1", 560.0), True),  # somebody set the clock back
        (Moment(NOW.wall_ms + 60_000, "boot-1", 500.0), True),  # or forward
        (Moment(NOW.wall_ms + 1000, "boot-2", 9_999.0), False),  # after a restart of the machine the wall clock alone
        (Moment(NOW.wall_ms + 60_000, "boot-2", 1.0), True),
    ],
)
def test_j_08_both_clocks_must_be_in_time(moment: Moment, over: bool) -> None:
    for state in (State.PENDING, State.APPROVED):
        assert approval(state).standing(moment) is (State.EXPIRED if over else state)
    assert approval(State.CONSUMED).standing(moment) is State.CONSUMED


YES, NO = Vote("ann", yes=True), Vote("ben", yes=False)
SIGNED = Vote("ann", yes=True, factor="key-1")


@pytest.mark.parametrize(
    ("strength", "needs", "votes", "wanted"),
    [
        (Strength.APPROVAL, 1, (), State.PENDING),
        (Strength.APPROVAL, 1, (YES,), State.APPROVED),
        (Strength.APPROVAL, 1, (NO,), State.REJECTED),
        (Strength.APPROVAL, 2, (YES,), State.PENDING),
        (Strength.APPROVAL, 2, (YES, YES), State.PENDING),
        (Strength.APPROVAL, 2, (YES, Vote("cat", yes=True)), State.APPROVED),
        (Strength.APPROVAL, 2, (YES, NO), State.REJECTED),
        (Strength.STRONG, 1, (YES,), State.PENDING),
        (Strength.STRONG, 1, (SIGNED,), State.APPROVED),
        (Strength.STRONG, 2, (SIGNED, Vote("cat", yes=True)), State.PENDING),
    ],
)
def test_votes(strength: Strength, needs: int, votes: tuple[Vote, ...], wanted: State) -> None:
    assert approval(strength=strength, needs=needs).decided_by(votes) is wanted
