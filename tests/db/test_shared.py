"""What sidecars share, in a real PostgreSQL: migrated once, sealed, one refresher at a time, closed when it is gone."""

from __future__ import annotations

import threading
import time

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text
from sqlalchemy.exc import SQLAlchemyError

from proxy.clock import SystemClock
from proxy.credentials.bindings import Bindings
from proxy.credentials.grants import GrantKey, Grants, LostLeaseError
from proxy.db.engine import migrate
from proxy.db.sealing import Seal
from proxy.db.shared import open_shared
from proxy.db.tables import metadata
from proxy.errors import BriefcaseError
from proxy.keys.ring import KeyRing
from proxy.model import AccountId
from proxy.secret import Secret
from proxy.secretstore import SecretStores
from proxy.settings import SharedDatabase
from tests.rig.postgres import PASSWORD, found, postgres

pytestmark = pytest.mark.skipif(found("initdb") is None, reason="no PostgreSQL here")
WORK = AccountId("alpha", "work")
KEY = GrantKey(WORK, "oauth")


@pytest.fixture(scope="module")
def server():
    with postgres() as running:
        yield running


def opened(server, password=PASSWORD, **changes):
    return open_shared(SharedDatabase.model_validate(server.settings(**changes)), Secret("pg", password))


@pytest.fixture
def engines(server):
    """Two sidecars' engines; what they left is removed."""
    pair = opened(server), opened(server)
    yield pair
    with pair[0].begin() as connection:
        connection.execute(text("DELETE FROM grants"))
        connection.execute(text("DELETE FROM account_keys"))
    for engine in pair:
        engine.dispose()


def grants(engine, lease_s=45.0, key=b"s" * 32):
    return Grants(engine, Seal(key), SystemClock(), lease_s=lease_s)


def test_the_migrations_make_exactly_the_tables_and_go_down_and_up(engines):
    engine = engines[0]
    with engine.begin() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    with engine.begin() as connection:
        migrate(connection, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
        migrate(connection)
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}


def test_p10_only_one_of_many_has_the_lease(engines):
    held, together = [], threading.Barrier(8)

    def compete(store):
        together.wait(10)
        held.append(store.lease(KEY))

    threads = [threading.Thread(target=compete, args=(grants(engines[n % 2]),)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    (lease,) = [lease for lease in held if lease is not None]
    assert lease.granted.version == 0


def test_what_one_stores_the_other_reads_and_nobody_stores_without_the_lease(engines):
    one, two = grants(engines[0], lease_s=0.2), grants(engines[1])
    lease = one.lease(KEY)
    one.note(lease, {"refresh_token": "rt-1"})
    assert two.lease(KEY) is None
    end_s = time.monotonic() + 5
    while (taken := two.lease(KEY)) is None:
        assert time.monotonic() < end_s
    assert taken.granted.journal == {"refresh_token": "rt-1"}  # whoever had it before may have used it up
    with pytest.raises(LostLeaseError):
        one.store(lease, {"refresh_token": "late"})
    two.store(taken, {"refresh_token": "rt-2"})
    assert (one.read(KEY).version, one.read(KEY).kept, one.read(KEY).journal) == (1, {"refresh_token": "rt-2"}, None)


class Shifted(SystemClock):
    """An hour before or after it is."""

    def __init__(self, hours):
        self.hours = hours

    def wall_ms(self):
        return super().wall_ms() + self.hours * 3_600_000


@pytest.mark.parametrize(("first", "second"), [(0, 1), (-1, 0), (-1, 1), (1, -1)])
def test_p10_a_sidecar_whose_clock_is_wrong_takes_no_lease_and_keeps_none_for_long(engines, first, second):
    one, two = (Grants(e, Seal(b"s" * 32), Shifted(h)) for e, h in zip(engines, (first, second), strict=True))
    lease = one.lease(KEY)
    assert two.lease(KEY) is None
    one.note(lease, {"refresh_token": "rt-1"})
    assert two.lease(KEY) is None
    with engines[0].begin() as connection:
        left = text("SELECT lease_until_ms / 1000 - extract(epoch FROM clock_timestamp()) FROM grants")
        assert 0 < connection.execute(left).scalar_one() <= 16
    one.release(lease)
    assert two.lease(KEY) is not None


def test_a_state_that_is_put_while_another_is_stored_has_a_version_of_its_own(engines):
    one = grants(engines[0])
    one.put(KEY, {"refresh_token": "rt-1"})
    before = one.read(KEY).version
    with engines[1].connect() as storing, engines[1].connect() as watching:
        storing.execute(text("UPDATE grants SET version = version + 1"))
        putting = threading.Thread(target=one.put, args=(KEY, {"refresh_token": "rt-2"}))
        putting.start()
        blocked = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        end_s = time.monotonic() + 5
        while not watching.execute(blocked).scalar_one():
            watching.rollback()
            assert time.monotonic() < end_s
        storing.commit()
        putting.join(10)
    assert (one.read(KEY).version, one.read(KEY).kept) == (before + 2, {"refresh_token": "rt-2"})


def test_p1_what_rests_there_is_sealed_and_bound_to_its_account(engines):
    one = grants(engines[0])
    one.put(KEY, {"refresh_token": "rt-canary"})
    with engines[0].begin() as connection:
        row = connection.execute(text("SELECT sealed FROM grants")).scalar_one()
        assert b"rt-canary" not in bytes(row)
        connection.execute(text("UPDATE grants SET account = 'alpha/home'"))
    with pytest.raises(BriefcaseError, match="another key, or was changed"):
        one.read(GrantKey(AccountId("alpha", "home"), "oauth"))
    with pytest.raises(BriefcaseError):
        grants(engines[1], key=b"o" * 32).read(GrantKey(AccountId("alpha", "home"), "oauth"))


def test_p2_of_sidecars_that_use_a_secret_first_at_once_only_one_says_where_it_may_go(engines):
    tables = [Bindings(engine, key=b"k" * 32, clock=SystemClock()) for engine in engines]
    prints, together, allowed = frozenset({"fingerprint"}), threading.Barrier(6), []

    def use(number):
        place = frozenset({f"https://{number}.example.test:443"})
        together.wait(10)
        if not tables[number % 2]._first_or_known("alpha/work", prints, place):
            allowed.append(number)

    for _ in range(5):
        threads = [threading.Thread(target=use, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert len(allowed) == 1
        allowed.clear()
        with engines[0].begin() as connection:
            connection.execute(text("DELETE FROM bindings"))


async def test_two_sidecars_prove_with_one_key(engines):
    rings = [
        KeyRing(database=e, seal=Seal(b"s" * 32), stores=SecretStores({}), backends={}, clock=SystemClock())
        for e in engines
    ]
    first, second = [await ring.signer(WORK, "dpop", None, "ES256") for ring in rings]
    assert first.public.thumbprint == second.public.thumbprint
    assert first.public.algorithm == "ES256"


@pytest.mark.parametrize("wrong", ["password", "ca", "name", "port"])
def test_p5_a_database_that_is_not_ours_is_not_used(server, wrong, tmp_path):
    other = tmp_path / "other.pem"
    if wrong == "ca":
        from tests.rig.postgres import certified

        certified(tmp_path).rename(other)
    changes = {"ca": {"ca_bundle": str(other)}, "name": {"host": "127.0.0.1"}, "port": {"port": 1}}.get(wrong, {})
    with pytest.raises(BriefcaseError) as failed:
        opened(server, "wrong-password" if wrong == "password" else PASSWORD, **changes)
    assert "cannot be opened" in str(failed.value)
    assert "password" not in str(failed.value)


def test_p5_without_the_database_nothing_is_known(server):
    with postgres() as gone:
        engine = opened(gone)
        store = grants(engine)
        store.put(KEY, {"refresh_token": "rt"})
        gone.stop()
        with pytest.raises(SQLAlchemyError) as failed:
            store.read(KEY)
        assert PASSWORD not in str(failed.value)
        engine.dispose()
