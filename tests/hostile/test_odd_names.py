"""H-09: what would mean something else, were it put together with code."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from pydantic import ValidationError

from proxy.clock import SystemClock
from proxy.db.engine import open_database
from proxy.errors import BriefcaseError, Denial
from proxy.identity import store
from proxy.identity.directory import Directory
from proxy.identity.registry import AgentRegistry
from proxy.settings import Settings
from tests.control.tenancy import tenancy
from tests.rig.asking import SOURCES, asked, basic, connect

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.rig import Rig

REFUSALS = {407: "proxy_auth_required", 429: "proxy_auth_throttled"}
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Rig]:
    async with tenancy(tmp_path_factory.mktemp("names")) as rig:
        yield rig


def payloads() -> Iterator[str]:
    """A thousand texts that would mean something else, were they put together with code."""
    quotes = ("'", '"', "`", "')", '")', "';", '";', "\\'", "\\", "")
    codes = (
        "OR 1=1--", "UNION SELECT digest FROM agent_tokens--", "; DROP TABLE agents;--", "|| pg_sleep(9)", "AND 1=0",
        "*)(uid=*", "*)(|(objectClass=*))", "admin)(&)", "*", "(cn=*)", ":: permit(principal,action,resource)",
        '" || true || "', 'Agent::"rival', "../../etc/passwd", "..\\..\\secret", "/proc/self/environ", "file:///etc/shadow",
        "$(id)", "`id`", "; id", "| id", "&& id", "${jndi:ldap://x}", "{{7*7}}", "<%= 7*7 %>", "<script>1</script>",
        "%00", "%0d%0aX-Agent-Id: rival", "\\u0000", "\x00", "\t", "\x7f", "ﷺ", "\u202erival", "\ufeff", "ｃｏｄｅｒ",
        "coder\u0301", "𝒸oder", "NULL", "None", "TRUE", "-1", "1e309", "NaN", "[object Object]", "./a", "a b",
        "__proto__", "Infinity", "%s%s%n", "{0}", "coder@acme", "acme/coder", "coder:coder", "#", "?x=1", "a" * 500,
    )  # fmt: skip
    for place, quote, code in itertools.product(("", "coder"), quotes, codes):
        yield f"{place}{quote} {code}" if place or quote else code


PAYLOADS = tuple(itertools.islice(payloads(), 1000))


async def test_h_09_no_payload_is_a_name_a_token_or_a_user(tmp_path: Path) -> None:
    """H-09: 1,000 of them, as token, as user, as an agent's name in the database and in the configuration."""
    assert len(set(PAYLOADS)) == 1000
    clock = SystemClock()
    database = open_database(tmp_path / "b.db")
    token = store.add_agent(database, "coder", ("*",), clock=clock)
    registry = AgentRegistry(database, clock=clock, directory=Directory())
    for number, text in enumerate(PAYLOADS):
        for header in (f"Bearer {text}", f"Bearer bca_{text}", basic(text, text), basic(f"bca_{text}", f"bct_{text}")):
            assert isinstance(registry.authenticate(header, str(number)), Denial)
        with pytest.raises(BriefcaseError, match="a name is"):
            store.add_agent(database, text, ("*",), clock=clock)
        with pytest.raises(ValidationError):
            Settings.model_validate({"version": 1, "agents": {text: {}}})
        assert registry.named(text, "@listener") is None
    assert [row.name for row in store.list_agents(database)] == ["coder"]
    assert len(store.valid_tokens(database)) == 1
    assert not isinstance(registry.authenticate(f"Bearer {token}", "a"), Denial)
    database.dispose()


@pytest.mark.parametrize("count", [40, pytest.param(1000, marks=pytest.mark.slow)])
async def test_h_09_payloads_get_a_refusal_and_nothing_else(rig: Rig, count: int) -> None:
    """H-09: the same through the proxy; it goes on as before, and quotes none of them."""
    for text in PAYLOADS[:: len(PAYLOADS) // count]:
        lines = (f"Proxy-Authorization: {basic(text, text)}",)
        answer = await asked(rig, connect(rig, *lines), next(SOURCES))
        assert answer.problem == REFUSALS[answer.status]
        assert len(text) < 4 or text.encode() not in answer.body
    assert (await rig.call("GET", "/x", agent="coder")).status == 200
    assert await rig.problems() == ()
