"""A sidecar that runs notices what other processes do to its grants: P5, a grant that was taken away is not used."""

from __future__ import annotations

import asyncio
import json

import pytest

from proxy.clock import SystemClock
from proxy.credentials.bindings import Bindings
from proxy.credentials.broker import Broker
from proxy.credentials.grants import Grants
from proxy.credentials.memory import Memory
from proxy.credentials.oauth import OAuthCredential
from proxy.credentials.oauth.state import Kept
from proxy.credentials.order import Order
from proxy.credentials.standin import StandIns
from proxy.db.engine import open_database
from proxy.db.sealing import Seal
from proxy.errors import Refused
from proxy.keys.ring import KeyRing
from proxy.model import AccountId
from proxy.secretstore import SecretStores

AS = "https://as.example.test"
KIND = OAuthCredential.model_validate_json(
    json.dumps({"kind": "oauth", "grant": "authorization_code", "issuer": AS, "client": {"auth": "none", "id": "app"}})
)
ORDER = Order(AccountId("acme", "main"), "person", KIND, {})


def kept(token):
    return Kept(access_token=token, token_type="bearer", issuer=AS).written()


async def test_p5_a_grant_that_is_taken_away_replaced_or_new_counts_at_once(tmp_path):
    database, clock, seal = open_database(tmp_path / "briefcased.db"), SystemClock(), Seal(b"k" * 32)
    grants, elsewhere = Grants(database, seal, clock), Grants(database, seal, clock)
    stores = SecretStores({})
    async with asyncio.TaskGroup() as tasks:
        broker = Broker(
            stores=stores, keys=KeyRing(database=database, seal=seal, stores=stores, backends={}, clock=clock), grants=grants,
            caller=None, clock=clock, token_key=b"t" * 32, spawn=tasks.create_task,
            memory=Memory(stores=stores, stand_ins=StandIns(()), compile_vocabulary=dict), bindings=Bindings(database, key=b"b" * 32, clock=clock, asks=True),
        )  # fmt: skip

        async def token():
            broker._notice(grants.versions())
            return (await broker.mint(ORDER)).text("access_token")

        async def refused():
            broker._notice(grants.versions())
            with pytest.raises(Refused) as error:
                await broker.mint(ORDER)
            return error.value.denial.slug

        assert await refused() == "not_connected"
        elsewhere.put(ORDER.key, kept("token-one-1"))
        assert await token() == "token-one-1"
        elsewhere.put(ORDER.key, kept("token-two-2"))
        assert await token() == "token-two-2"
        elsewhere.forget(ORDER.key)
        assert await refused() == "not_connected"
        elsewhere.put(ORDER.key, kept("token-three-3"))
        assert await token() == "token-three-3"
        elsewhere.forget(ORDER.key)
        elsewhere.put(ORDER.key, kept("token-four-4"))
        assert await token() == "token-four-4"
        assert broker._memory.vocabulary("x").keys() >= {b"token-one-1", b"token-four-4"}
    database.dispose()
