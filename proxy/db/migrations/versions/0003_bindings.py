"""Where the secrets of accounts may be sent: origins, by account and secret."""  # Alembic orders its files by number

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "bindings",
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False, index=True),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("since_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account", "fingerprint", "origin"),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("bindings")
