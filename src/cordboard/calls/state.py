"""What a switchboard knows: nodes, legs and calls, as plain data that can be dumped and loaded.

A *call* is legs that belong together; it is named after the leg that it began with. A leg is in one place: in a call,
or an agent's nailed-up phone at rest, or being hung up.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, TypeVar

from cordboard.calls.flow_state import FlowState
from cordboard.errors import SnapshotError
from cordboard.media.backend import RINGBACK

VERSION = 1
Play = tuple[tuple[str, ...], bool, str]  # prompts, whether again and again, token
SILENT: Play = ((), False, "")
Listening = tuple[str, str, tuple[str, ...]]  # token, language, words
DEAF: Listening = ("", "", ())
CONSENT = "consent"  # the token of what must be heard before a call is recorded
UNKNOWN: Play = ((), True, "")  # differs from all that may be wanted
UNHEARD: Listening = ("", "?", ())  # likewise
T = TypeVar("T")


class Phase(StrEnum):
    """Of a leg."""

    INCOMING = "incoming"  # after somebody called and we answered; the answer is not confirmed yet
    DIALED = "dialed"  # after we dialed
    RINGING = "ringing"  # after its phone said so
    UP = "up"  # after the answer: its audio is open
    CLOSING = "closing"  # after we hung up; its end is not confirmed yet


class Stage(StrEnum):
    """Of a call."""

    PHONING = "phoning"  # an agent who will talk is being phoned, before an entry of a campaign is dialed
    DIALING = "dialing"  # of a campaign, until somebody answers
    LISTENING = "listening"  # somebody answered a campaign; who it is, is being found out
    OPENING = "opening"  # until the answer is confirmed
    GREETING = "greeting"  # while the greeting is played
    FLOW = "flow"  # in a step of its flow
    WAITING = "waiting"  # its contact waits or is offered
    TALKING = "talking"  # with an agent, or with others after the agent left
    REACHING = "reaching"  # after a transfer to a number, until that answers
    PARKED = "parked"  # until somebody picks it up
    CALLING_BACK = "calling_back"  # an agent is there; who is to be called back is dialed
    RESTING = "resting"  # between two tries to call back
    GOODBYE = "goodbye"  # while the last announcement is played


class Role(StrEnum):
    """Of a leg in its call."""

    CALLER = "caller"
    AGENT = "agent"
    PARTY = "party"  # who was brought in by an agent
    SUPERVISOR = "supervisor"


class Mode(StrEnum):
    """What a supervisor does."""

    LISTEN = "listen"  # hears all, is heard by nobody
    WHISPER = "whisper"  # is heard by the agent
    BARGE = "barge"  # is heard by all


@dataclass(slots=True)
class Leg:
    """``call``: where it is, empty at rest and while closing. ``person``: whose phone it is, empty for others.
    ``early``: it sends audio before it is answered.
    ``heard``: names of the legs that it was told to hear, in order; ``play``: what it was told to play;
    ``listens``: for what it was told to be listened to."""

    name: str
    node: str
    role: str
    phase: str
    call: str = ""
    person: str = ""
    nailed: bool = False
    early: bool = False
    held: bool = False
    muted: bool = False
    mode: str = ""
    dial: dict[str, Any] = field(default_factory=dict)  # how it was dialed
    heard: list[str] = field(default_factory=list)
    play: Play = SILENT
    listens: Listening = DEAF


@dataclass(slots=True)
class Call:
    """``contact``: in the Acd, empty if there is none; ``contacts``: so many it had, which makes their names;
    ``agent``: who talks with it. ``consult``: the leg that its agent asks while the others are on hold."""

    name: str
    node: str
    stage: str
    number: str
    caller: str
    queue: str
    contact: str = ""
    contacts: int = 0
    agent: str = ""
    legs: list[str] = field(default_factory=list)
    goodbye: tuple[str, ...] = ()
    consult: str = ""
    slot: str = ""
    recording: str = ""
    recorded: list[str] = field(default_factory=list)  # the legs of the recording
    paused: bool = False
    consent: tuple[str, ...] = ()  # to be heard before it is recorded
    consented: tuple[str, ...] = ()  # was heard
    campaign: str = ""  # whose list it comes from
    entry: str = ""  # of that list
    attempt: int = 0
    outcome: str = ""  # once it is known
    placed_by: str = ""  # the agent who was there before the entry was dialed
    transcript: list[list[str]] = field(default_factory=list)  # of a bot that it talked with: who, what
    machine: float | None = None  # the probability that a machine answered, once it was judged
    agent_by: float | None = None  # by when somebody who picked up is to have an agent, until the outcome is known
    flow: FlowState | None = None


@dataclass(slots=True)
class Node:
    """A media node. ``capacity``: legs at once."""

    name: str
    capacity: int
    attached: bool = True
    draining: bool = False


@dataclass(slots=True)
class Lead:
    """An entry that an agent looks at before it is dialed. ``due``: until then, seconds."""

    agent: str
    campaign: str
    entry: str
    attempt: int
    due: float


@dataclass(slots=True)
class State:
    """All of it. ``entered`` and ``ended`` count legs: entered = ended + those that are here."""

    nodes: dict[str, Node] = field(default_factory=dict)
    legs: dict[str, Leg] = field(default_factory=dict)
    calls: dict[str, Call] = field(default_factory=dict)
    dialed: int = 0  # makes names of legs
    recordings: int = 0  # and of recordings
    entered: int = 0
    ended: int = 0
    campaigns: list[str] = field(default_factory=list)  # those that dial
    voicemails: dict[str, dict[str, Any]] = field(default_factory=dict)  # recordings that are not complete yet
    leads: dict[str, Lead] = field(default_factory=dict)  # of each agent who looks at one
    resting: dict[str, float] = field(default_factory=dict)  # bots that failed, and when they are back

    def record(self) -> dict[str, Any]:
        """As plain data."""
        record = asdict(self)
        for key in ("nodes", "legs", "calls", "leads"):
            record[key] = list(record[key].values())
        return {"version": VERSION, **record}

    @classmethod
    def of(cls, record: Any) -> State:
        """The state of such a record. SnapshotError if it is none."""
        try:
            if record["version"] != VERSION:
                what = f"the dump of calls has version {record['version']}, this is cordboard for version {VERSION}"
                raise SnapshotError(
                    what, hint="Replay the journal from its beginning, or use the version that wrote it"
                )
            state = cls(
                {each["name"]: _made(Node, each) for each in record["nodes"]},
                {each["name"]: _made(Leg, each) for each in record["legs"]},
                {each["name"]: _made(Call, each) for each in record["calls"]},
                *(int(record[key]) for key in ("dialed", "recordings", "entered", "ended")),  # type: ignore[arg-type]
            )
            state.campaigns = [str(name) for name in record.get("campaigns", ())]
            state.voicemails = {str(name): dict(mail) for name, mail in record.get("voicemails", {}).items()}
            state.leads = {each["agent"]: _made(Lead, each) for each in record.get("leads", ())}
            state.resting = {str(name): float(due) for name, due in record.get("resting", {}).items()}
            for leg in state.legs.values():
                prompts, again, token = leg.play
                leg.play = (tuple(prompts), bool(again), str(token))
                token, language, words = leg.listens
                leg.listens = (str(token), str(language), tuple(words))
            for call in state.calls.values():
                call.goodbye, call.consent = tuple(call.goodbye), tuple(call.consent)
                call.consented = tuple(call.consented)
                if call.flow is not None:
                    call.flow = FlowState.of(call.flow)  # type: ignore[arg-type]  # it is a record still
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, SnapshotError):
                raise
            raise SnapshotError(
                f"the dump of calls does not make sense: {error!r}", hint="Take an earlier one"
            ) from error
        return state


def _made(kind: type[T], record: dict[str, Any]) -> T:
    known = {one.name for one in fields(kind)}  # type: ignore[arg-type]
    return kind(**{key: value for key, value in record.items() if key in known})


# ---- audio: a wish about the present, made of the state alone


def hears(state: State, call: Call, sink: Leg) -> list[str]:
    """Names of the legs that a leg of a call is to hear, in the order in which they came."""
    called = called_for(state, call, sink)
    early = called.name if called is not None and called.early else ""
    if call.stage != Stage.TALKING or sink.held or sink.phase != Phase.UP:
        return [early] if early else []
    if call.consent and not state.legs[call.legs[0]].held:
        return []
    others = [name for name in call.legs if name != sink.name]
    return [name for name in others if name == early or _reaches(call, state.legs[name], sink)]


def called_for(state: State, call: Call, leg: Leg) -> Leg | None:
    """Who rings for the agent whose leg this is: a number that she dials or calls back, or whom she asks. Like whoever
    dials she hears what comes before the answer."""
    if leg.phase != Phase.UP or leg.held or leg.role == Role.SUPERVISOR:
        return None
    name = ""
    if call.stage in (Stage.DIALING, Stage.CALLING_BACK):
        name = call.legs[0]
    elif call.stage == Stage.TALKING and leg.person and leg.person == call.agent:
        name = call.consult
    found = state.legs.get(name)
    return found if found is not None and found is not leg and found.phase == Phase.RINGING else None


def _reaches(call: Call, source: Leg, sink: Leg) -> bool:
    if source.phase != Phase.UP or source.held or source.muted:
        return False
    if source.role != Role.SUPERVISOR:
        return True
    if source.mode == Mode.WHISPER:
        return sink.role == Role.AGENT and sink.person == call.agent
    return source.mode == Mode.BARGE


def plays(
    state: State, call: Call, leg: Leg, greeting: tuple[str, ...], music: tuple[str, ...], hold: tuple[str, ...]
) -> Play:
    """What a leg of a call is to be played."""
    if leg.phase != Phase.UP:
        return SILENT
    if leg.held:
        return (hold, True, "hold") if hold else SILENT
    if call.consent and call.stage == Stage.TALKING and leg.role in (Role.CALLER, Role.AGENT):
        return (call.consent, False, CONSENT)
    called = called_for(state, call, leg)
    if called is not None and not called.early:
        return ((RINGBACK,), True, RINGBACK)
    if leg.role != Role.CALLER:
        return SILENT
    if call.flow is not None and call.flow.says and call.stage in (Stage.FLOW, Stage.WAITING):
        return (call.flow.says, False, f"say{call.flow.said}")
    if call.consent and call.stage == Stage.WAITING:
        return (call.consent, False, CONSENT)
    again = {Stage.WAITING: music, Stage.REACHING: hold, Stage.PARKED: hold}.get(Stage(call.stage), ())
    if again:
        return (again, True, "music")
    once = {Stage.GREETING: greeting, Stage.GOODBYE: call.goodbye}.get(Stage(call.stage), ())
    return (once, False, call.stage) if once else SILENT
