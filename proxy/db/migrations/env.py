"""What Alembic runs: the migrations, on the connection that `proxy.db.engine` hands over, in its transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from alembic import context

from proxy.db.tables import metadata

if TYPE_CHECKING:
    from sqlalchemy import Connection


def run() -> None:
    """Run what `context` was told to, on `config.attributes["connection"]`."""
    connection: Connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


run()
