"""What is used of budgets, what is reserved, and when the next call of a rate may come."""  # in Alembic's order

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "budget_counters",
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("bucket", sa.BigInteger, nullable=False),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("key", "bucket"),
    )
    op.create_table(
        "budget_holds",
        sa.Column("hold", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("bucket", sa.BigInteger, nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("amount", sa.BigInteger, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("until_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("hold", "key"),
    )
    op.create_index("holds_by_time", "budget_holds", ["until_ms"])
    op.create_table(
        "budget_rates",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("next_us", sa.BigInteger, nullable=False),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("budget_rates")
    op.drop_index("holds_by_time", "budget_holds")
    op.drop_table("budget_holds")
    op.drop_table("budget_counters")
