"""Standing grants: narrow, short, counted, revocable (J-05)."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from proxy.approval.approvers import NotEntitledError, NotOpenError
from proxy.approval.grants import MAX_S, BadTermsError, Grant, Terms, path_matches, scope_of
from proxy.approval.statement import Wish
from proxy.approval.states import State
from proxy.approval_settings import ApprovalSettings
from proxy.model import Reason, Strength, User
from tests.approval.requests import AGENT, HEAD, asked
from tests.approval.voting import Desk, approver, ballot

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from proxy.approval.fingerprint import Asked
    from tests.approval.hands import Hands

HOUR = Terms(for_s=3600, max_uses=3, max_cost_microusd=1000)
THESE = Wish(HOUR, "/repos/acme/*/issues")


@pytest.fixture
def desk(database: Engine, hands: Hands) -> Desk:
    return Desk(database, hands)


async def granted(desk: Desk, wish: Wish = THESE) -> Grant:
    """A grant made with the yes to the usual request, whose own approval has been used."""
    _, grant = await desk.approvers.decide(await desk.required(), ballot(grant=wish))
    assert grant is not None
    assert await desk.says() == "apr"  # its own approval goes first
    return grant


async def test_it_lets_so_many_requests_go_and_names_itself(desk: Desk) -> None:
    grant = await granted(desk)
    for number in range(3):
        used = await desk.admit(asked(body=b"%d" % number))
        assert isinstance(used, Grant)
        assert (used.id, used.approvers) == (grant.id, ("ann",))
    assert await desk.says() == "approval_required"
    (listed,) = desk.approvals.grants.listed(tenant="acme", limit=10)
    assert (listed.uses, listed.approval is not None, listed.alive(desk.store.now())) == (3, True, False)
    assert desk.approvals.grants.listed(tenant="other", limit=10) == ()


async def test_it_ends_with_its_time_on_either_clock(desk: Desk, hands: Hands) -> None:
    await granted(desk)
    hands.forward(3599)
    assert await desk.says() == "agr"
    hands.monotonic += 1
    hands.wall -= 86_400_000
    assert await desk.says() == "approval_required"


async def test_it_ends_when_it_is_revoked(desk: Desk) -> None:
    grant = await granted(desk)
    with pytest.raises(NotOpenError):
        await desk.approvers.revoke(grant.id, approver("cat", "other"))
    await desk.approvers.revoke(grant.id, approver("cat", "acme"))
    assert await desk.says() == "approval_required"
    with pytest.raises(NotOpenError):
        await desk.approvers.revoke(grant.id, approver("cat"))


def neighbours() -> dict[str, Asked]:
    """Requests that differ in one thing from what the grant is for."""
    other = replace(AGENT, user=User("bob", ("*",), "acme"))
    return {
        "tenant": asked(agent=replace(AGENT, tenant="other")),
        "agent": asked(agent=replace(AGENT, name="other")),
        "life": asked(agent=replace(AGENT, life=1)),
        "user": asked(agent=other),
        "no user": asked(agent=replace(AGENT, user=None)),
        "account": asked(account="github/admin"),
        "profile": asked(profile="gitlab"),
        "profile version": asked(profile_version="p2"),
        "operation": asked(operation="issues.delete"),
        "policies": asked(policy_version="c2"),
        "method": asked(head=replace(HEAD, method="PUT")),
        "scheme": asked(head=replace(HEAD, scheme="http")),
        "port": asked(head=replace(HEAD, authority=replace(HEAD.authority, port=8443))),
        "host": asked(head=replace(HEAD, authority=replace(HEAD.authority, host="api.github.other"))),
        "path": asked(head=replace(HEAD, path="/repos/evil/site/issues")),
        "path below": asked(head=replace(HEAD, path="/repos/acme/site/issues/1")),
        "empty segment": asked(head=replace(HEAD, path="/repos/acme//issues")),
        "cost": asked(cost_microusd=1001),
        "strength": asked(strength=Strength.STRONG),
        "approvers": asked(needs=2),
        "risk": asked(reasons=(*asked().reasons, Reason("jwt", "A token.", "risk"))),
        "budget": asked(reasons=(*asked().reasons, Reason("first_use", "Not a risk.", "budget"))),
    }


async def test_j_05_what_it_does_not_cover_is_asked_for(database: Engine, hands: Hands) -> None:
    desk = Desk(database, hands, ApprovalSettings(hold_s=0.0, max_pending_per_agent=100))
    await granted(desk)
    says = {what: await desk.says(other) for what, other in neighbours().items()}
    assert says == dict.fromkeys(neighbours(), "approval_required")
    assert await desk.says(asked(head=replace(HEAD, path="/repos/acme/other/issues"))) == "agr"


def test_a_grant_answers_that_a_call_is_the_first_one() -> None:
    first = tuple(Reason(code, "It is new.", "risk") for code in ("first_use", "new_destination"))
    one = asked(reasons=(*asked().reasons, *first))
    assert _grant(one, Terms(3600, 1, 1000)).covers(one)


def test_j_05_of_a_thousand_neighbours_none_is_covered() -> None:
    draw, one = random.Random(5), asked()
    terms = Terms(3600, 1000, 1000)
    for _ in range(1000):
        field, other = draw.choice(list(neighbours().items()))
        grant = replace(_grant(one, terms), scope=scope_of(one, draw.choice(["/repos/acme/*/issues", HEAD.path])))
        assert grant.covers(one)
        assert not grant.covers(other), field


async def test_j_05_an_approval_alone_covers_no_neighbour(desk: Desk) -> None:
    await desk.approvers.decide(await desk.required(), ballot())
    assert await desk.says(asked(body=b"other")) == "approval_required"
    assert await desk.says() == "apr"
    assert await desk.says() == "approval_required"


TOO_WIDE = (
    Wish(replace(HOUR, for_s=MAX_S + 1), "/repos/acme/*/issues"),
    Wish(replace(HOUR, for_s=0), "/repos/acme/*/issues"),
    Wish(replace(HOUR, max_uses=0), "/repos/acme/*/issues"),
    Wish(replace(HOUR, max_uses=1001), "/repos/acme/*/issues"),
    Wish(replace(HOUR, max_cost_microusd=-1), "/repos/acme/*/issues"),
    Wish(HOUR, "/repos/evil/*/issues"),
    Wish(HOUR, "/*/*/*/*"),
    Wish(HOUR, "/*"),
    Wish(HOUR, ""),
)


async def test_j_05_a_grant_that_is_too_wide_is_not_made_and_nothing_is_counted(desk: Desk) -> None:
    id_ = await desk.required()
    for wish in TOO_WIDE:
        with pytest.raises(BadTermsError):
            await desk.approvers.decide(id_, ballot(grant=wish))
    pending = desk.store.get(id_)
    assert pending is not None
    assert (pending.state, pending.votes) == (State.PENDING, ())


async def test_j_05_an_agent_cannot_put_a_wildcard_into_a_grant(desk: Desk) -> None:
    id_ = await desk.required(asked(head=replace(HEAD, path="/repos/acme/*/issues")))
    with pytest.raises(BadTermsError):
        await desk.approvers.decide(id_, ballot(grant=THESE))


def test_a_star_is_one_whole_segment() -> None:
    assert path_matches("/a/*", "/a/b")
    assert path_matches("/a/*", "/a/%2F")
    for path in ("/a", "/a/", "/a/b/c", "/b/b", "/a/b/"):
        assert not path_matches("/a/*", path), path
    assert not path_matches("/a/b*", "/a/bc")


async def test_where_two_are_needed_two_stand_behind_it(desk: Desk) -> None:
    grant = await granted(desk)
    with pytest.raises(NotEntitledError):
        await desk.approvers.second(grant.id, approver("alice"))  # the agent acts for her
    await desk.approvers.second(grant.id, approver("ann"))
    assert await desk.says(asked(needs=2)) == "approval_required"
    await desk.approvers.second(grant.id, approver("cat", "acme"))
    used = await desk.admit(asked(needs=2))
    assert isinstance(used, Grant)
    assert set(used.approvers) == {"ann", "cat"}


async def test_an_approver_makes_one_by_itself_and_it_is_never_strong(desk: Desk) -> None:
    scope = scope_of(asked(), "/repos/acme/*/issues")
    await desk.approvers.grant(scope, ballot(grant=THESE, reason="release day"))
    assert await desk.says() == "agr"
    assert await desk.says(asked(strength=Strength.STRONG)) == "approval_required"
    with pytest.raises(NotEntitledError):
        await desk.approvers.grant(scope, ballot(by=approver("coder"), grant=THESE))


async def test_p9_of_many_that_use_the_last_one_one_gets_it(desk: Desk) -> None:
    grant = await granted(desk, Wish(replace(HOUR, max_uses=5), HEAD.path))
    with ThreadPoolExecutor(8) as threads:
        taken = list(threads.map(lambda _: desk.approvals.grants.use(grant.id), range(20)))
    assert sum(taken) == 5


async def test_p5_one_that_ends_between_decision_and_use_lets_nothing_go(desk: Desk) -> None:
    grant = await granted(desk)
    covering = desk.approvals.grants.covering(asked())
    assert covering is not None
    desk.approvals.grants.revoke(grant.id, by="ann")
    assert not desk.approvals.grants.use(covering.id)


def _grant(one: Asked, terms: Terms) -> Grant:
    from proxy.approval.states import Moment, Vote

    until = Moment(10**15, "boot-1", 1e9)
    scope = scope_of(one, one.head.path)
    return Grant("agr_1", scope, terms, (Vote("ann", yes=True),), 0, 0, until, None, None, None, "")
