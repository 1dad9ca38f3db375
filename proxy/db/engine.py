"""`open_database`: a SQLite file that is private, durable on commit, and at the newest migration."""

from __future__ import annotations

import fcntl
import hashlib
import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from proxy.db.tables import HEAD_FOLLOWS, metadata
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

DATABASE: Final = "briefcased.db"
"""The file in the state directory."""
NEWEST: Final = "0016"
"""The revision of `proxy.db.tables`. Migrations are loaded only for a database at another: they take a while."""
BUSY_TIMEOUT_MS: Final = 2_000
START_TIMEOUT_S: Final = 10.0
_RETRY_S: Final = 0.02
# FULL: a commit has reached the disk when it returns. fullfsync says the same to macOS. Source: sqlite.org/pragma.html
_PRAGMAS: Final = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA fullfsync = ON",
    "PRAGMA foreign_keys = ON",
    "PRAGMA trusted_schema = OFF",
)


def open_database(path: Path) -> Engine:
    """The database at `path`, created (file 0600, directory 0700) and migrated where needed.

    Processes that start together take turns. A transaction that is begun with the execution option
    `immediate=True` takes the write lock at once.

    Raises:
        BriefcaseError: it cannot be opened, is no database, or was written by a newer version.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _turn(path):
            _create(path)
            path.chmod(0o600)
            engine = _connectable(path)
            if not _is_newest(engine):  # or others that write all the time would hold us up
                with writing(engine) as connection:
                    if connection.dialect.get_table_names(connection):
                        migrate(connection)
                    else:
                        create(connection)
    except (OSError, SQLAlchemyError, sqlite3.Error, MigrationError) as error:
        raise BriefcaseError(f"the database {path} cannot be opened ({type(error).__name__})") from error
    return engine


@contextmanager
def writing(database: Engine) -> Iterator[Connection]:
    """A transaction that holds the write lock from its begin: what was read in it is still true when it writes."""
    with database.connect().execution_options(immediate=True) as connection, connection.begin():
        yield connection


def take_turns(connection: Connection, what: str) -> None:
    """Wait until nobody else is in a transaction about `what`; SQLite has one writer anyway.

    Source: postgresql.org, "Explicit Locking", advisory locks.
    """
    if connection.dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], signed=True)
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})


def create(connection: Connection) -> None:
    """Make, in an empty database, what all migrations make, in the transaction that `connection` is in."""
    metadata.create_all(connection, checkfirst=False)
    connection.exec_driver_sql(HEAD_FOLLOWS)
    connection.exec_driver_sql(
        "CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL,"
        " CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
    )
    connection.execute(text("INSERT INTO alembic_version VALUES (:newest)"), {"newest": NEWEST})


def migrate(connection: Connection, revision: str = "head") -> None:
    """Bring the database up, or down, to `revision`, in the transaction that `connection` is in."""
    if revision == "head" and _revision(connection) == NEWEST:
        return
    from alembic import command  # noqa: PLC0415  # see NEWEST
    from alembic.config import Config  # noqa: PLC0415
    from alembic.util import CommandError  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", "proxy.db:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    change = command.upgrade if revision == "head" else command.downgrade
    try:
        change(config, revision)
    except CommandError as error:
        raise MigrationError(str(error)) from error


class MigrationError(Exception):
    """There is no way from the database's revision to ours."""


def _is_newest(engine: Engine) -> bool:
    with engine.connect() as connection:
        return _revision(connection) == NEWEST


def _revision(connection: Connection) -> str | None:
    """The revision that the database says; None where it has none yet."""
    if not connection.dialect.has_table(connection, "alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _create(path: Path) -> None:
    """An empty, private file where there is none.

    One that exists is never opened here: closing any descriptor of it would drop the POSIX locks that another
    connection of this process holds, and the next process to leave would delete the log that this one still writes to.
    Source: sqlite.org/howtocorrupt.html, section 2.2.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _connectable(path: Path) -> Engine:
    engine = create_engine(URL.create("sqlite", database=str(path)), connect_args={"timeout": BUSY_TIMEOUT_MS / 1000})
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    assert isinstance(connection, sqlite3.Connection)
    connection.isolation_level = None  # transactions are ours to begin: the driver would skip reads and DDL
    for pragma in _PRAGMAS:
        connection.execute(pragma).close()


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Hold the lock file beside `path`: switching to WAL and migrating must not race."""
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock_within(lock, START_TIMEOUT_S)
        yield
    finally:
        os.close(lock)


def _lock_within(descriptor: int, timeout_s: float) -> None:
    end_s = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > end_s:
                raise
            time.sleep(_RETRY_S)
        else:
            return
