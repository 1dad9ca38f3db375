"""When a captured secret was removed; its stand-in stays known."""  # Alembic orders its files by number

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the column."""
    op.add_column("captured", sa.Column("removed_at_ms", sa.BigInteger, nullable=True))


def downgrade() -> None:
    """Drop it, and what it marks: an older version would present the emptied secrets."""
    op.execute("DELETE FROM captured WHERE removed_at_ms IS NOT NULL")
    op.drop_column("captured", "removed_at_ms")
