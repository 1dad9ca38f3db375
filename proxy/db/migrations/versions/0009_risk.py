"""What agents were allowed to call, by the hour, for the risk of what they call next."""  # in Alembic's order

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "risk_uses",
        sa.Column("tenant", sa.Text, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("profile", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("hour", sa.BigInteger, nullable=False),
        sa.Column("calls", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("tenant", "agent", "profile", "operation", "host", "hour"),
    )
    op.create_index("risk_uses_by_age", "risk_uses", ["hour"])


def downgrade() -> None:
    """Drop the table."""
    op.drop_index("risk_uses_by_age", "risk_uses")
    op.drop_table("risk_uses")
