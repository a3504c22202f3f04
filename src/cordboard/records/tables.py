"""The tables of the records, once for every database. docs/reference/records.md says what the columns mean."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, Index, Integer, MetaData, Table, Text

METADATA = MetaData()
KEPT = MetaData()  # is not made of the journal, and not dropped with the rest



def _id(name: str, kind: type[BigInteger] | type[Integer] = BigInteger) -> Column[int]:
    return Column(name, kind, primary_key=True, autoincrement=False, nullable=False)


def _end(prefix: str = "") -> list[Column[float] | Column[int]]:
    """When something was over, and the revision that said so; both null while it goes on."""
    return [Column(f"{prefix}ended_at", Double), Column(f"{prefix}ended_revision", BigInteger)]


contacts = Table(
    "contacts",
    METADATA,
    _id("revision"),
    Column("contact", Text, nullable=False),
    Column("customer", Text),
    Column("queue", Text, nullable=False),
    Column("priority", Double, nullable=False),
    Column("queued_at", Double, nullable=False),
    Column("arrived_at", Double, nullable=False),
    *_end(),
    Index("contacts_by_name", "contact"),
    Index("contacts_by_time", "arrived_at"),
    Index("contacts_open", "ended_revision"),
)
legs = Table(
    "legs",
    METADATA,
    _id("contact_revision"),
    _id("number", Integer),
    Column("contact", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("agent", Text),
    Column("began_at", Double, nullable=False),
    Column("began_revision", BigInteger, nullable=False),
    *_end(),
    Column("ended_by", Text),
    Column("wrap_up_until", Double),
    *_end("wrap_up_"),
    Index("legs_by_queue", "queue", "began_at"),
    Index("legs_by_agent", "agent", "began_at"),
    Index("legs_open", "ended_revision"),
    Index("legs_in_wrap_up", "wrap_up_ended_revision", "wrap_up_until"),
)
offers = Table(
    "offers",
    METADATA,
    _id("revision"),
    _id("ordinal", Integer),
    Column("contact_revision", BigInteger, nullable=False),
    Column("contact", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("strategy", Text),
    Column("decided_by", Text),
    Column("eligible", Integer),
    Column("runner_up", Text),
    Column("offered_at", Double, nullable=False),
    *_end(),
    Column("outcome", Text),
    Column("reason", Text),
    Index("offers_by_contact", "contact_revision"),
    Index("offers_by_agent", "agent", "offered_at"),
    Index("offers_open", "ended_revision"),
)
agent_states = Table(
    "agent_states",
    METADATA,
    _id("revision"),
    _id("ordinal", Integer),
    Column("agent", Text, nullable=False),
    Column("presence", Text, nullable=False),
    Column("activity", Text, nullable=False),
    Column("reason", Text),
    Column("began_at", Double, nullable=False),
    *_end(),
    Index("agent_states_by_agent", "agent", "began_at"),
    Index("agent_states_open", "ended_revision"),
)
outcomes = Table(
    "outcomes",
    METADATA,
    _id("contact_revision"),
    Column("contact", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("queue", Text, nullable=False),
    Column("agent", Text),
    Column("answered_at", Double),
    Column("answered_revision", BigInteger),
    Column("ended_at", Double, nullable=False),
    Column("ended_revision", BigInteger, nullable=False),
    Column("offers", Integer, nullable=False),
    Column("missed", Integer, nullable=False),
    Index("outcomes_by_time", "ended_at"),
)
recordings = Table(
    "recordings",
    METADATA,
    Column("recording", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("contact_revision", BigInteger),
    Column("contact", Text),
    Column("queue", Text),
    Column("agent", Text),
    Column("caller", Text),
    Column("number", Text),
    Column("campaign", Text),
    Column("entry", Text),
    Column("node", Text, nullable=False),
    Column("file", Text, nullable=False),
    Column("began_at", Double, nullable=False),
    Column("keep_until", Double),
    Column("seconds", Double),
    Column("missing", Double),
    Column("state", Text, nullable=False),
    *_end(),
    Index("recordings_by_time", "began_at"),
    Index("recordings_by_agent", "agent", "began_at"),
    Index("recordings_by_queue", "queue", "began_at"),
    Index("recordings_by_caller", "caller"),
    Index("recordings_by_end", "keep_until"),
    Index("recordings_open", "ended_revision"),
)
ratings = Table(
    "ratings",
    METADATA,
    _id("revision"),
    _id("ordinal", Integer),
    Column("call", Text, nullable=False),
    Column("rating", Text, nullable=False),
    Column("contact", Text),
    Column("queue", Text),
    Column("agent", Text),
    Column("score", Integer, nullable=False),
    Column("scale", Integer, nullable=False),
    Column("rated_at", Double, nullable=False),
    Index("ratings_by_queue", "queue", "rated_at"),
    Index("ratings_by_agent", "agent", "rated_at"),
    Index("ratings_by_contact", "contact"),
)
recording_care = Table(
    "recording_care",
    KEPT,
    Column("recording", Text, primary_key=True),
    Column("held_at", Double),
    Column("held_by", Text),
    Column("held_why", Text),
    Column("deleted_at", Double),
    Column("deleted_by", Text),
)
checkpoint = Table(
    "checkpoint",
    METADATA,
    _id("id", Integer),
    Column("revision", BigInteger, nullable=False),
    Column("t", Double, nullable=False),
)

TABLES: dict[str, Table] = {
    "contacts": contacts,
    "legs": legs,
    "offers": offers,
    "agent_states": agent_states,
    "outcomes": outcomes,
    "recordings": recordings,
    "ratings": ratings,
}
