"""Asking, waiting, deciding, using up (J-01, J-08, J-09, J-11, J-13, J-15, J-16, J-20): on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from proxy.approval.card import MAX_REVIEW_BYTES
from proxy.approval.grant_store import GrantStore
from proxy.approval.grants import Grant, Terms, scope_of
from proxy.approval.service import Approvals, Waiter
from proxy.approval.states import Approval, State, Vote
from proxy.approval.store import ApprovalStore, Changed
from proxy.approval_settings import ApprovalSettings
from proxy.db.sealing import Seal
from proxy.errors import Denial, Refused
from proxy.model import Strength
from tests.approval.hands import KEY, Hands
from tests.approval.requests import AGENT, HEAD, asked

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from proxy.approval.fingerprint import Asked

YES, NO = Vote("ann", yes=True), Vote("ann", yes=False)
AT_ONCE = ApprovalSettings(hold_s=0.0)
HOLDING = ApprovalSettings(hold_s=10.0)


class Agent:
    """The agent's side of one open connection."""

    def __init__(self) -> None:
        self.left = False
        self.waiter = Waiter(asyncio.Event(), lambda: self.left)

    def leave(self) -> None:
        self.left = True
        self.waiter.wake.set()


def service(store: ApprovalStore, hands: Hands, settings: ApprovalSettings = AT_ONCE) -> Approvals:
    grants = GrantStore(store._database, hands, boot="boot-1")
    return Approvals(store, grants=grants, settings=settings, key=KEY, clock=hands)


async def admit(
    approvals: Approvals, one: Asked | None = None, *, named: str | None = None
) -> Approval | Grant | Denial:
    try:
        approval = await approvals.granted(one or asked(), "Open an issue", waiter=Agent().waiter, named=named)
        await approvals.use(approval, receipt="rcp_1")
        return approval
    except Refused as refused:
        return refused.denial


async def required(approvals: Approvals, one: Asked | None = None) -> str:
    """The id of the approval that a request is told it needs."""
    denial = await admit(approvals, one)
    assert isinstance(denial, Denial)
    assert denial.slug == "approval_required"
    return str(denial.extra["approval_id"])


async def slug(approvals: Approvals, one: Asked | None = None, *, named: str | None = None) -> str:
    answer = await admit(approvals, one, named=named)
    return answer.slug if isinstance(answer, Denial) else "allowed"


@pytest.fixture
def approvals(store: ApprovalStore, hands: Hands) -> Approvals:
    return service(store, hands)


async def test_p9_an_approval_is_used_once_by_the_same_request(approvals: Approvals) -> None:
    id_ = await required(approvals)
    assert await required(approvals) == id_  # asking again asks nobody anew
    await approvals.vote(id_, YES)
    approval = await admit(approvals)
    assert isinstance(approval, Approval)
    assert (approval.id, approval.approvers) == (id_, ("ann",))
    used = approvals.store.get(id_)
    assert used is not None
    assert (used.state, used.receipt) == (State.CONSUMED, "rcp_1")
    assert await slug(approvals, named=id_) == "approval_mismatch"
    assert await required(approvals) != id_


@pytest.mark.parametrize("times", [50, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_j_01_replayed_it_is_a_mismatch_in_every_process(
    approvals: Approvals, database: Engine, hands: Hands, times: int
) -> None:
    """J-01: three processes on one database."""
    id_ = await required(approvals)
    await approvals.vote(id_, YES)
    assert await slug(approvals, named=id_) == "allowed"
    others = [service(ApprovalStore(database, Seal(KEY), hands, boot="boot-1"), hands) for _ in range(3)]
    for number in range(times):
        assert await slug(others[number % 3], named=id_) == "approval_mismatch"


async def test_p9_a_changed_request_does_not_use_it(approvals: Approvals) -> None:
    id_ = await required(approvals)
    await approvals.vote(id_, YES)
    changed = asked(body=b"{}")
    assert await slug(approvals, changed, named=id_) == "approval_mismatch"
    assert await slug(approvals, changed) == "approval_required"
    assert await slug(approvals, asked(agent=replace(AGENT, name="other")), named=id_) == "approval_mismatch"
    assert await slug(approvals, named="apr_unknown") == "approval_mismatch"
    assert await slug(approvals) == "allowed"


class Outrun(ApprovalStore):
    """A store in which another call is always the faster one."""

    def approved(self, asked: Asked, fingerprint: str) -> Approval | None:
        if (own := super().approved(asked, fingerprint)) is not None:
            self.change(own.id, State.APPROVED, State.CONSUMED, receipt="rcp_other")
        return super().approved(asked, fingerprint)


async def test_p9_j_01_nobody_is_asked_anew_in_the_name_of_an_approval_that_was_used_meanwhile(
    store: ApprovalStore, database: Engine, hands: Hands
) -> None:
    approvals = service(Outrun(database, Seal(KEY), hands, boot="boot-1"), hands)
    id_ = await required(approvals)
    await approvals.vote(id_, YES)
    assert await slug(approvals, named=id_) == "approval_mismatch"
    assert [one.id for one in store.listed(tenant=None, state=None, limit=10)] == [id_]


async def test_j_13_other_policies_or_another_profile_need_another_approval(approvals: Approvals) -> None:
    await approvals.vote(await required(approvals), YES)
    assert await slug(approvals, asked(policy_version="c2")) == "approval_required"
    assert await slug(approvals, asked(profile_version="p2")) == "approval_required"


async def test_j_16_a_no_covers_the_neighbours_for_a_time(approvals: Approvals, hands: Hands) -> None:
    id_ = await required(approvals)
    await approvals.vote(id_, NO)
    assert await slug(approvals) == "approval_rejected"
    assert await slug(approvals, asked(body=b"almost the same")) == "approval_rejected"
    elsewhere = asked(head=replace(HEAD, path="/repos/acme/site/labels"))
    assert await slug(approvals, elsewhere) == "approval_required"
    hands.forward(601)
    assert await slug(approvals) == "approval_required"


@pytest.mark.parametrize("approved", [False, True])
async def test_j_08_after_its_deadline_it_is_over(approvals: Approvals, hands: Hands, approved: bool) -> None:
    id_ = await required(approvals)
    if approved:
        await approvals.vote(id_, YES)
    hands.forward(601)
    assert await slug(approvals, named=id_) == "approval_expired"
    assert await approvals.vote(id_, YES) is State.EXPIRED
    assert await required(approvals) != id_


async def test_j_08_a_clock_that_is_set_back_gives_no_time(approvals: Approvals, hands: Hands) -> None:
    id_ = await required(approvals)
    await approvals.vote(id_, YES)
    hands.monotonic += 601
    hands.wall -= 86_400_000
    assert await slug(approvals, named=id_) == "approval_expired"


async def test_the_time_to_use_it_begins_with_the_yes(approvals: Approvals, hands: Hands) -> None:
    id_ = await required(approvals)
    hands.forward(599)
    await approvals.vote(id_, YES)
    hands.forward(599)
    assert await slug(approvals) == "allowed"


async def test_j_11_few_questions_of_one_agent_stand_at_a_time(approvals: Approvals) -> None:
    for number in range(5):
        await required(approvals, asked(body=b"%d" % number))
    assert await slug(approvals, asked(body=b"one more")) == "rate_limited"
    assert await slug(approvals, asked(body=b"1")) == "approval_required"
    assert await slug(approvals, asked(agent=replace(AGENT, name="other"))) == "approval_required"


@pytest.mark.parametrize("ended", ["rejected", "withdrawn"])
async def test_j_11_who_asks_in_vain_is_asked_about_less(approvals: Approvals, hands: Hands, ended: str) -> None:
    """J-11: an agent that is refused turns to other calls; its noes take the places of questions for ten minutes."""

    def one(number: int) -> Asked:
        return asked(head=replace(HEAD, path=f"/repos/acme/site/{number}"))

    for number in range(5):
        id_ = await required(approvals, one(number))
        if ended == "rejected":
            await approvals.vote(id_, NO)
        else:
            assert approvals.store.change(id_, State.PENDING, State.WITHDRAWN)
        hands.forward(10)
    for number in range(5, 20):
        denial = await admit(approvals, one(number))
        assert isinstance(denial, Denial)
        assert (denial.slug, denial.retry_after_s) == ("rate_limited", 550)
    assert len(approvals.store.listed(tenant=None, state=None, limit=1000)) == 5
    hands.forward(551)
    await required(approvals, one(5))  # one place is free again
    assert await slug(approvals, one(6)) == "rate_limited"


async def test_j_03_what_is_too_large_to_look_at_is_refused(approvals: Approvals) -> None:
    assert await slug(approvals, asked(body=b"a" * MAX_REVIEW_BYTES)) == "policy_denied"


async def test_two_people_must_say_yes(approvals: Approvals) -> None:
    both = asked(needs=2)
    id_ = await required(approvals, both)
    first = await approvals.vote(id_, YES)
    assert isinstance(first, Changed)
    assert not first.decided
    assert not (await approvals.vote(id_, YES)).decided  # type: ignore[union-attr]  # the same person
    assert await slug(approvals, both) == "approval_required"
    await approvals.vote(id_, Vote("cat", yes=True))
    assert await slug(approvals, both) == "allowed"


async def test_a_strong_approval_needs_a_key(approvals: Approvals) -> None:
    strong = asked(strength=Strength.STRONG)
    id_ = await required(approvals, strong)
    await approvals.vote(id_, YES)
    assert await slug(approvals, strong) == "approval_required"
    await approvals.vote(id_, Vote("ann", yes=True, factor="key-1"))
    assert await slug(approvals, strong) == "allowed"


class TestHolding:
    """The request waits on its open connection."""

    async def test_a_yes_lets_it_go_on(self, store: ApprovalStore, hands: Hands) -> None:
        approvals = service(store, hands, HOLDING)
        async with asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(admit(approvals))
            id_ = await _pending(approvals)
            await approvals.vote(id_, YES)
        assert isinstance(answer.result(), Approval)
        assert approvals.waiting == 0

    async def test_a_yes_of_another_process_lets_it_go_on(self, store: ApprovalStore, hands: Hands) -> None:
        approvals = service(store, hands, HOLDING)
        async with asyncio.TaskGroup() as tasks:
            watching = tasks.create_task(approvals.watch())
            answer = tasks.create_task(admit(approvals))
            store.vote(await _pending(approvals), YES, reason="", usable_s=60)
            assert isinstance(await answer, Approval)
            watching.cancel()

    async def test_a_no_ends_it(self, store: ApprovalStore, hands: Hands) -> None:
        approvals = service(store, hands, HOLDING)
        async with asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(slug(approvals))
            await approvals.vote(await _pending(approvals), NO)
        assert answer.result() == "approval_rejected"

    async def test_whoever_goes_away_withdraws(self, store: ApprovalStore, hands: Hands) -> None:
        approvals, agent = service(store, hands, HOLDING), Agent()
        async with asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(_waiting(approvals, agent))
            id_ = await _pending(approvals)
            agent.leave()
        assert answer.result() == "approval_expired"
        withdrawn = store.get(id_)
        assert withdrawn is not None
        assert withdrawn.state is State.WITHDRAWN
        assert await approvals.vote(id_, YES) is State.WITHDRAWN

    async def test_while_another_waits_for_the_same_it_stays(self, store: ApprovalStore, hands: Hands) -> None:
        approvals, first, second = service(store, hands, HOLDING), Agent(), Agent()
        async with asyncio.TaskGroup() as tasks:
            leaving = tasks.create_task(_waiting(approvals, first))
            id_ = await _pending(approvals)
            staying = tasks.create_task(_waiting(approvals, second))
            while approvals.waiting < 2:
                await asyncio.sleep(0)
            first.leave()
            await leaving
            await approvals.vote(id_, YES)
        assert (leaving.result(), staying.result()) == ("approval_required", "allowed")

    async def test_p9_of_many_that_wait_for_one_approval_one_leaves(self, store: ApprovalStore, hands: Hands) -> None:
        approvals = service(store, hands, HOLDING)
        async with asyncio.TaskGroup() as tasks:
            answers = [tasks.create_task(slug(approvals)) for _ in range(8)]
            id_ = await _pending(approvals)
            while approvals.waiting < 8:
                await asyncio.sleep(0)
            await approvals.vote(id_, YES)
        assert sorted(one.result() for one in answers) == ["allowed", *["approval_mismatch"] * 7]

    async def test_j_20_only_so_many_wait(self, store: ApprovalStore, hands: Hands) -> None:
        approvals = service(store, hands, ApprovalSettings(hold_s=10.0, max_waiting=1))
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(slug(approvals))
            id_ = await _pending(approvals)
            assert await slug(approvals, asked(body=b"2")) == "approval_required"
            await approvals.vote(id_, YES)

    async def test_at_the_end_everybody_is_told_and_nothing_is_lost(self, store: ApprovalStore, hands: Hands) -> None:
        approvals = service(store, hands, HOLDING)
        async with asyncio.TaskGroup() as tasks:
            answer = tasks.create_task(slug(approvals))
            id_ = await _pending(approvals)
            approvals.stop()
        assert answer.result() == "approval_required"
        assert await slug(approvals) == "approval_required"  # and it does not wait again
        await service(store, hands).vote(id_, YES)
        assert await slug(service(store, hands)) == "allowed"


async def _waiting(approvals: Approvals, agent: Agent) -> str:
    try:
        await approvals.use(await approvals.granted(asked(), "Open an issue", waiter=agent.waiter), receipt="rcp_1")
    except Refused as refused:
        return refused.denial.slug
    return "allowed"


async def _pending(approvals: Approvals) -> str:
    """The approval that somebody waits for."""
    async with asyncio.timeout(10):
        while not approvals.waiting:
            await asyncio.sleep(0)
    return approvals.store.listed(tenant=None, state=State.PENDING, limit=1)[0].id


@pytest.mark.parametrize("rounds", [20, pytest.param(1000, marks=pytest.mark.slow)])
def test_j_09_of_many_processes_one_uses_an_approval(store: ApprovalStore, hands: Hands, rounds: int) -> None:
    """J-09, J-01: of those that would use it at once exactly one does."""
    for round_ in range(rounds):
        one = _stored(store, hands, b"%d" % round_)
        store.vote(one.id, YES, reason="", usable_s=60)
        with ThreadPoolExecutor(4) as threads:
            done = list(threads.map(lambda _: store.change(one.id, State.APPROVED, State.CONSUMED), range(4)))  # noqa: B023
        assert sorted(done) == [False, False, False, True]


def test_of_many_processes_that_ask_for_the_same_one_makes_the_question(store: ApprovalStore, hands: Hands) -> None:
    with ThreadPoolExecutor(8) as threads:
        asked_for = list(threads.map(lambda _: _stored(store, hands, b"same").id, range(8)))
    assert len(set(asked_for)) == 1


def test_p9_of_two_votes_at_once_none_is_lost(store: ApprovalStore, hands: Hands) -> None:
    for round_ in range(10):
        one = _stored(store, hands, b"%d" % round_, needs=2)
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda name: store.vote(one.id, Vote(name, yes=True), reason="", usable_s=60), "ab"))  # noqa: B023
        both = store.get(one.id)
        assert both is not None
        assert both.state is State.APPROVED
        assert store.change(one.id, State.APPROVED, State.CONSUMED)


def _stored(store: ApprovalStore, hands: Hands, body: bytes, needs: int = 1) -> Approval:
    from proxy.approval.card import card_of
    from proxy.approval.fingerprint import family, fingerprint

    one = asked(body=body, needs=needs)
    found = store.ask(
        one, fingerprint=fingerprint(one, key=KEY), family=family(one, key=KEY), card=card_of(one, "Open an issue"),
        deadline=store.now().later(600), refused_for_ms=0, max_pending=5,
    )  # fmt: skip
    assert isinstance(found, Approval)
    return found


async def test_p1_what_the_card_shows_rests_sealed(approvals: Approvals, database: Engine) -> None:
    id_ = await required(approvals, asked(body=b"canary-in-the-body"))
    card = approvals.store.card(id_)
    assert card is not None
    assert card["body"] == "canary-in-the-body"
    with database.connect() as connection:
        rows = connection.exec_driver_sql("SELECT * FROM approvals").all()
    assert all("canary-in-the-body" not in str(row) for row in rows)


async def test_what_is_over_is_written_down_and_old_ones_go(approvals: Approvals, hands: Hands) -> None:
    id_ = await required(approvals)
    hands.forward(601)
    assert approvals.store.expire() == (id_,)
    scope = scope_of(asked(), HEAD.path)
    grant = approvals.grants.make(scope, Terms(1, 1, 0), YES, approval=None, reason="")
    hands.forward(30 * 86_400)
    await approvals.sweep()
    assert approvals.store.get(id_) is not None
    assert approvals.grants.get(grant.id) is not None
    hands.forward(2)
    open_ = await required(approvals)
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(approvals.watch())
        while approvals.grants.get(grant.id) is not None:
            await asyncio.sleep(0.02)
        watching.cancel()
    assert [one.id for one in approvals.store.listed(tenant=None, state=None, limit=10)] == [open_]


async def test_p5_j_15_without_the_database_nothing_is_allowed(
    approvals: Approvals, database: Engine, hands: Hands
) -> None:
    await approvals.vote(await required(approvals), YES)
    with database.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE approvals RENAME TO away")
    try:
        assert await slug(approvals) == "approval_unavailable"
    finally:
        with database.begin() as connection:
            connection.exec_driver_sql("ALTER TABLE away RENAME TO approvals")


async def test_p5_a_card_that_was_sealed_with_another_key_is_not_shown(
    database: Engine, approvals: Approvals, hands: Hands
) -> None:
    id_ = await required(approvals)
    other = ApprovalStore(database, Seal(b"x" * 32), hands, boot="boot-1")
    with pytest.raises(Exception, match="sealed with another key"):
        other.card(id_)
