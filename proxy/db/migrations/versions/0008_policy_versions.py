"""Every set of policies that was put in force."""  # in Alembic's order

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "policy_versions",
        sa.Column("number", sa.Integer, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("sources", sa.Text, nullable=False),
        sa.Column("files_digest", sa.Text, nullable=False),
        sa.Column("restores", sa.Integer, nullable=True),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("receipt", sa.Text, nullable=True),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("policy_versions")
