"""Sets of policies that wait for a confirmation, and what decides beside their texts."""  # in Alembic's order

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
_NEW = (
    ("frame", sa.Text, {"nullable": True}),
    ("authors", sa.Text, {"nullable": False, "server_default": "[]"}),
    ("waits", sa.Text, {"nullable": True}),
    ("confirmed_by", sa.Text, {"nullable": True}),
    ("serial", sa.BigInteger, {"nullable": True}),
)


def upgrade() -> None:
    """Add the columns."""
    for name, kind, options in _NEW:
        op.add_column("policy_versions", sa.Column(name, kind, **options))


def downgrade() -> None:
    """Drop the columns, and with them what still waits: it was never in force."""
    op.execute("DELETE FROM policy_versions WHERE waits IS NOT NULL AND receipt IS NULL")
    for name, _, _ in reversed(_NEW):
        op.drop_column("policy_versions", name)
