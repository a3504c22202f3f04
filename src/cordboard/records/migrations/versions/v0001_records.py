"""Contacts, legs, offers, agent states, outcomes, and the revision up to which they are booked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    _contacts()
    _legs()
    _offers()
    _agent_states()
    _outcomes()
    _checkpoint()


def _contacts() -> None:
    op.create_table(
        "contacts",
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("contact", sa.Text, nullable=False),
        sa.Column("customer", sa.Text),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("priority", sa.Double, nullable=False),
        sa.Column("queued_at", sa.Double, nullable=False),
        sa.Column("arrived_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("ended_revision", sa.BigInteger),
    )
    op.create_index("contacts_by_name", "contacts", ["contact"])
    op.create_index("contacts_by_time", "contacts", ["arrived_at"])
    op.create_index("contacts_open", "contacts", ["ended_revision"])


def _legs() -> None:
    op.create_table(
        "legs",
        sa.Column("contact_revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("contact", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("agent", sa.Text),
        sa.Column("began_at", sa.Double, nullable=False),
        sa.Column("began_revision", sa.BigInteger, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("ended_revision", sa.BigInteger),
        sa.Column("ended_by", sa.Text),
        sa.Column("wrap_up_until", sa.Double),
        sa.Column("wrap_up_ended_at", sa.Double),
        sa.Column("wrap_up_ended_revision", sa.BigInteger),
    )
    op.create_index("legs_by_agent", "legs", ["agent", "began_at"])
    op.create_index("legs_by_queue", "legs", ["queue", "began_at"])
    op.create_index("legs_in_wrap_up", "legs", ["wrap_up_ended_revision", "wrap_up_until"])
    op.create_index("legs_open", "legs", ["ended_revision"])


def _offers() -> None:
    op.create_table(
        "offers",
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("contact_revision", sa.BigInteger, nullable=False),
        sa.Column("contact", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("strategy", sa.Text),
        sa.Column("decided_by", sa.Text),
        sa.Column("eligible", sa.Integer),
        sa.Column("runner_up", sa.Text),
        sa.Column("offered_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("ended_revision", sa.BigInteger),
        sa.Column("outcome", sa.Text),
        sa.Column("reason", sa.Text),
    )
    op.create_index("offers_by_agent", "offers", ["agent", "offered_at"])
    op.create_index("offers_by_contact", "offers", ["contact_revision"])
    op.create_index("offers_open", "offers", ["ended_revision"])


def _agent_states() -> None:
    op.create_table(
        "agent_states",
        sa.Column("revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("presence", sa.Text, nullable=False),
        sa.Column("activity", sa.Text, nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("began_at", sa.Double, nullable=False),
        sa.Column("ended_at", sa.Double),
        sa.Column("ended_revision", sa.BigInteger),
    )
    op.create_index("agent_states_by_agent", "agent_states", ["agent", "began_at"])
    op.create_index("agent_states_open", "agent_states", ["ended_revision"])


def _outcomes() -> None:
    op.create_table(
        "outcomes",
        sa.Column("contact_revision", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("contact", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("queue", sa.Text, nullable=False),
        sa.Column("agent", sa.Text),
        sa.Column("answered_at", sa.Double),
        sa.Column("answered_revision", sa.BigInteger),
        sa.Column("ended_at", sa.Double, nullable=False),
        sa.Column("ended_revision", sa.BigInteger, nullable=False),
        sa.Column("offers", sa.Integer, nullable=False),
        sa.Column("missed", sa.Integer, nullable=False),
    )
    op.create_index("outcomes_by_time", "outcomes", ["ended_at"])


def _checkpoint() -> None:
    op.create_table(
        "checkpoint",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("t", sa.Double, nullable=False),
    )


def downgrade() -> None:
    for table in ("checkpoint", "outcomes", "agent_states", "offers", "legs", "contacts"):
        op.drop_table(table)
