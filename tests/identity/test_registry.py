"""Who is calling, by the real database."""

from __future__ import annotations

import statistics
import time

import pytest

from proxy.db.engine import open_database
from proxy.errors import BriefcaseError, Denial
from proxy.identity import store
from proxy.identity.directory import Directory
from proxy.identity.registry import AgentRegistry, StaticRegistry
from proxy.identity.throttle import FAILURES, WINDOW_S
from proxy.identity.tokens import new_token
from proxy.model import Agent

HERE = "192.0.2.1"


def granting(**accounts):
    return Directory(agents={name: Agent(name, grants, "-") for name, grants in accounts.items()})


class HandClock:
    """A clock that is moved by hand."""

    def __init__(self):
        self.now_s = 1000.0

    def wall_ms(self):
        return int(self.now_s * 1000)

    def monotonic_s(self):
        return self.now_s


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def database(tmp_path):
    engine = open_database(tmp_path / "briefcased.db")
    yield engine
    engine.dispose()


@pytest.fixture
def registry(database, clock):
    return AgentRegistry(database, clock=clock, directory=Directory())


def slug(answer):
    assert isinstance(answer, Denial)
    assert answer.by == "front"
    return answer.slug


def test_a_token_names_its_agent_and_what_it_may_use(database, clock, registry):
    token = store.add_agent(database, "builder", ("github/*",), clock=clock)
    assert registry.authenticate(f"Bearer {token}", HERE) == Agent("builder", ("github/*",), token.split("_")[1])


def test_grants_of_the_configuration_replace_those_of_the_table(database, clock):
    token = store.add_agent(database, "builder", ("github/*",), clock=clock)
    other = store.add_agent(database, "other", ("stripe/*",), clock=clock)
    registry = AgentRegistry(database, clock=clock, directory=granting(builder=()))
    assert registry.authenticate(f"Bearer {token}", HERE).accounts == ()
    assert registry.authenticate(f"Bearer {other}", HERE).accounts == ("stripe/*",)
    registry.redirect(granting(builder=("openai/work",)))
    assert registry.authenticate(f"Bearer {token}", HERE).accounts == ("openai/work",)


def test_p5_a_missing_token_is_refused_and_no_failure(registry):
    for _ in range(FAILURES * 3):
        assert slug(registry.authenticate(None, HERE)) == "proxy_auth_required"


def test_p5_wrong_tokens_are_refused_then_throttled(database, clock, registry):
    store.add_agent(database, "builder", (), clock=clock)
    for _ in range(FAILURES):
        assert slug(registry.authenticate(f"Bearer {new_token()[1]}", HERE)) == "proxy_auth_required"
    refused = registry.authenticate(f"Bearer {new_token()[1]}", HERE)
    assert slug(refused) == "proxy_auth_throttled"
    assert 0 < refused.retry_after_s <= WINDOW_S
    assert slug(registry.authenticate(f"Bearer {new_token()[1]}", "192.0.2.2")) == "proxy_auth_required"


def test_every_wrong_token_gets_the_same_answer(database, clock, registry):
    token = store.add_agent(database, "builder", (), clock=clock)
    wrong = [token[:-1] + ("A" if token[-1] != "A" else "B"), new_token()[1], "nonsense"]
    assert len({str(registry.authenticate(f"Bearer {text}", HERE)) for text in wrong}) == 1


def test_p1_a_refusal_does_not_repeat_the_token(registry):
    token = new_token()[1]
    assert token[17:] not in repr(registry.authenticate(f"Bearer {token}", HERE))


def test_a_revoked_token_stops_within_two_seconds(database, clock, registry):
    token = store.add_agent(database, "builder", (), clock=clock)
    assert isinstance(registry.authenticate(f"Bearer {token}", HERE), Agent)
    assert store.revoke_agent(database, "builder", clock=clock)
    clock.now_s += 2.01
    assert slug(registry.authenticate(f"Bearer {token}", HERE)) == "proxy_auth_required"


def test_revoking_ends_every_token_and_nothing_brings_an_old_one_back(database, clock, registry):
    tokens = [store.add_agent(database, "builder", (), clock=clock) for _ in range(2)]
    assert store.revoke_agent(database, "builder", clock=clock)
    assert not store.revoke_agent(database, "builder", clock=clock)
    fresh = store.add_agent(database, "builder", (), clock=clock)
    answers = [registry.authenticate(f"Bearer {token}", HERE) for token in (*tokens, fresh)]
    assert [isinstance(answer, Agent) for answer in answers] == [False, False, True]


def test_an_expired_token_stops_at_once(database, clock, registry):
    token = store.add_agent(database, "builder", (), clock=clock, expires_at_ms=clock.wall_ms() + 1000)
    assert isinstance(registry.authenticate(f"Bearer {token}", HERE), Agent)
    clock.now_s += 1.0
    assert slug(registry.authenticate(f"Bearer {token}", HERE)) == "proxy_auth_required"


def test_p5_nobody_is_believed_when_the_database_cannot_be_read(database, clock, registry):
    token = store.add_agent(database, "builder", ("*",), clock=clock)
    assert isinstance(registry.authenticate(f"Bearer {token}", HERE), Agent)
    with database.begin() as connection:
        connection.exec_driver_sql("DROP TABLE agent_tokens")
    clock.now_s += 3
    assert slug(registry.authenticate(f"Bearer {token}", HERE)) == "policy_unavailable"


def test_p1_the_database_holds_no_token(database, clock, tmp_path):
    token = store.add_agent(database, "builder", (), clock=clock)
    assert all(token[17:].encode() not in path.read_bytes() for path in tmp_path.iterdir())


@pytest.mark.parametrize("name", ["", "Builder", "1st", "a b", "a/b", "a" * 64, "a\n", "'; DROP TABLE agents; --"])
def test_a_bad_name_is_refused(database, clock, name):
    with pytest.raises(BriefcaseError, match="name"):
        store.add_agent(database, name, (), clock=clock)
    assert store.list_agents(database) == []


def test_agents_are_listed_by_name_and_revoked_ones_may_do_nothing(database, clock, registry):
    for name in ("zeta", "alpha", "gone"):
        store.add_agent(database, name, ("*",), clock=clock)
    store.revoke_agent(database, "gone", clock=clock)
    rows = store.list_agents(database)
    assert [(row.name, row.revoked_at_ms is None) for row in rows] == [("alpha", True), ("gone", False), ("zeta", True)]
    assert [agent.name for agent in registry.agents()] == ["alpha", "zeta"]


def test_a_static_registry_knows_its_agents_only(clock):
    token_id, token, digest = new_token()
    agent = Agent("run", ("*",), token_id)
    registry = StaticRegistry({digest: agent}, clock)
    assert registry.authenticate(f"Bearer {token}", HERE) is agent
    assert slug(registry.authenticate(f"Bearer {new_token()[1]}", HERE)) == "proxy_auth_required"
    assert slug(StaticRegistry({}, clock).authenticate(f"Bearer {token}", HERE)) == "proxy_auth_required"


def test_judging_a_known_token_is_cheap(database, clock, registry):
    token = store.add_agent(database, "builder", ("*",), clock=clock)
    header = f"Bearer {token}"
    registry.authenticate(header, HERE)

    def once_us():
        start_ns = time.perf_counter_ns()
        registry.authenticate(header, HERE)
        return (time.perf_counter_ns() - start_ns) / 1000

    assert statistics.median(once_us() for _ in range(2000)) < 50
