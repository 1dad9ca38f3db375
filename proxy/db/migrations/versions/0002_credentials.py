"""Grants of accounts (refresh tokens and the like), and keys made for them."""  # Alembic orders its files by number

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create both tables."""
    op.create_table(
        "grants",
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("credential", sa.Text, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("sealed", sa.LargeBinary),
        sa.Column("lease_holder", sa.Text),
        sa.Column("lease_until_ms", sa.BigInteger),
        sa.Column("journal", sa.LargeBinary),
        sa.Column("broken", sa.Text),
        sa.Column("changed_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account", "credential", "agent"),
    )
    op.create_table(
        "account_keys",
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("slot", sa.Text, nullable=False),
        sa.Column("algorithm", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account", "slot"),
    )


def downgrade() -> None:
    """Drop both tables."""
    op.drop_table("account_keys")
    op.drop_table("grants")
