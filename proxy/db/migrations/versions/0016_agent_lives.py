"""How often an agent was revoked, so that one of its name that is added later is another."""  # in Alembic's order

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Add the column; whoever is revoked now has had one life at least."""
    op.add_column("agents", sa.Column("life", sa.Integer, nullable=False, server_default="0"))
    op.execute("UPDATE agents SET life = 1 WHERE revoked_at_ms IS NOT NULL")


def downgrade() -> None:
    """Drop the column."""
    op.drop_column("agents", "life")
