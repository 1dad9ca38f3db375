"""Receipts with their chains, agents with their tokens."""  # Alembic orders its files by number

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

# The head moves in the same statement that inserts receipts, so that a batch is one implicit transaction.
HEAD_FOLLOWS = """
CREATE TRIGGER head_follows AFTER INSERT ON receipts BEGIN
    UPDATE chains SET head_seq = NEW.seq, head_hash = NEW.hash WHERE chain = NEW.chain;
END
"""


def upgrade() -> None:
    """Create everything."""
    op.create_table(
        "chains",
        sa.Column("chain", sa.Text, primary_key=True),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("opened_at_ms", sa.BigInteger, nullable=False),
        sa.Column("closed_at_ms", sa.BigInteger),
        sa.Column("head_seq", sa.BigInteger, nullable=False),
        sa.Column("head_hash", sa.Text, nullable=False),
    )
    op.create_table(
        "receipts",
        sa.Column("chain", sa.Text, sa.ForeignKey("chains.chain"), nullable=False),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("of", sa.Text),
        sa.Column("at_ms", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("prev", sa.Text, nullable=False),
        sa.Column("hash", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("chain", "seq"),
    )
    op.create_index(
        "one_outcome_per_decision",
        "receipts",
        ["of"],
        unique=True,
        sqlite_where=sa.text("kind = 'outcome'"),
        postgresql_where=sa.text("kind = 'outcome'"),
    )
    if op.get_bind().dialect.name == "sqlite":  # where receipts are written; a shared database holds none
        op.execute(HEAD_FOLLOWS)
    op.create_table(
        "agents",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("accounts", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("revoked_at_ms", sa.BigInteger),
    )
    op.create_table(
        "agent_tokens",
        sa.Column("token_id", sa.Text, primary_key=True),
        sa.Column("agent", sa.Text, sa.ForeignKey("agents.name"), nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger),
        sa.Column("revoked_at_ms", sa.BigInteger),
    )
    op.create_index("ix_agent_tokens_agent", "agent_tokens", ["agent"])


def downgrade() -> None:
    """Drop everything."""
    op.drop_table("agent_tokens")
    op.drop_table("agents")
    op.drop_table("receipts")
    op.drop_table("chains")
