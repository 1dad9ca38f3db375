"""Whose tenant an approver's key is of, and who has confirmed it."""  # in Alembic's order

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
ADDED = ("tenant", "confirmed_at_ms", "confirmed_by")


def upgrade() -> None:
    """Add the columns. A key of before is confirmed by nobody, and counts for nothing until it is."""
    op.add_column("approver_keys", sa.Column("tenant", sa.Text, nullable=True))
    op.add_column("approver_keys", sa.Column("confirmed_at_ms", sa.BigInteger, nullable=True))
    op.add_column("approver_keys", sa.Column("confirmed_by", sa.Text, nullable=True))


def downgrade() -> None:
    """Take them away."""
    for name in reversed(ADDED):
        op.drop_column("approver_keys", name)
