"""The index of recordings, and what is kept about them that stands in no journal: holds and deletions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "recordings",
        sa.Column("recording", sa.Text, primary_key=True),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("contact_revision", sa.BigInteger),
        *(sa.Column(name, sa.Text) for name in ("contact", "queue", "agent", "caller", "number", "campaign", "entry")),
        sa.Column("node", sa.Text, nullable=False),
        sa.Column("file", sa.Text, nullable=False),
        sa.Column("began_at", sa.Double, nullable=False),
        sa.Column("keep_until", sa.Double),
        sa.Column("seconds", sa.Double),
        sa.Column("missing", sa.Double),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("ended_revision", sa.BigInteger),
    )
    op.create_index("recordings_by_time", "recordings", ["began_at"])
    op.create_index("recordings_by_agent", "recordings", ["agent", "began_at"])
    op.create_index("recordings_by_queue", "recordings", ["queue", "began_at"])
    op.create_index("recordings_by_caller", "recordings", ["caller"])
    op.create_index("recordings_by_end", "recordings", ["keep_until"])
    op.create_index("recordings_open", "recordings", ["ended_revision"])
    if not sa.inspect(op.get_bind()).has_table("recording_care"):  # it outlives a rebuilding of the records
        op.create_table(
            "recording_care",
            sa.Column("recording", sa.Text, primary_key=True),
            sa.Column("held_at", sa.Double),
            sa.Column("held_by", sa.Text),
            sa.Column("held_why", sa.Text),
            sa.Column("deleted_at", sa.Double),
            sa.Column("deleted_by", sa.Text),
        )
