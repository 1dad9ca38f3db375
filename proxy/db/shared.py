"""A PostgreSQL database that several sidecars share: grants and keys of accounts. Receipts stay with each sidecar."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from proxy.db.engine import MigrationError, migrate
from proxy.errors import BriefcaseError

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from proxy.secret import Secret
    from proxy.settings import SharedDatabase

CONNECT_TIMEOUT_S: Final = 5
POOL_SIZE: Final = 5
_OPTIONS: Final = "-c statement_timeout=10s -c lock_timeout=5s -c idle_in_transaction_session_timeout=30s"
_MIGRATING: Final = 0x62726965666361
"""The advisory lock under which sidecars that start together take turns."""


def open_shared(settings: SharedDatabase, password: Secret | None) -> Engine:
    """The database of `settings`, migrated where needed; verified TLS unless the settings say otherwise.

    A commit there is durable when it returns (PostgreSQL's `synchronous_commit`, which is asked for).

    Raises:
        BriefcaseError: it cannot be reached, refuses, was written by a newer version, or the driver is not installed.
    """
    place = f"{settings.host}:{settings.port}/{settings.database}"
    try:
        engine = _engine(settings, password)
    except ModuleNotFoundError:
        raise BriefcaseError("a shared database needs the extra `postgres`: credential-briefcase[postgres]") from None
    try:
        with engine.connect() as connection, connection.begin():
            connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _MIGRATING})
            migrate(connection)
    except (SQLAlchemyError, MigrationError) as error:
        engine.dispose()
        raise BriefcaseError(f"the shared database {place} cannot be opened ({type(error).__name__})") from None
    return engine


def _engine(settings: SharedDatabase, password: Secret | None) -> Engine:
    tls = {"sslmode": "verify-full", "sslrootcert": str(settings.ca_bundle or "system")}
    url = URL.create(
        "postgresql+psycopg",
        username=settings.user,
        password=password.reveal().decode("utf-8") if password is not None else None,
        host=settings.host,
        port=settings.port,
        database=settings.database,
    )
    return create_engine(
        url,
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_timeout=CONNECT_TIMEOUT_S,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": "briefcased",
            "options": f"{_OPTIONS} -c synchronous_commit=on",
            **(tls if settings.tls == "verify" else {"sslmode": "disable"}),
        },
    )
