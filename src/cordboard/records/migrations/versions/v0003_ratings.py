"""Marks that callers gave after a conversation."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "ratings",
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("call", sa.Text, nullable=False),
        sa.Column("rating", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text) for name in ("contact", "queue", "agent")),
        sa.Column("score", sa.Integer, nullable=False),
        sa.Column("scale", sa.Integer, nullable=False),
        sa.Column("rated_at", sa.Double, nullable=False),
    )
    op.create_index("ratings_by_queue", "ratings", ["queue", "rated_at"])
    op.create_index("ratings_by_agent", "ratings", ["agent", "rated_at"])
    op.create_index("ratings_by_contact", "ratings", ["contact"])
