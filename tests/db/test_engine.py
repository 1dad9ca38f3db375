"""`open_database`: private, durable, migrated, safe to start twice."""

from __future__ import annotations

import re
import sqlite3
import stat
import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, inspect
from sqlalchemy.exc import IntegrityError, OperationalError

from proxy.db.engine import BUSY_TIMEOUT_MS, NEWEST, migrate, open_database
from proxy.db.tables import agent_tokens, chains, metadata, receipts
from proxy.errors import BriefcaseError


@pytest.fixture
def database(tmp_path):
    engine = open_database(tmp_path / "state" / "briefcased.db")
    yield engine
    engine.dispose()


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def receipt(seq, id_, kind, of=None):
    return {
        "chain": "c", "seq": seq, "id": id_, "kind": kind, "of": of, "at_ms": 1, "body": "{}", "prev": "p", "hash": f"h{seq}",
    }  # fmt: skip


def chain_row():
    return insert(chains).values(chain="c", label="t", opened_at_ms=1, head_seq=-1, head_hash="0")


def test_the_file_and_its_directory_are_private(database, tmp_path):
    with database.begin() as connection:
        connection.execute(chain_row())
        files = [mode(path) for path in (tmp_path / "state").iterdir()]
    assert mode(tmp_path / "state") == 0o700
    assert set(files) == {0o600}


def test_a_file_that_was_readable_by_others_is_made_private(tmp_path):
    path = tmp_path / "briefcased.db"
    path.touch(mode=0o644)
    path.chmod(0o644)
    open_database(path).dispose()
    assert mode(path) == 0o600


@pytest.mark.parametrize(
    ("pragma", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", BUSY_TIMEOUT_MS)],
)
def test_p3_a_commit_is_durable_when_it_returns(database, pragma, value):
    with database.connect() as connection:
        assert connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one() == value


def schema(connection):
    """What stands in the database, by kind and name, as SQLite keeps it; the order of constraints says nothing."""
    rows = connection.exec_driver_sql("SELECT type, name, sql FROM sqlite_master").all()
    return {row[:2]: sorted(" ".join(part.split()) for part in re.split(r",|\)\s*$", row.sql or "")) for row in rows}


def test_the_migrations_make_exactly_the_tables(database):
    with database.begin() as connection:
        new = schema(connection)
        assert {("table", "receipts"), ("trigger", "head_follows"), ("table", "alembic_version")} <= new.keys()
        migrate(connection, "base")
        assert schema(connection).keys() < new.keys()
        migrate(connection)
        assert schema(connection) == new
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all() == [NEWEST]
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_new_database_is_at_the_newest_revision(database):
    with database.connect() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalars().all() == [NEWEST]


def test_the_migrations_go_down_and_up_again(database):
    with database.begin() as connection:
        migrate(connection, "base")
        assert inspect(connection).get_table_names() == ["alembic_version"]
        migrate(connection)
        assert set(inspect(connection).get_table_names()) == {*metadata.tables, "alembic_version"}


def test_a_failed_migration_leaves_nothing_behind(database):
    with (
        pytest.raises(RuntimeError),
        database.connect().execution_options(immediate=True) as connection,
        connection.begin(),
    ):
        migrate(connection, "base")
        raise RuntimeError
    with database.connect() as connection:
        assert set(metadata.tables) <= set(inspect(connection).get_table_names())


def test_the_head_follows_what_is_inserted(database):
    with database.begin() as connection:
        connection.execute(chain_row())
        connection.execute(insert(receipts), [receipt(0, "a", "decision"), receipt(1, "b", "outcome", "a")])
    with database.connect() as connection:
        assert connection.exec_driver_sql("SELECT head_seq, head_hash FROM chains").one() == (1, "h1")


@pytest.mark.parametrize(
    "row",
    [
        receipt(1, "c", "outcome", "a"),  # a second outcome
        receipt(1, "a", "decision"),  # an id twice
        receipt(0, "c", "decision"),  # a place twice
        {**receipt(1, "c", "decision"), "chain": "unknown"},
    ],
)
def test_p4_the_database_itself_refuses(database, row):
    with database.begin() as connection:
        connection.execute(chain_row())
        connection.execute(insert(receipts), [receipt(0, "a", "decision"), receipt(7, "b", "outcome", "a")])
    with pytest.raises(IntegrityError), database.begin() as connection:
        connection.execute(insert(receipts), [row])


def test_a_token_needs_its_agent(database):
    token = {"token_id": "t", "agent": "nobody", "digest": "d", "created_at_ms": 1}
    with pytest.raises(IntegrityError), database.begin() as connection:
        connection.execute(insert(agent_tokens), [token])


def test_immediate_takes_the_write_lock_at_once_and_others_give_up_in_time(database, tmp_path):
    other = sqlite3.connect(tmp_path / "state" / "briefcased.db", isolation_level=None, timeout=0)
    with database.connect().execution_options(immediate=True) as connection, connection.begin():
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError, match="locked"), database.begin() as connection:
        connection.execute(chain_row())
    other.close()


def test_reads_within_one_transaction_see_one_moment(database):
    with database.connect() as reader:
        assert reader.exec_driver_sql("SELECT count(*) FROM chains").scalar_one() == 0
        with database.begin() as writer:
            writer.execute(chain_row())
        assert reader.exec_driver_sql("SELECT count(*) FROM chains").scalar_one() == 0


OPEN = "import sys, pathlib; from proxy.db.engine import open_database; open_database(pathlib.Path(sys.argv[1]))"


def test_processes_that_start_together_do_not_race(tmp_path):
    path = tmp_path / "new" / "briefcased.db"
    started = [subprocess.Popen([sys.executable, "-c", OPEN, str(path)], stderr=subprocess.PIPE) for _ in range(4)]
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in started] == [(b"", 0)] * 4


@pytest.mark.parametrize("content", [b"this is no database, only some text that is long enough" * 40, "newer"])
def test_p5_what_cannot_be_understood_is_refused(tmp_path, content):
    path = tmp_path / "briefcased.db"
    if content == "newer":
        engine = open_database(path)
        with engine.begin() as connection:
            connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
        engine.dispose()
    else:
        path.write_bytes(content)
    with pytest.raises(BriefcaseError, match="cannot be opened"):
        open_database(path)


def test_the_newest_revision_is_the_one_that_is_skipped():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", "proxy.db:migrations")
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_current_head() == NEWEST


def test_p3_what_is_committed_is_seen_by_others_however_often_this_process_opened_it(tmp_path):
    """`briefcased up` opens it for its agents and again for its receipts; other commands come and go meanwhile."""
    path = tmp_path / "briefcased.db"
    first, second = open_database(path), open_database(path)
    come_and_gone = f"from pathlib import Path; from proxy.db.engine import open_database\nopen_database(Path({str(path)!r})).dispose()"
    subprocess.run([sys.executable, "-c", come_and_gone], check=True, timeout=60)
    with second.begin() as connection:
        connection.execute(chain_row())
    count = (
        f"import sqlite3; print(sqlite3.connect({str(path)!r}).execute('SELECT count(*) FROM chains').fetchone()[0])"
    )
    seen = subprocess.run([sys.executable, "-c", count], check=True, timeout=60, capture_output=True, text=True)
    assert seen.stdout == "1\n"
    first.dispose()
    second.dispose()
