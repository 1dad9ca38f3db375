"""How often an agent was revoked, so that one of its name that is added later is another."""  # in Alembic's order

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
_TABLES = ("agents", "approval_grants")


def upgrade() -> None:
    """Add the columns; who is revoked now has had a life."""
    for table in _TABLES:
        op.add_column(table, sa.Column("life", sa.Integer, nullable=False, server_default="0"))
    op.execute("UPDATE agents SET life = 1 WHERE revoked_at_ms IS NOT NULL")


def downgrade() -> None:
    """Drop the columns."""
    for table in _TABLES:
        op.drop_column(table, "life")
