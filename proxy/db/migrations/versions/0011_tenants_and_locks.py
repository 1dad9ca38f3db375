"""Whose an agent is, and on whose behalf it acts; what is locked."""  # in Alembic's order

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
ADDED = ("tenant", "groups", "users")


def upgrade() -> None:
    """Add the columns and the table."""
    op.add_column("agents", sa.Column("tenant", sa.Text, nullable=True))
    op.add_column("agents", sa.Column("groups", sa.Text, nullable=False, server_default="[]"))
    op.add_column("agents", sa.Column("users", sa.Text, nullable=False, server_default="[]"))
    op.create_table(
        "locks",
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("kind", "name"),
    )


def downgrade() -> None:
    """Take them away."""
    op.drop_table("locks")
    for name in reversed(ADDED):
        op.drop_column("agents", name)
