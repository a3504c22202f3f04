"""Records as a pure function of the journal: entries in, rows of tables out. No database here.

A :class:`Projection` holds what is not over yet (contacts inside, open offers, the present state of each agent) and the
rows that have changed since they were last stored. Which entries come in one batch makes no difference to the rows, and
everything that it holds can be read back from the rows that are still open: so it goes on after a restart.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cordboard.errors import DataError
from cordboard.journal import told
from cordboard.records.recorded import Recorded

Values = dict[str, Any]
Effect = Mapping[str, Any]

KEYS: Mapping[str, tuple[str, ...]] = {  # table -> its primary key
    "contacts": ("revision",),
    "legs": ("contact_revision", "number"),
    "offers": ("revision", "ordinal"),
    "agent_states": ("revision", "ordinal"),
    "outcomes": ("contact_revision",),
    "recordings": ("recording",),
    "ratings": ("revision", "ordinal"),
}


class EntryLike(Protocol):
    """What a projection needs of an entry of the journal; ``cordboard.live.Entry`` has it."""

    @property
    def revision(self) -> int: ...

    @property
    def t(self) -> float: ...

    @property
    def event(self) -> Mapping[str, Any]: ...

    @property
    def effects(self) -> Sequence[Effect]: ...

    @property
    def error(self) -> Exception | None: ...


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a journal: what the timers before it did, the event (None if it was refused), and what it did."""

    revision: int
    t: float
    fired: Sequence[Effect]
    event: Mapping[str, Any] | None
    effects: Sequence[Effect]

    @classmethod
    def of(cls, entry: EntryLike) -> Step:
        """An entry of a live journal, in which a timer that fires has an entry of its own."""
        early = sum(effect["t"] < entry.t for effect in entry.effects)
        event = None if entry.error is not None else entry.event
        return cls(entry.revision, entry.t, entry.effects[:early], event, entry.effects[early:])


class Row:
    """One row: ``values`` by column; ``stored`` once the database has it, ``dirty`` until it has the latest."""

    __slots__ = ("dirty", "stored", "table", "values")

    def __init__(self, table: str, values: Values, stored: bool = False) -> None:
        self.table, self.values, self.stored, self.dirty = table, values, stored, False


@dataclass(slots=True)
class _Contact:
    row: Row
    leg: Row  # the latest: of a queue while it waits, of an agent when it is connected
    legs: int
    offers: int
    missed: int


@dataclass(slots=True)
class _Agent:
    presence: str = "offline"
    reason: str | None = None
    offered: int = 0
    connected: int = 0
    engaged: bool = False  # on a call that is no contact of its own
    wrapping: list[Row] = field(default_factory=list)  # legs whose wrap-up is not over
    state: Row | None = None

    @property
    def activity(self) -> str:
        if self.engaged:
            return "engaged"
        if self.connected:
            return "connected"
        if self.wrapping:
            return "wrap_up"
        return "offered" if self.offered else "idle"


class Projection:
    """See the module. ``open_rows``: what is not over; ``counts``: offers, and missed ones, of each open contact.

    ``lenient``: begin anywhere, and pass over what is about contacts that came before.
    """

    def __init__(
        self,
        open_rows: Iterable[Row] = (),
        counts: Mapping[int, tuple[int, int]] | None = None,
        revision: int = 0,
        *,
        lenient: bool = False,
    ) -> None:
        self.revision, self._lenient = revision, lenient
        self.t = 0.0
        self._contacts: dict[str, _Contact] = {}
        self._offers: dict[tuple[str, str], Row] = {}
        self._agents: dict[str, _Agent] = {}
        self._dirty: list[Row] = []
        self._ordinal = 0  # of rows that one revision begins
        self._ended: Row | None = None  # the conversation that the present event ended
        self._restore(list(open_rows), counts or {})

    # ---- in

    def take(self, step: Step) -> None:
        """Book one line. DataError if it does not follow from what was booked before."""
        if step.revision <= self.revision:
            raise DataError(f"revision {step.revision} after {self.revision}", hint="Revisions only go up")
        self.revision, self.t, self._ordinal, self._ended = step.revision, float(step.t), 0, None
        for effect in step.fired:
            self._book(self._effect, effect)
        if step.event is not None:
            self._book(self._event, step.event)
        for effect in step.effects:
            self._book(self._effect, effect)

    def _book(self, book: Callable[[Mapping[str, Any]], None], what: Mapping[str, Any]) -> None:
        try:
            book(what)
        except DataError:
            if not self._lenient:
                raise

    # ---- out

    def take_dirty(self) -> list[Row]:
        """The rows that have changed since this was last asked, in the order in which they first changed."""
        rows, self._dirty = self._dirty, []
        for row in rows:
            row.dirty = False
        return rows

    # ---- events and effects

    def _event(self, event: Mapping[str, Any]) -> None:
        kind, t = event["event"], float(event["t"])
        if kind == "contact_queued":
            self._arrive(event, t)
        elif kind == "contact_left":
            contact = self._contact(event["contact"])
            self._close_leg(contact.leg, t, "abandoned")
            self._over(event["contact"], "abandoned", t)
        elif kind == "offer_accepted":
            self._close_offer(event["contact"], event["agent"], t, "accepted")
            self._connect(event["contact"], event["agent"], t)
        elif kind == "offer_declined":
            self._close_offer(event["contact"], event["agent"], t, "declined")
            self._contact(event["contact"]).missed += 1
        elif kind == "contact_ended":
            self._disconnect(event["contact"], t)
        elif kind == "priority_changed":
            row = self._contact(event["contact"]).row
            self._set(row, priority=float(event["priority"]))
        elif kind in ("agent_ready", "agent_away", "agent_offline"):
            self._present(event["agent"], kind.removeprefix("agent_"), event.get("reason"), t)
        elif kind in ("agent_engaged", "agent_released"):
            self._agent(event["agent"]).engaged = kind == "agent_engaged"
            self._touch(event["agent"], t)
        elif kind in ("leg_recorded", "leg_refused", "node_lost"):
            self._recorded.end(event, self.revision)

    def _effect(self, effect: Effect) -> None:
        kind, t = effect["effect"], float(effect["t"])
        event = told(effect)
        if event is not None:
            self._event(event)
        if kind == "offer":
            self._offer(effect, t)
        elif kind == "leg_record":
            contact = self._contacts.get(effect["contact"])
            self._recorded.begin(effect, self.revision, contact.row.values["revision"] if contact else None)
        elif kind == "offer_withdrawn":
            self._close_offer(effect["contact"], effect["agent"], t, "withdrawn", effect["reason"])
        elif kind == "offer_expired":
            self._close_offer(effect["contact"], effect["agent"], t, "expired")
            self._contact(effect["contact"]).missed += 1
        elif kind == "contact_rejected":
            self._close_leg(self._contact(effect["contact"]).leg, t, "rejected")
            self._over(effect["contact"], "rejected", t)
        elif kind == "contact_expired":
            self._expire(effect["contact"], effect["to"], t)
        elif kind == "agent_away":
            self._present(effect["agent"], "away", effect["reason"], t)
        elif kind == "call_rated":
            said = {key: effect.get(key) for key in ("contact", "queue", "agent")}
            marks = {key: effect[key] for key in ("call", "rating", "score", "scale")}
            self._add("ratings", revision=self.revision, ordinal=self._next(), rated_at=t, **said, **marks)
        elif kind == "wrap_up_ended":
            self._end_wrap_up(effect["agent"], t)
        elif kind == "wrap_up_started":
            agent = self._agent(effect["agent"])
            if self._ended is None:
                raise self._unknown(f'a wrap-up of "{effect["agent"]}"')
            self._set(self._ended, wrap_up_until=float(effect["until"]))
            agent.wrapping.append(self._ended)
            self._touch(effect["agent"], t)

    # ---- contacts

    def _arrive(self, event: Mapping[str, Any], t: float) -> None:
        name = event["contact"]
        row = self._add(
            "contacts",
            revision=self.revision,
            contact=name,
            customer=event.get("customer"),
            queue=event["queue"],
            priority=float(event.get("priority", 0)),
            queued_at=float(event.get("queued_at", t)),
            arrived_at=t,
            ended_at=None,
            ended_revision=None,
        )
        leg = self._add_leg(row, 1, event["queue"], None, t)
        self._contacts[name] = _Contact(row, leg, 1, 0, 0)

    def _connect(self, name: str, agent: str, t: float) -> None:
        contact = self._contact(name)
        queue = contact.leg.values["queue"]
        self._close_leg(contact.leg, t, "answered")
        contact.legs += 1
        contact.leg = self._add_leg(contact.row, contact.legs, queue, agent, t)
        self._agent(agent).connected += 1
        self._touch(agent, t)

    def _disconnect(self, name: str, t: float) -> None:
        contact = self._contact(name)
        agent = contact.leg.values["agent"]
        self._close_leg(contact.leg, t, "ended")
        self._over(name, "answered", t)
        self._ended = contact.leg  # whether a wrap-up follows, the effects say
        self._agent(agent).connected -= 1
        self._touch(agent, t)

    def _expire(self, name: str, to: str | None, t: float) -> None:
        contact = self._contact(name)
        if to is None:
            self._close_leg(contact.leg, t, "expired")
            self._over(name, "expired", t)
            return
        self._close_leg(contact.leg, t, "overflowed")
        contact.legs += 1
        contact.leg = self._add_leg(contact.row, contact.legs, to, None, t)

    def _over(self, name: str, outcome: str, t: float) -> None:
        contact = self._contacts.pop(name)
        row, leg = contact.row.values, contact.leg.values
        self._set(contact.row, ended_at=t, ended_revision=self.revision)
        answered = leg["agent"] is not None
        self._add(
            "outcomes",
            contact_revision=row["revision"],
            contact=name,
            outcome=outcome,
            queue=leg["queue"],
            agent=leg["agent"],
            answered_at=leg["began_at"] if answered else None,
            answered_revision=leg["began_revision"] if answered else None,
            ended_at=t,
            ended_revision=self.revision,
            offers=contact.offers,
            missed=contact.missed,
        )

    def _add_leg(self, contact: Row, number: int, queue: str, agent: str | None, t: float) -> Row:
        return self._add(
            "legs",
            contact_revision=contact.values["revision"],
            number=number,
            contact=contact.values["contact"],
            queue=queue,
            agent=agent,
            began_at=t,
            began_revision=self.revision,
            ended_at=None,
            ended_revision=None,
            ended_by=None,
            wrap_up_until=None,
            wrap_up_ended_at=None,
            wrap_up_ended_revision=None,
        )

    def _close_leg(self, leg: Row, t: float, by: str) -> None:
        self._set(leg, ended_at=t, ended_revision=self.revision, ended_by=by)

    # ---- offers

    def _offer(self, effect: Effect, t: float) -> None:
        name, agent = effect["contact"], effect["agent"]
        contact = self._contact(name)
        contact.offers += 1
        why = effect["why"]  # empty if the engine does not explain
        self._offers[name, agent] = self._add(
            "offers",
            revision=self.revision,
            ordinal=self._next(),
            contact_revision=contact.row.values["revision"],
            contact=name,
            queue=effect["queue"],
            agent=agent,
            strategy=why.get("strategy"),
            decided_by=why.get("key"),
            eligible=why.get("eligible"),
            runner_up=why.get("runner_up"),
            offered_at=t,
            ended_at=None,
            ended_revision=None,
            outcome=None,
            reason=None,
        )
        self._agent(agent).offered += 1
        self._touch(agent, t)

    def _close_offer(self, contact: str, agent: str, t: float, outcome: str, reason: str | None = None) -> None:
        row = self._offers.pop((contact, agent), None)
        if row is None:
            raise self._unknown(f'an offer of "{contact}" to "{agent}"')
        self._set(row, ended_at=t, ended_revision=self.revision, outcome=outcome, reason=reason)
        self._agent(agent).offered -= 1
        self._touch(agent, t)

    # ---- agents

    def _present(self, name: str, presence: str, reason: str | None, t: float) -> None:
        agent = self._agent(name)
        agent.presence, agent.reason = presence, reason
        self._touch(name, t)

    def _end_wrap_up(self, name: str, t: float) -> None:
        agent = self._agent(name)
        for leg in agent.wrapping:
            self._set(leg, wrap_up_ended_at=t, wrap_up_ended_revision=self.revision)
        agent.wrapping.clear()
        self._touch(name, t)

    def _touch(self, name: str, t: float) -> None:
        """Begin a new state of the agent if it differs; one of this revision that lasted no time is written over."""
        agent = self._agent(name)
        state = {"presence": agent.presence, "activity": agent.activity, "reason": agent.reason}
        row = agent.state
        if row is not None:
            if all(row.values[key] == value for key, value in state.items()):
                return
            if row.values["began_at"] == t and row.values["revision"] == self.revision:
                self._set(row, **state)
                return
            self._set(row, ended_at=t, ended_revision=self.revision)
        agent.state = self._add(
            "agent_states",
            revision=self.revision,
            ordinal=self._next(),
            agent=name,
            **state,
            began_at=t,
            ended_at=None,
            ended_revision=None,
        )

    # ---- rows

    def _next(self) -> int:
        self._ordinal += 1
        return self._ordinal

    def _add(self, table: str, **values: Any) -> Row:
        row = Row(table, values)
        self._mark(row)
        return row

    def _set(self, row: Row, **values: Any) -> None:
        row.values.update(values)
        self._mark(row)

    def _mark(self, row: Row) -> None:
        if not row.dirty:
            row.dirty = True
            self._dirty.append(row)

    def _agent(self, name: str) -> _Agent:
        agent = self._agents.get(name)
        if agent is None:
            agent = self._agents[name] = _Agent()
        return agent

    def _contact(self, name: str) -> _Contact:
        contact = self._contacts.get(name)
        if contact is None:
            raise self._unknown(f'contact "{name}"')
        return contact

    def _unknown(self, what: str) -> DataError:
        hint = "The journal does not go on where the records stand; rebuild them from its beginning"
        return DataError(f"revision {self.revision}: {what} is not in the records", hint=hint)

    # ---- after a restart

    def _restore(self, rows: list[Row], counts: Mapping[int, tuple[int, int]]) -> None:
        """Take up the rows that are not over: contacts, the latest leg of each, wrap-ups, offers, agents' states."""
        by_table: dict[str, list[Row]] = {table: [] for table in KEYS}
        for row in rows:
            by_table[row.table].append(row)
        self._recorded = Recorded(self._add, self._set, by_table["recordings"])
        for row in by_table["agent_states"]:
            agent = self._agent(row.values["agent"])
            agent.state, agent.presence, agent.reason = row, row.values["presence"], row.values["reason"]
            agent.engaged = row.values["activity"] == "engaged"
        legs: dict[int, Row] = {}
        for row in by_table["legs"]:
            agent_name = row.values["agent"]
            if row.values["ended_revision"] is None:
                legs[row.values["contact_revision"]] = row
                if agent_name is not None:
                    self._agent(agent_name).connected += 1
            else:
                self._agent(agent_name).wrapping.append(row)
        for row in by_table["contacts"]:
            revision = row.values["revision"]
            leg = legs[revision]
            self._contacts[row.values["contact"]] = _Contact(
                row, leg, leg.values["number"], *counts.get(revision, (0, 0))
            )
        for row in by_table["offers"]:
            self._offers[row.values["contact"], row.values["agent"]] = row
            self._agent(row.values["agent"]).offered += 1
