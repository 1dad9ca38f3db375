"""Standing grants of approvers, their keys, and messages to them."""  # Alembic orders its files by number

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "approval_grants",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("user", sa.Text, nullable=True),
        sa.Column("account", sa.Text, nullable=False),
        sa.Column("profile", sa.Text, nullable=False),
        sa.Column("profile_version", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("policy_version", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("max_cost_microusd", sa.BigInteger, nullable=False),
        sa.Column("max_uses", sa.Integer, nullable=False),
        sa.Column("uses", sa.Integer, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("until_ms", sa.BigInteger, nullable=False),
        sa.Column("until_boot", sa.Text, nullable=False),
        sa.Column("until_s", sa.Float, nullable=False),
        sa.Column("revoked_at_ms", sa.BigInteger, nullable=True),
        sa.Column("revoked_by", sa.Text, nullable=True),
        sa.Column("approval", sa.Text, nullable=True),
        sa.Column("reason", sa.Text, nullable=False),
    )
    op.create_index("approval_grants_of_an_agent", "approval_grants", ["tenant", "agent"])
    op.create_table(
        "approval_grant_votes",
        sa.Column("grant", sa.Text, sa.ForeignKey("approval_grants.id"), nullable=False),
        sa.Column("approver", sa.Text, nullable=False),
        sa.Column("factor", sa.Text, nullable=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("grant", "approver"),
    )
    op.create_table(
        "approver_keys",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("approver", sa.Text, nullable=False),
        sa.Column("jwk", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("revoked_at_ms", sa.BigInteger, nullable=True),
    )
    op.create_index("ix_approver_keys_approver", "approver_keys", ["approver"])
    op.create_table(
        "approval_nonces",
        sa.Column("nonce", sa.Text, primary_key=True),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "approval_messages",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("channel", sa.Text, nullable=False),
        sa.Column("approval", sa.Text, sa.ForeignKey("approvals.id"), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("due_at_ms", sa.BigInteger, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger, nullable=True),
        sa.Column("delivered", sa.Boolean, nullable=False),
        sa.Column("note", sa.Text, nullable=True),
    )
    op.create_index("ix_approval_messages_approval", "approval_messages", ["approval"])
    op.create_index("approval_messages_by_time", "approval_messages", ["due_at_ms"])


def downgrade() -> None:
    """Drop the tables."""
    op.drop_index("approval_messages_by_time", "approval_messages")
    op.drop_index("ix_approval_messages_approval", "approval_messages")
    op.drop_table("approval_messages")
    op.drop_table("approval_nonces")
    op.drop_index("ix_approver_keys_approver", "approver_keys")
    op.drop_table("approver_keys")
    op.drop_table("approval_grant_votes")
    op.drop_index("approval_grants_of_an_agent", "approval_grants")
    op.drop_table("approval_grants")
