"""Approvals, votes on them, and standing permissions."""  # Alembic orders its files by number

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "approvals",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("user", sa.Text, nullable=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("profile", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("family", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("strength", sa.Integer, nullable=False),
        sa.Column("needs", sa.Integer, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("changed_at_ms", sa.BigInteger, nullable=False),
        sa.Column("until_ms", sa.BigInteger, nullable=False),
        sa.Column("until_boot", sa.Text, nullable=False),
        sa.Column("until_s", sa.Float, nullable=False),
        sa.Column("receipt", sa.Text, nullable=True),
        sa.Column("card", sa.LargeBinary, nullable=False),
    )
    op.create_index("approvals_of_an_agent", "approvals", ["agent", "state"])
    op.create_index("approvals_by_fingerprint", "approvals", ["fingerprint"])
    op.create_index("approvals_by_age", "approvals", ["created_at_ms"])
    op.create_table(
        "approval_votes",
        sa.Column("approval", sa.Text, sa.ForeignKey("approvals.id"), nullable=False),
        sa.Column("approver", sa.Text, nullable=False),
        sa.Column("yes", sa.Boolean, nullable=False),
        sa.Column("factor", sa.Text, nullable=True),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("approval", "approver"),
    )


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("approval_votes")
    op.drop_index("approvals_by_age", "approvals")
    op.drop_index("approvals_by_fingerprint", "approvals")
    op.drop_index("approvals_of_an_agent", "approvals")
    op.drop_table("approvals")
