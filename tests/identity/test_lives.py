"""H-08: an agent that is added under the name of one that was revoked is another: no task token comes back with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from proxy.db.engine import migrate, open_database
from proxy.identity import store
from proxy.identity.directory import Directory
from proxy.identity.registry import AgentRegistry
from proxy.identity.store import Belongs
from proxy.identity.task_limits import TaskLimits
from proxy.identity.task_tokens import mint
from proxy.model import BY_NAME, Agent
from proxy.operator_settings import OperatorSettings
from proxy.settings import AgentEntry
from tests.approval.hands import Hands
from tests.identity.gate import SEED, Gate, World

if TYPE_CHECKING:
    from pathlib import Path


async def test_h_08_no_task_token_outlives_the_agent_that_it_was_made_for(tmp_path: Path) -> None:
    database, hands = open_database(tmp_path / "briefcased.db"), Hands()
    gate = Gate(World(database, hands, OperatorSettings()))
    made: list[str] = []
    for life in range(3):
        store.add_agent(database, "coder", ("*",), clock=hands, belongs=Belongs("acme"))
        found = next(one for one in gate.registry.agents() if one.name == "coder")
        assert found.life == life
        made.append(mint(SEED, "coder", TaskLimits(hands.wall + 86_400_000), life=found.life))
        hands.forward(1)
        hands.wall -= 2000
        await gate.locks.refresh()
        answers = [gate.authenticator.authenticate(f"Bearer {one}", "10.0.0.1") for one in made]
        assert [isinstance(one, Agent) for one in answers] == [False] * life + [True]
        assert store.revoke_agent(database, "coder", clock=hands)
        hands.wall += 1000
    database.dispose()


@pytest.mark.parametrize("turns", [1, 2])
def test_h_08_who_was_revoked_before_lives_were_counted_is_another_too(tmp_path: Path, turns: int) -> None:
    """H-08: over the migration that counts lives, and back to a release that does not and up again."""
    database, hands = open_database(tmp_path / "briefcased.db"), Hands()
    for name in ("gone", "here"):
        store.add_agent(database, name, ("*",), clock=hands)
    store.revoke_agent(database, "gone", clock=hands)
    for _ in range(turns):
        with database.connect().execution_options(immediate=True) as connection, connection.begin():
            migrate(connection, "0015")
            migrate(connection)
    store.add_agent(database, "gone", (), clock=hands)
    assert {one.name: one.life > 0 for one in store.list_agents(database)} == {"gone": True, "here": False}
    database.dispose()


@pytest.mark.parametrize("tenant", [None, "acme"])
def test_h_08_an_agent_that_the_configuration_alone_names_is_revoked_too(tmp_path: Path, tenant: str | None) -> None:
    database, hands = open_database(tmp_path / "briefcased.db"), Hands()
    directory = Directory(agents={"coder": Agent("coder", ("*",), "-", tenant or "main")})
    registry, named = AgentRegistry(database, clock=hands, directory=directory), AgentEntry(tenant=tenant)
    assert registry.named("coder", BY_NAME) is not None
    assert not store.revoke_agent(database, "coder", clock=hands)
    assert store.revoke_agent(database, "coder", clock=hands, named=named)
    assert not store.revoke_agent(database, "coder", clock=hands, named=named)
    hands.forward(1)
    assert registry.named("coder", BY_NAME) is None
    store.add_agent(database, "coder", (), clock=hands)
    hands.forward(1)
    again = registry.named("coder", BY_NAME)
    assert again is not None
    assert (again.life, again.accounts) == (1, ("*",))
    assert store.revoke_agent(database, "coder", clock=hands, named=named)
    assert [one.life for one in store.list_agents(database)] == [2]
    database.dispose()
