"""The table `risk_uses`: how often an agent was allowed to call an operation at a host, by the hour."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from sqlalchemy import and_, case, delete, func, select
from sqlalchemy.dialects import postgresql, sqlite

from proxy.db.tables import risk_uses
from proxy.risk.circumstances import Past, Usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

type Key = tuple[str, str]
"""Tenant and agent."""
WEEK_HOURS: Final = 168
KEPT_HOURS: Final = 30 * 24
"""Whatever an agent has not done for so long is new to it again."""
MAX_USES: Final = 2_000
MAX_HOSTS: Final = 5_000
"""Of one agent in memory; beyond, its past counts as unknown."""


class Row(NamedTuple):
    """A row's key; `hour` counts since 1970."""

    tenant: str
    agent: str
    profile: str
    operation: str
    host: str
    hour: int

    @property
    def key(self) -> Key:
        """Whose it is."""
        return (self.tenant, self.agent)


def bounded(past: Past) -> Past | None:
    """`past`, or None where it is too large to be kept."""
    return past if len(past.uses) <= MAX_USES and len(past.hosts) <= MAX_HOSTS else None


def add(connection: Connection, rows: Mapping[Row, int]) -> None:
    """Count calls. In order, so that sidecars that write together do not wait for each other in a ring."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    for row in sorted(rows):
        statement = insert(risk_uses).values(**row._asdict(), calls=rows[row])
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=list(risk_uses.primary_key.columns),
                set_={"calls": risk_uses.c.calls + statement.excluded.calls},
            )
        )


def past_of(connection: Connection, key: Key, *, now_hour: int) -> Past | None:
    """What the agent was allowed within the last 30 days; None where that is too much to be kept."""
    table = risk_uses
    mine = and_(table.c.tenant == key[0], table.c.agent == key[1], table.c.hour > now_hour - KEPT_HOURS)
    by_hour = (
        select(table.c.profile, table.c.operation, table.c.hour, func.sum(table.c.calls).label("calls"))
        .where(mine)
        .group_by(table.c.profile, table.c.operation, table.c.hour)
        .subquery()
    )
    now = by_hour.c.hour >= now_hour
    week = and_(by_hour.c.hour < now_hour, by_hour.c.hour >= now_hour - WEEK_HOURS)
    found = connection.execute(
        select(
            by_hour.c.profile,
            by_hour.c.operation,
            func.sum(case((now, by_hour.c.calls), else_=0)),
            func.max(case((week, by_hour.c.calls), else_=0)),
        )
        .group_by(by_hour.c.profile, by_hour.c.operation)
        .limit(MAX_USES + 1)
    ).all()
    hosts = connection.execute(select(table.c.host).where(mine).distinct().limit(MAX_HOSTS + 1)).scalars().all()
    used = {(profile, operation): Usage(now_hour, int(calls), int(peak)) for profile, operation, calls, peak in found}
    return bounded(Past(used, frozenset(hosts)))


def forget(connection: Connection, *, now_hour: int) -> None:
    """What is older than 30 days."""
    connection.execute(delete(risk_uses).where(risk_uses.c.hour <= now_hour - KEPT_HOURS))
