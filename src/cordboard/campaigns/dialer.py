"""Who dials: follows the journal, asks the pacers, and has the engine dial, cancel and account for every attempt.

It decides from the journal alone: its time is that of the journal's last entry (while a campaign dials and nothing
happens, ``clock`` events keep that going), its agents and calls are the engine's. What it decides goes into the journal
as events; a replay of the journal needs no pacer. What has come of the entries of a list it writes into the ``Book``.
"""

from __future__ import annotations

import logging
import math
import threading
import time
import zoneinfo
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from cordboard.calls.campaign import DAY_S, SKIPPED, Campaign, Mode
from cordboard.calls.config import Calls
from cordboard.calls.switchboard import Switchboard
from cordboard.campaigns import hours
from cordboard.campaigns.book import Attempt, Book, Place
from cordboard.campaigns.scene import Kind, Scene, kind_of, look_at, team_of, unchanged
from cordboard.campaigns.shelf import Shelf
from cordboard.center import Center
from cordboard.errors import (
    CompactedError,
    EventError,
    LimitError,
    SlowReaderError,
    StaleEventError,
    StoreError,
    UnavailableError,
    UnknownNameError,
    Where,
)
from cordboard.journal import nearest
from cordboard.live import Engine, Entry, Subscription
from cordboard.pacing.group import PacerGroup
from cordboard.pacing.ledger import Ledger, WindowState
from cordboard.pacing.modes import Limits
from cordboard.pacing.pacer import AgentState, CallEvent, Leads, Pacer, Plan
from cordboard.pacing.rules import AnsweredCall, rule

STEP_S = 0.02  # between two decisions at least
SHARE = 0.02  # of the writer's time that looks may take: 0.7 ms for 500 agents, 20 ms for 15,000
QUIET_S = 0.5  # and at least, if nothing happens
IDLE_S = 1.0  # and at most
ACTOR = "cordboard campaign"
WRITE_S = 0.25  # between two transactions of the book
RETRY_S = 5.0  # after which an entry is tried again that could not be dialed
LEARN_S = 2 * 3600.0  # attempts so young teach a pacer after a restart
TURN_MAX_S = 5.0  # that an agent waits because of the calls per second of a campaign
CALLS: dict[str, CallEvent] = {
    one: one for one in ("connected", "dropped", "hung_up", "invalid", "machine", "cancelled")
}

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Work:
    """One campaign at work."""

    campaign: Campaign
    pacer: Pacer
    shelf: Shelf = field(default_factory=lambda: Shelf(()))
    attempts: dict[int, int] = field(default_factory=dict)  # that an entry has had, if any
    zones: dict[int, str] = field(default_factory=dict)
    plan: Plan | None = None
    running: bool = False
    turn: float = 0.0  # from then on the next one may be dialed for an agent


@dataclass(frozen=True, slots=True)
class Status:
    """A campaign as it is now. ``entries``: how many are in each state; ``outcomes``: of attempts."""

    name: str
    running: bool
    asked: Mode
    plan: Plan | None
    entries: dict[str, int]
    outcomes: dict[str, int]
    windows: tuple[WindowState, ...]

    @property
    def connect_rate(self) -> float | None:
        """Connected of all attempts."""
        return _share(self.outcomes.get("connected", 0), sum(self.outcomes.values()))

    @property
    def drop_rate(self) -> float | None:
        """Dropped of all that people answered."""
        answered = sum(self.outcomes.get(one, 0) for one in ("connected", "dropped", "hung_up"))
        return _share(self.outcomes.get("dropped", 0), answered)


def _share(part: int, base: int) -> float | None:
    return part / base if base else None


class Dialer:
    """For one engine. ``step`` does what is to be done now; ``start`` has a thread do so until ``close``."""

    def __init__(self, engine: Engine, calls: Calls, book: Book) -> None:
        self._engine, self._calls, self.book = engine, calls, book
        self._open = {(one.campaign, one.entry): one for one in book.open_attempts()}
        self._attempts: dict[tuple[str, int, int], Attempt] = {}  # changed since the book was written
        self._places: dict[tuple[str, int], Place] = {}
        self._revision = self._written = book.revision
        self._written_at = 0.0
        self.now = 0.0
        self._center: Center | None = None
        self._teams: dict[str, tuple[list[str], list[str]]] = {}  # queue -> its agents, their other queues for voice
        self._told: dict[tuple[Kind, str], AgentState] = {}
        self._missed: set[str] = set()  # agents who let a lead expire, or did not answer the phone for it
        self.works = {name: self._work(name, campaign) for name, campaign in calls.campaigns.items()}
        self._groups = self._grouped()
        self._gone: dict[str, Campaign] = {}  # that the file has no more, and that have calls
        self._wake, self._stopping = threading.Event(), False
        self._turn, self._pause = threading.Lock(), STEP_S
        self._renew: set[str] = set()
        self._thread: threading.Thread | None = None
        self._waiting: deque[Entry] = deque()  # what was polled and is not followed yet
        self._subscription: Subscription | None = self._subscribe()
        self._catch_up(self._subscription.revision)

    # ---- how a campaign begins

    def _grouped(self) -> dict[Kind, PacerGroup]:
        """The campaigns that share agents in the same way; whoever dials by hand is not paced."""
        kinds = {name: kind_of(work.campaign) for name, work in self.works.items() if work.campaign.mode != "manual"}
        return {
            kind: PacerGroup({name: self.works[name].pacer for name, one in kinds.items() if one == kind})
            for kind in dict.fromkeys(kinds.values())
        }

    def change(self, calls: Calls) -> None:
        """Go over to another file of calls, which the engine has taken over. Lists and ledgers stay, as after a
        restart; campaigns that share agents with none that has changed go on as they were."""
        with self._turn:
            self._poll()
            self._follow_waiting()
            self._write()
            kept = unchanged({name: work.campaign for name, work in self.works.items()}, calls.campaigns)
            there = {one.campaign for one in self._open.values()}
            known = self._gone | {name: work.campaign for name, work in self.works.items()}
            self._gone = {name: one for name, one in known.items() if name in there and name not in calls.campaigns}
            groups = {kind: self._groups[kind] for kind in kept if kind in self._groups}
            works = {
                name: self.works[name] if kind_of(campaign) in kept else self._work(name, campaign)
                for name, campaign in calls.campaigns.items()
            }
            self.works = works
            self._groups = self._grouped() | groups
            self._calls, self._center = calls, None
            self._told = {key: state for key, state in self._told.items() if key[0] in groups}
        self._wake.set()

    def _work(self, name: str, campaign: Campaign) -> Work:
        rules = [rule(one) for one in campaign.rules]
        zone = campaign.time_zone or self._engine.center.time_zone
        limits = Limits(lines=campaign.lines, calls_per_second=campaign.calls_per_second)
        first = self.book.begun(name)
        begun = self._engine.state.t if first is None else first
        mode = "preview" if campaign.mode == "manual" else campaign.mode  # which is counted, and not paced
        pacer = Pacer(
            target=campaign.drops, mode=mode, rules=rules or None, limits=limits, start=begun, time_zone=zone
        )
        self._teach(name, pacer)
        ledger = Ledger(pacer.ledger.rules, start=begun, time_zone=zone)
        for one in self.book.attempts(name):  # all of them: the legal windows are what happened, not what we remember
            if one.answered is not None and one.decided is not None:
                ledger.set_false_positives(_person(one))
                ledger.record(max(one.decided, ledger.now), _answered(one))
        pacer.ledger = ledger
        return Work(campaign, pacer)

    def _teach(self, name: str, pacer: Pacer) -> None:
        """Let a new pacer see the last attempts again, so that it need not begin from nothing."""
        seen: list[tuple[float, int, str, CallEvent]] = []
        young = self._engine.state.t - LEARN_S
        for one in [*self.book.attempts(name, young), *(one for one in self._open.values() if one.campaign == name)]:
            moments: list[tuple[float | None, CallEvent]] = [(one.dialed, "placed"), (one.rang, "ringing")]
            moments += [(one.answered, "answered"), (one.decided, CALLS.get(one.outcome, "failed"))]
            seen += [(t, place, _id(one), event) for place, (t, event) in enumerate(moments) if t is not None]
        for t, _, call, event in sorted(seen):
            with suppress(StaleEventError):
                pacer.call(call, event, t)

    def _fill(self, name: str, work: Work, scene: Scene) -> None:
        """Put on the shelf what the book has; what is being dialed or looked at is not among it."""
        self._write()
        work.shelf, work.attempts, work.zones = Shelf([hours.parse(one) for one in work.campaign.hours]), {}, {}
        for entry, zone, attempts, due in self.book.ready(name):
            work.zones[entry], work.attempts[entry] = zone, attempts
            if (name, entry) not in scene.leads and (name, entry) not in scene.here:
                work.shelf.put(entry, zone, due)

    def _catch_up(self, until: int) -> None:
        """What the journal says that the book does not know yet; then nothing is open that the engine has not."""
        for entry in self._journaled(self._revision, until):
            self._follow(entry)
        scene = self._look()
        self._poll()
        self._follow_waiting()
        for key, attempt in list(self._open.items()):
            if key not in scene.here and attempt.dialed < scene.now:
                for effect in ("attempt_outcome", "attempt_ended"):
                    about = {"campaign": key[0], "entry": str(key[1]), "attempt": attempt.attempt, "outcome": "lost"}
                    self._note({"t": scene.now, "effect": effect, **about})
        self._write()

    # ---- following the journal

    def _journaled(self, after: int, until: int) -> Iterator[Entry]:
        try:
            yield from self._engine.entries(after, until)
        except CompactedError:
            log.warning("the journal does not go back to where the book of campaigns ends")

    def _follow_waiting(self, until: float = math.inf) -> None:
        while self._waiting and self._waiting[0].t <= until:
            self._follow(self._waiting.popleft())

    def _follow(self, entry: Entry) -> None:
        for effect in entry.effects:
            if effect["effect"].startswith("attempt_"):
                self._note(effect)
            elif effect["effect"] == "lead_over":
                self._lead_over(effect)
        self._revision = entry.revision
        self.now = max(self.now, entry.t)

    def _note(self, effect: dict[str, Any]) -> None:
        """What has happened to an attempt."""
        campaign, kind, t = effect["campaign"], effect["effect"], effect["t"]
        key = (campaign, _entry(effect))
        work = self.works.get(campaign)
        if kind == "attempt_dialed":
            count = effect["attempt"] or self._attempts_of(key) + 1
            self._open[key] = Attempt(*key, count, t)
            self._places[key] = Place(*key, "calling", count, 0.0, "")
            self._tell(work, self._open[key], "placed", t)
        attempt = self._open.get(key)
        if attempt is None:
            return
        self._attempts[(*key, attempt.attempt)] = attempt
        if kind == "attempt_ringing":
            attempt.rang = t
            self._tell(work, attempt, "ringing", t)
        elif kind == "attempt_answered":
            attempt.answered = t
            self._tell(work, attempt, "answered", t)
        elif kind == "attempt_outcome" and attempt.decided is None:
            attempt.decided, attempt.outcome, attempt.agent = t, effect["outcome"], effect.get("agent", "")
            attempt.machine = effect.get("machine")
            if attempt.agent:
                self._tell_agent(attempt.agent, "talk", t)
            self._tell(work, attempt, CALLS.get(attempt.outcome, "failed"), t)
        elif kind == "attempt_ended":
            attempt.ended = t
            del self._open[key]
            self._put_back(work, attempt)

    def _attempts_of(self, key: tuple[str, int]) -> int:
        """How often an entry was dialed."""
        place = self._places.get(key)
        return place.attempts if place is not None else self.book.attempts_of(*key)

    def _lead_over(self, effect: dict[str, Any]) -> None:
        """A lead was not dialed: once more later, unless the agent who skipped it decides for good."""
        campaign, entry, t = effect["campaign"], _entry(effect), effect["t"]
        work = self.works.get(campaign)
        if effect["reason"] in ("expired", "no_answer"):
            self._missed.add(effect["agent"])
        if work is None or work.campaign.mode != "preview":
            return
        self._tell(work, Attempt(campaign, entry, effect["attempt"], t), "cancelled", t)
        wait: float | None = RETRY_S
        if effect["reason"] == SKIPPED:
            wait = work.campaign.redial.get(SKIPPED)
            due, state = (0.0, "done") if wait is None else (t + wait, "ready")
            self._places[campaign, entry] = Place(campaign, entry, state, effect["attempt"] - 1, due, SKIPPED)
        if wait is not None and entry in work.zones:
            work.shelf.put(entry, work.zones[entry], t + wait)

    def _tell(self, work: Work | None, attempt: Attempt, event: CallEvent, t: float) -> None:
        if work is not None and event == "machine":
            work.pacer.ledger.set_false_positives(_person(attempt))
        group = None if work is None else self._groups.get(kind_of(work.campaign))
        if group is not None:
            with suppress(StaleEventError):  # known already, or placed so long ago that the pacer was not told
                group.call(attempt.campaign, _id(attempt), event, t)

    def _put_back(self, work: Work | None, attempt: Attempt) -> None:
        """Once more later, or never."""
        key, ended = (attempt.campaign, attempt.entry), attempt.ended or 0.0
        campaign = self._gone.get(attempt.campaign) if work is None else work.campaign
        wait = None if campaign is None or campaign.mode == "manual" else campaign.redial.get(attempt.outcome)
        if wait is None or campaign is None or attempt.attempt >= campaign.attempts:
            self._places[key] = Place(*key, "done", attempt.attempt, 0.0, attempt.outcome)
            return
        self._places[key] = Place(*key, "ready", attempt.attempt, ended + wait, attempt.outcome)
        if work is not None and attempt.entry in work.zones:
            work.attempts[attempt.entry] = attempt.attempt
            work.shelf.put(attempt.entry, work.zones[attempt.entry], ended + wait)

    def _write(self) -> None:
        """Bring the book to where we are."""
        if self._revision > self._written or self._attempts:
            self.book.follow(self._revision, self._attempts.values(), self._places.values())
            self._attempts.clear()
            self._places.clear()
            self._written, self._written_at = self._revision, self.now

    # ---- who is there

    def _look(self) -> Scene:
        scene: Scene = self._engine.read_calls(self._scene).result()
        self._pause = max(STEP_S, scene.cost / SHARE)
        return scene

    def _scene(self, board: Switchboard | None) -> Scene:
        """On the writer's thread."""
        if board is None:
            return Scene(self.now, frozenset(), {}, {}, frozenset())
        if board.state.campaigns and board.acd.center is not self._center:
            self._center = board.acd.center
            queues = {queue for queue, _ in self._groups}
            self._teams = {queue: team_of(self._center, queue, queues) for queue in queues}
        return look_at(board, self._teams)

    def _tell_agent(self, agent: str, state: AgentState, t: float, own: bool = False) -> None:
        """``own``: she looks at a lead, or one is dialed for her: to whoever previews it is the call that counts."""
        for kind, group in self._groups.items():
            queue, previews = kind
            shown: AgentState = "idle" if own and previews else state
            if agent in self._teams[queue][0] and self._told.get((kind, agent)) != shown:
                self._told[kind, agent] = shown
                group.agent(agent, shown, t)

    def _tell_scene(self, scene: Scene) -> None:
        self.now = max(self.now, scene.now)
        for agent, state in scene.agents.items():
            self._tell_agent(agent, state, scene.now, agent in scene.own)
        for (queue, _), group in self._groups.items():
            for pacer in group.campaigns.values():
                pacer.inbound(scene.waiting.get(queue, 0), scene.now)
        for name, work in self.works.items():
            was, work.running = work.running, name in scene.running
            if work.running and (not was or name in self._renew):
                self._renew.discard(name)
                self._fill(name, work, scene)

    # ---- deciding

    def step(self) -> float:
        """Do what is to be done now; seconds until something is to be done again if nothing happens before. After an
        error the next step does what this one did not, with the lists as the book has them."""
        with self._turn:
            try:
                return self._step()
            except BaseException:
                self._renew.update(self.works)
                raise

    def _step(self) -> float:
        scene = self._look()
        self._poll()
        quiet = not self._waiting
        self._follow_waiting(scene.now)
        self._tell_scene(scene)
        self._follow_waiting()
        if self.now - self._written_at >= WRITE_S:
            self._write()
        if not any(work.running for work in self.works.values()):
            return IDLE_S
        ready = (agent for agent in self._missed if scene.agents.get(agent, "away") != "away")
        events = [{"event": "agent_away", "agent": agent, "reason": "no_answer"} for agent in sorted(ready)]
        free = [agent for agent in scene.free if agent not in self._missed]
        self._missed.clear()
        try:
            for group in self._groups.values():
                events.extend(self._decide(group, free))
        finally:
            self._do(events)
        if not events and quiet:
            self._engine.submit({"event": "clock"}, actor=ACTOR).result()  # so that time goes on in the journal
        look = min((work.plan.look for work in self.works.values() if work.plan is not None), default=math.inf)
        return min(max(look - self.now, QUIET_S), IDLE_S)

    def _poll(self) -> None:
        """Take what is new; where that is too much for a subscription, from the journal."""
        while True:
            try:
                if self._subscription is None:
                    self._resume()
                    continue
                found = self._subscription.poll()
            except SlowReaderError:
                self._subscription = None
                continue
            if not found:
                return
            self._waiting.extend(found)

    def _resume(self) -> None:
        made = self._subscribe()
        try:
            reached = self._waiting[-1].revision if self._waiting else self._revision
            self._waiting.extend(self._journaled(reached, made.revision))
        except BaseException:
            made.close()
            raise
        self._subscription = made

    def _subscribe(self) -> Subscription:
        made = self._engine.subscribe(self._engine.state.revision)
        made.on_ready = self._wake.set
        return made

    def _decide(self, group: PacerGroup, free: list[str]) -> Iterator[dict[str, Any]]:
        """The events that the plans of a group ask for. ``free``: agents for leads, who are taken from it."""
        works = {name: self.works[name] for name in group.campaigns}
        if not any(work.running for work in works.values()):
            return
        counts = {name: work.shelf.count(self.now) if work.running else 0 for name, work in works.items()}
        plans = group.plan(self.now, {name: [Leads(count=count)] for name, count in counts.items()})
        for name, plan in plans.items():
            works[name].plan = plan
            if works[name].campaign.mode == "preview":
                yield from self._offers(name, works[name], sum(plan.dial), free)
                continue
            for call in plan.cancel:
                entry = str(call).partition(".")[0]
                yield {"event": "campaign_cancelled", "campaign": name, "entry": entry}
            yield from self._dials(name, works[name], sum(plan.dial))

    def _next(self, name: str, work: Work) -> dict[str, Any] | None:
        """The next entry that may be dialed now, as the fields of an event."""
        while (entry := work.shelf.take(self.now)) is not None:
            pending = self._places.get((name, entry))
            if (name, entry) in self._open or (pending is not None and pending.state != "ready"):
                continue
            if not self.book.may_dial(name, entry):
                continue
            attempt = Attempt(name, entry, work.attempts[entry] + 1, self.now)
            self._tell(work, attempt, "placed", self.now)
            return {"campaign": name, "entry": str(entry), "attempt": attempt.attempt}
        return None

    def _dials(self, name: str, work: Work, count: int) -> Iterator[dict[str, Any]]:
        for _ in range(count):
            found = self._next(name, work)
            if found is None:
                return
            yield {"event": "campaign_dialed", **found}

    def _offers(self, name: str, work: Work, count: int, free: list[str]) -> Iterator[dict[str, Any]]:
        """Each to the agent of the team who has been free for longest."""
        team = set(self._teams[work.campaign.queue][0])
        for agent in [agent for agent in free if agent in team][:count]:
            found = self._next(name, work)
            if found is None:
                return
            free.remove(agent)
            yield {"event": "lead_offered", "agent": agent, **found}

    def _do(self, events: list[dict[str, Any]]) -> None:
        """What the engine refuses to dial is tried again later; a cancelling that came too late is none."""
        refused = events
        try:
            outcomes = self._engine.submit_many(events, actor=ACTOR).result() if events else []
            refused = [one.entry.event for one in outcomes if one.entry.error is not None]
        finally:
            for event in refused:
                if event["event"] in ("campaign_dialed", "lead_offered"):
                    work, entry = self.works[event["campaign"]], int(event["entry"])
                    self._tell(work, Attempt(event["campaign"], entry, event["attempt"], 0.0), "cancelled", self.now)
                    work.shelf.put(entry, work.zones[entry], self.now + RETRY_S)

    # ---- at work

    def start(self) -> None:
        """Work in a thread, until ``close``."""
        self._thread = threading.Thread(target=self._run, name="cordboard-dialer", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopping:
            wait = IDLE_S
            try:
                wait = self.step()
            except UnavailableError:
                if self._engine.state.status == "closed":
                    return
            except Exception:  # whatever it is: nobody else looks after the calls that ring
                log.exception("campaigns can't go on for now")
            self._wake.wait(wait)
            self._wake.clear()
            time.sleep(self._pause)

    def status(self, name: str) -> Status:
        """How a campaign is. UnknownNameError if there is none of that name."""
        work = self.works.get(name)
        if work is None:
            raise UnknownNameError(f'there is no campaign "{name}"', Where(key="name"), nearest(name, self.works))
        with self._turn:
            self._write()
            counts = self.book.counts(name)
            windows = work.pacer.ledger.windows(max(self.now, work.pacer.ledger.now))
            outcomes = {key: count for key, count in counts["attempts"].items() if key}
            asked = work.campaign.mode
            return Status(name, work.running, asked, work.plan, counts["entries"], outcomes, windows)

    def results(self, name: str) -> Iterator[tuple[Any, ...]]:
        """What has come of every entry of a list, up to now; see ``Book.results``."""
        with self._turn:
            self._write()
        return self.book.results(name)

    # ---- what agents ask for

    def check(self, campaign: str, entry: str) -> float:
        """Whether an entry may be dialed for an agent at this moment; seconds until it is its turn. EventError says why
        not."""
        with self._turn:
            work, now = self.works[campaign], self._engine.state.t
            number, zone = self.book.zone_of(campaign, int(entry)) if entry.isdigit() else ("", "")
            here = Where(key="number")
            if not number or self.book.blocked([number]):
                raise EventError("that number is not to be called", here, "It is in the do-not-call list")
            if not hours.is_open([hours.parse(one) for one in work.campaign.hours], now, zoneinfo.ZoneInfo(zone)):
                what = f"that number can't be called at this hour, by the time of {zone}"
                raise EventError(what, here, "Wait until the hours of the campaign")
            if work.campaign.mode == "manual":
                self._write()
                made = self.book.attempts_since(campaign, int(entry), now - DAY_S)
                if made >= work.campaign.attempts:
                    what = f"that number was called {made} times within 24 hours"
                    raise EventError(what, here, "Call it another day")
            wait = max(0.0, work.turn - now)
            if wait > TURN_MAX_S:
                raise LimitError("too many calls a second", round(work.campaign.calls_per_second), "Try again")
            work.turn = max(work.turn, now) + 1.0 / work.campaign.calls_per_second
            return wait

    def renew(self, campaign: str) -> None:
        """The list of a campaign has changed."""
        self._renew.add(campaign)
        self._wake.set()

    def close(self) -> None:
        """Dial no more; calls go on. The book is written, and open for whoever made it."""
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        if self._subscription is not None:
            self._subscription.close()
        try:
            self._write()
        except StoreError as error:  # the next one takes it from the journal
            log.warning("the book of campaigns is behind: %s", error)


def _entry(effect: dict[str, Any]) -> int:
    """The entry of a list that an effect speaks of; -1 for one that no book numbered."""
    return int(effect["entry"]) if effect["entry"].isdecimal() else -1


def _id(attempt: Attempt) -> str:
    """What a pacer knows an attempt by."""
    return f"{attempt.entry}.{attempt.attempt}"


def _person(attempt: Attempt) -> float:
    """How probable a person answered: what a rule counts as dropped of a call that was taken for a machine."""
    return 0.0 if attempt.machine is None else 1.0 - attempt.machine


def _answered(attempt: Attempt) -> AnsweredCall:
    """An attempt as the ledger counts it."""
    decided = attempt.decided
    agent = decided if attempt.outcome == "connected" else None
    left = decided if attempt.outcome == "hung_up" else None
    machine = attempt.outcome == "machine"
    return AnsweredCall(attempt.answered or 0.0, None, None, agent, left, machine)
