"""P1, P5, P6: the broker fails closed, remembers what was, and tells each agent its own stand-ins only."""

from __future__ import annotations

import orjson
import pytest
from pydantic import TypeAdapter

from proxy.clock import SystemClock
from proxy.credentials import CredentialSpec
from proxy.credentials.bindings import Bindings
from proxy.credentials.broker import Broker
from proxy.credentials.grants import Grants
from proxy.credentials.memory import MAX_OLD_VALUES, Memory
from proxy.credentials.order import Order
from proxy.credentials.standin import StandIn, StandIns
from proxy.db.engine import open_database
from proxy.db.sealing import Seal
from proxy.errors import Refused
from proxy.keys.ring import KeyRing
from proxy.model import AccountId
from proxy.secretstore import SecretStores
from proxy.secretstore.env import EnvStore
from proxy.secretstore.file import FileStore

WORK, HOME = AccountId("alpha", "work"), AccountId("alpha", "home")
KIND = TypeAdapter(CredentialSpec).validate_json(orjson.dumps({"kind": "header", "template": "{user}:{token}"}))
FOR_ONE, FOR_TWO = "alp_standInOfAgentOne", "alp_standInOfAgentTwo"


@pytest.fixture
def refs(tmp_path):
    (tmp_path / "token").write_text("the-first-token\n")
    return {"user": "env:USER_NAME", "token": f"file:{tmp_path / 'token'}"}


@pytest.fixture
def broker(tmp_path):
    stores = SecretStores({"env": EnvStore({"USER_NAME": "user-name-1"}), "file": FileStore()})
    stand_ins = StandIns([StandIn(FOR_ONE, "one", WORK, "token"), StandIn(FOR_TWO, "two", WORK, "token")])
    memory = Memory(stores=stores, stand_ins=stand_ins, compile_vocabulary=dict)
    database, clock, seal = open_database(tmp_path / "briefcased.db"), SystemClock(), Seal(b"k" * 32)
    yield Broker(
        stores=stores,
        keys=KeyRing(database=database, seal=seal, stores=stores, backends={}, clock=clock),
        grants=Grants(database, seal, clock),
        caller=None,
        clock=clock,
        token_key=b"t" * 32,
        spawn=None,
        memory=memory,
        bindings=Bindings(database, key=b"f" * 32, clock=clock),
    )
    database.dispose()


async def test_a_minted_credential_holds_what_the_kind_names(broker, refs):
    minted = await broker.mint(Order(WORK, "main", KIND, refs))
    assert minted.filled("{user}:{token}") == "user-name-1:the-first-token"
    assert "first" not in repr(minted)


@pytest.mark.parametrize(
    "broken", [{"token": "file:/no/such/file"}, {"token": "env:NOT_SET"}, {"token": "vault:x"}, {"token": ""}, {"user": "env:"}]
)  # fmt: skip
async def test_p5_without_every_secret_there_is_no_credential(broker, refs, broken, caplog):
    with pytest.raises(Refused) as refused:
        await broker.mint(Order(WORK, "main", KIND, {**refs, **broken}))
    assert refused.value.denial.slug == "credential_unavailable"
    assert "/no/such/file" not in refused.value.denial.detail
    assert broker._memory.vocabulary("one") == {}
    assert "first" not in caplog.text


async def test_p1_every_agent_finds_its_own_stand_in_for_a_secret_and_never_anothers(broker, refs):
    await broker.mint(Order(WORK, "main", KIND, refs))
    await broker.mint(Order(HOME, "main", KIND, refs))
    assert broker._memory.vocabulary("one")[b"user-name-1"] in (b"[alpha/work:user]", b"[alpha/home:user]")
    for agent, theirs in (("one", FOR_ONE), ("two", FOR_TWO), ("three", None)):
        shown = set(broker._memory.vocabulary(agent).values())
        assert shown & {FOR_ONE.encode(), FOR_TWO.encode()} <= {(theirs or "").encode()}
        assert broker._memory.vocabulary(agent).keys() == {b"user-name-1", b"the-first-token"}


async def test_p1_e12_a_value_that_was_rotated_away_is_still_looked_for(broker, refs, tmp_path):
    for number in range(MAX_OLD_VALUES + 5):
        (tmp_path / "next").write_text(f"token-number-{number:04d}\n")
        (tmp_path / "next").rename(tmp_path / "token")
        await broker.mint(Order(WORK, "main", KIND, refs))
        assert broker._memory.vocabulary("one")[f"token-number-{number:04d}".encode()] == FOR_ONE.encode()
    kept = {value for value in broker._memory.vocabulary("one") if value.startswith(b"token")}
    assert kept == {f"token-number-{number:04d}".encode() for number in range(5, MAX_OLD_VALUES + 5)}


async def test_what_cannot_be_read_beforehand_is_told_without_values(broker, refs):
    failures = await broker._memory.preload(WORK, {**refs, "third": "env:NOT_SET"})
    assert failures == ["alpha/work: third: env: secret unavailable: variable NOT_SET is not set"]
    assert broker._memory.vocabulary("one").keys() == {b"user-name-1", b"the-first-token"}


async def test_p1_another_configuration_changes_the_stand_ins_not_the_values(broker, refs):
    await broker.mint(Order(WORK, "main", KIND, refs))
    assert broker._memory.vocabulary("one")[b"the-first-token"] == FOR_ONE.encode()
    broker._memory.replace_stand_ins(StandIns([StandIn("alp_anotherStandInNow", "one", WORK, "token")]))
    assert broker._memory.vocabulary("one")[b"the-first-token"] == b"alp_anotherStandInNow"
    assert broker._memory.vocabulary("two")[b"the-first-token"] == b"[alpha/work:token]"
