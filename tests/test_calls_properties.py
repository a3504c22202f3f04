"""Whatever people, phones and nodes do: no leg, no contact and no agent is lost, and everybody hears whom they should."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from cordboard import Acd
from cordboard.calls.config import Calls, calls_record, parse_calls
from cordboard.calls.state import Phase, Stage, hears
from cordboard.calls.switchboard import Switchboard
from cordboard.errors import EventError
from cordboard.journal import EVENTS, told
from cordboard.media.backend import Cause, HandedOver
from cordboard.media.simulated import FarEnd
from tests.floor import CALLS, CENTER, NODE, Floor
from tests.flow_text import EVERY_KIND

CROWD_CENTER = (
    CENTER.replace("wrap_up = 5", 'wrap_up = 5\nmax_wait = 60\noverflow = "general"\nmax_waiting = 4')
    + "[agents.zhao]\nskills = { zh = 3 }\n[queues.mails]\nchannel = 'email'\n[queues.general]\nmax_wait = 40\nstrategy = 'ring_all'\n[queues.spring]\nmax_wait = 2\n"
)
CROWD_CENTER += "[agents.ada]\nqueues = ['general']\n"
CROWD_CALLS = (
    CALLS.replace("full = ", 'record = 0.7\nrecord_only = "in"\nconsent = "told"\nkeep_days = 90\nfull = ')
    + '[phones.zhao]\nto = "sip:zhao"\nnailed_up = true\n[numbers.4002]\nqueue = "general"\n'
    + '[numbers.4003]\nflow = "main"\n'
    + '[bots.ada]\nto = "wss://ada"\nthen = "billing"\nrest = 5\n'
    + '[campaigns.spring]\nqueue = "spring"\ntrunk = "main"\nmessage = ["sorry"]\ndetect = true\n'
    + '[campaigns.summer]\nqueue = "billing"\ntrunk = "main"\nmode = "preview"\npreview = 8\n'
    + '[campaigns.desk]\nqueue = "general"\ntrunk = "main"\nmode = "manual"\n'
)
AGENTS = ("li", "wang", "zhao")
BOTS = (
    FarEnd(rings=None, picks_up=0.2),
    FarEnd(rings=None, picks_up=0.2, hands_over=(2.0, "billing")),
    FarEnd(rings=None, picks_up=0.2, vanishes=1.0),
    FarEnd(picks_up=0.1, refuses=Cause.UNREACHABLE),
)
PHONES = (
    FarEnd(rings=0.1, picks_up=1.0),
    FarEnd(rings=0.1, picks_up=None),
    FarEnd(picks_up=2.0, refuses=Cause.BUSY),
    FarEnd(picks_up=1.0, hangs_up=15.0),
    FarEnd(picks_up=0.0, vanishes=5.0),
    FarEnd(rings=0.2, picks_up=3.0, early=((425.0, 0.0, 9.0),)),
)
CALLERS = (
    FarEnd(),
    FarEnd(gives_up=0.0),
    FarEnd(hangs_up=2.0),
    FarEnd(hangs_up=12.0, presses=((1.0, "1"),)),
    FarEnd(hangs_up=70.0),
    FarEnd(vanishes=10.0),
    FarEnd(hangs_up=90.0, speaks=((2.0, "nothing"), (3.5, "billing"), (8.0, "billing"))),
)


PEOPLE = (
    FarEnd(rings=0.5, picks_up=2.0, hangs_up=20.0, says=((0.3, 0.8),)),
    FarEnd(rings=0.5, picks_up=1.0, says=((0.2, 9.0),)),
    FarEnd(rings=0.5, picks_up=1.0, hangs_up=1.0),
    FarEnd(rings=0.5, picks_up=None),
    FarEnd(picks_up=2.0, refuses=Cause.BUSY),
    FarEnd(rings=0.5, picks_up=1.0, vanishes=3.0),
    FarEnd(rings=0.5, picks_up=3.0, early=((425.0, 0.0, 9.0),), hangs_up=10.0),
)


class Crowd(Floor):
    """A floor where anything may be done at any time. ``n`` chooses."""

    def __init__(self) -> None:
        super().__init__(CROWD_CENTER, CROWD_CALLS, {}, {"main": EVERY_KIND})
        for campaign in ("spring", "summer", "desk"):
            self.apply("campaign_started", campaign=campaign)
        self.said: list[dict] = []  # reports that may come again

    def report(self, event: dict) -> None:
        self.said.append(dict(event))
        super().report(event)

    def any_leg(self, n: int) -> str:
        legs = sorted(self.media.legs())
        return legs[n % len(legs)] if legs else "nobody"

    def any_contact(self, n: int) -> str:
        calls = self.board.by_contact
        contacts = [name for name, call in calls.items() if call.stage == Stage.TALKING or n % 8 == 0] or list(calls)
        return contacts[n % len(contacts)] if contacts else "nobody"

    def attempt(self, kind: str, **fields) -> None:
        try:
            self.apply(kind, **fields)
        except EventError as error:
            self.refused.append(error)

    def agent_does(self, n: int) -> None:
        kinds = ("agent_ready",) * 6 + ("agent_away", "agent_offline")
        self.attempt(kinds[n // 3 % 8], agent=AGENTS[n % 3])

    def phone_is(self, n: int) -> None:
        self.phones[f"sip:{(*AGENTS, 'boss', '139')[n % 5]}"] = PHONES[n // 5 % len(PHONES)]

    def bot_is(self, n: int) -> None:
        self.phones["wss://ada"] = BOTS[n % len(BOTS)]

    def hand_over(self, n: int) -> None:
        """Whatever leg it is of: a bot's most often."""
        legs = [leg.name for leg in self.board.state.legs.values() if leg.person == "ada"] * 4 + [self.any_leg(n)]
        to = ({"to_queue": "billing"}, {"to_agent": AGENTS[n % 3]}, {}, {"to_queue": "nowhere"})[n // 3 % 4]
        why = ("", "it is dead")[n // 12 % 2]
        self.media.hand_over(legs[n % len(legs)], HandedOver(legs[n % len(legs)], "138", **to, why=why, transcript=(("bot", "hello"),)))
        self.pump()

    def somebody_calls(self, n: int) -> None:
        self.call(CALLERS[n % len(CALLERS)], to=("4001", "4003", "4002", "4003", "4003", "4999")[n // 6 % 6])

    def press(self, n: int) -> None:
        """Any key, on a leg of a caller in a flow if there is one."""
        legs = [call.legs[0] for call in self.board.state.calls.values() if call.flow is not None and call.legs]
        self.media.press(legs[n % len(legs)] if legs else self.any_leg(n), "1123456#*"[n // 5 % 9])

    def look_up(self, n: int) -> None:
        calls = [call for call in self.board.state.calls.values() if call.flow is not None]
        if calls:
            call = calls[n % len(calls)]
            fields = {"call": call.name, "token": str(call.flow.said), "answer": ("gold", "bad", "none")[n // 4 % 3]}
            self.attempt("call_looked_up", **fields, values={"account": "137"})

    def hear(self, n: int) -> None:
        """A word or another, from a recognizer or another program; somebody speaks, and never ends."""
        leg, text = self.any_leg(n), ("billing", "the weather")[n // 7 % 2]
        if n % 4 == 0:
            self.attempt("call_heard", call=leg, text=text)
        elif n % 4 == 1:
            self.attempt("leg_recognized", node=NODE, leg=leg, token=self.media.listened_for(leg), text="", confidence=0.0, final=False)
        else:
            self.media.speak(leg, text)

    def somebody_hangs_up(self, n: int) -> None:
        self.media.hang_up(self.any_leg(n))

    def click(self, n: int) -> None:
        kind = ("offer_declined", "contact_left", "contact_ended", "offer_accepted")[n // 3 % 4]
        agent = {"agent": AGENTS[n % 3]} if kind.startswith("offer") else {}
        self.attempt(kind, contact=self.any_contact(n // 12), **agent)

    def transfer(self, n: int) -> None:
        to = {"to_agent": AGENTS[n % 3]}, {"to_queue": "general"}, {"to_number": "139"}, {"to_queue": "billing"}
        self.attempt("call_transferred", contact=self.any_contact(n // 12), **to[n // 3 % 4])

    def consult(self, n: int) -> None:
        to = {"to_agent": AGENTS[n % 3]}, {"to_number": "139"}
        self.attempt("call_consulted", contact=self.any_contact(n // 6), **to[n // 3 % 2])

    def end_consult(self, n: int) -> None:
        outcome = ("transfer", "conference", "cancel")[n % 3]
        self.attempt("call_consult_ended", contact=self.any_contact(n // 3), outcome=outcome)

    def hold(self, n: int) -> None:
        self.attempt(("call_held", "call_resumed")[n % 2], contact=self.any_contact(n // 2))

    def mute(self, n: int) -> None:
        self.attempt("call_muted", contact=self.any_contact(n // 2), on=n % 2 == 0)

    def park(self, n: int) -> None:
        self.attempt("call_parked", contact=self.any_contact(n // 2), slot=f"p{n % 2}")

    def pick_up(self, n: int) -> None:
        self.attempt("call_picked_up", slot=f"p{n % 2}", agent=AGENTS[n // 2 % 3])

    def monitor(self, n: int) -> None:
        who = {"contact": self.any_contact(n // 10), "supervisor": ("boss", "wang")[n // 5 % 2]}
        if n % 5 < 3:
            self.attempt("call_monitored", mode=("listen", "whisper", "barge")[n % 5], **who)
        else:
            self.attempt(("call_unmonitored", "call_taken_over")[n % 5 - 3], **who)

    def pause(self, n: int) -> None:
        self.attempt("call_recording", contact=self.any_contact(n // 2), on=n % 2 == 0)

    def campaign(self, n: int) -> None:
        entry = f"e{n % 4}"
        self.phones[entry] = PEOPLE[n // 4 % len(PEOPLE)]
        if n // 20 % 5 < 4:
            self.attempt("campaign_dialed", campaign="spring", entry=entry, attempt=1)
        elif n % 2:
            call = self.board.dialing.find("spring", entry)
            if call is not None and n % 3 == 0:  # picked up at this very moment
                self.media.pick_up(call.legs[0])
            self.attempt("campaign_cancelled", campaign="spring", entry=entry)
        else:
            campaign = ("spring", "summer", "desk")[n // 200 % 3]
            self.attempt(("campaign_paused", "campaign_started")[n // 100 % 2], campaign=campaign)

    def reload(self, n: int) -> None:
        """Another file of calls, in which something is gone, or the first one again."""
        gone = ("[numbers.4003]", "[phones.zhao]", "[bots.ada]", "[campaigns.spring]", "[campaigns.summer]")
        parts = re.split(r"(?m)^(?=\[)", CROWD_CALLS)
        text = "".join(part for part in parts if n % 2 or not part.startswith(gone[n // 2 % len(gone)]))
        self.apply("calls_changed", calls=calls_record(parse_calls(text, self.center, flows={"main": EVERY_KIND})))
        self.attempt("campaign_started", campaign=("spring", "summer")[n % 2])

    def lead(self, n: int) -> None:
        """Entries of a list that an agent sees first, and numbers that agents dial."""
        agent, kind = AGENTS[n % 3], ("offered", "offered", "accepted", "accepted", "skipped", "dialed", "cancelled")[n // 3 % 7]
        open_lead = self.board.state.leads.get(agent)
        entry = f"p{n // 21 % 4}" if open_lead is None else open_lead.entry
        self.phones[entry] = PEOPLE[n // 84 % len(PEOPLE)]
        fields = {"campaign": "desk" if kind == "dialed" else "summer", "entry": entry, "agent": agent}
        if kind == "offered":
            self.attempt("lead_offered", attempt=1, **fields)
        elif kind == "cancelled":
            call = next((call for call in self.board.state.calls.values() if call.placed_by == agent), None)
            if call is not None:
                self.attempt("campaign_cancelled", campaign=call.campaign, entry=call.entry)
        else:
            self.attempt(f"lead_{kind}", **fields)

    def report_again(self, n: int) -> None:
        if self.said:
            super().report(dict(self.said[n % len(self.said)]))

    def node_dies(self, n: int) -> None:
        """And what it still wanted to say is lost, or comes too late."""
        late = self.media.reports(0.0) if n % 2 else []
        self.media.close()
        self.media = self.node(self.media.now)
        self.apply("node_lost", node=NODE)
        for _ in late:
            self.report_again(n)
        self.apply("node_attached", node=NODE, capacity=1000, legs=[])

    def engine_misses_a_while(self, n: int) -> None:
        """Reports and commands are lost on the way until the node attaches again."""
        send, self.media.send = self.media.send, lambda commands: None
        self.steps[n % len(self.steps)](self, n // len(self.steps))
        self.media.reports(0.0)
        self.media.advance(self.media.now + 3.0)
        self.media.reports(0.0)
        self.media.send = send
        self.apply("node_attached", node=NODE, capacity=1000, legs=sorted(self.media.legs()))

    def node_drains(self, n: int) -> None:
        self.attempt("node_draining", node=NODE, on=n % 2 == 0)

    def wait(self, n: int) -> None:
        self.run((0.5, 1.0, 3.0, 10.0, 30.0)[n % 5])

    steps: tuple[Callable[[Crowd, int], None], ...] = (
        agent_does, somebody_calls, somebody_hangs_up, click, transfer, consult, end_consult, hold, mute, park, pick_up,
        monitor, pause, phone_is, wait, campaign, report_again,
        press, press, look_up, hear, lead, lead, lead, bot_is, hand_over, hand_over, reload,
    )  # fmt: skip

    def agree(self) -> None:
        """The node and the switchboard have the same legs, and everybody hears whom they should."""
        self.pump()
        state = self.board.state
        assert self.media.legs() == set(state.legs)
        assert +self.board.held == Counter(leg.node for leg in state.legs.values())
        for call in state.calls.values():
            for name in call.legs:
                leg = state.legs[name]
                wanted = set(hears(state, call, leg)) | set(leg.play[0] if leg.play[1] else ())
                heard = {one for one in self.media.hears(name) if one in state.legs or one in ("music", "hold", "ringback")}
                tape = state.calls[leg.call] if leg.call else None
                assert tape is None or not (tape.recording and tape.consent), "recorded before it was told"
                assert leg.phase != Phase.UP or heard == wanted, leg
                assert leg.phase != Phase.UP or self.media.listened_for(name) == leg.listens[0], leg
            assert call.stage != Stage.TALKING or len(call.legs) > 1
        for leg in state.legs.values():
            assert leg.call or not self.media.hears(leg.name)


OFTEN = (*(Crowd.agent_does, Crowd.press) * 2, Crowd.somebody_calls, Crowd.somebody_calls, *(Crowd.wait,) * 5)
RARELY = (Crowd.node_drains, Crowd.node_dies, Crowd.engine_misses_a_while)
STEPS = st.lists(
    st.tuples(st.sampled_from((*Crowd.steps, *OFTEN, *Crowd.steps, *OFTEN, *RARELY)), st.integers(0, 999)),
    min_size=20,
    max_size=80,
)


@settings(max_examples=100, deadline=None)
@given(STEPS)
def test_whatever_happens_every_leg_and_contact_is_in_one_place_and_ends(steps):
    # Given a floor with agents
    floor = Crowd()
    floor.ready("li", "zhao")
    # When anything happens
    for step, n in steps:
        step(floor, n)
        floor.agree()
    # Then, when all hang up and go home, nothing is left
    for agent in AGENTS:
        floor.attempt("agent_offline", agent=agent)
    for _ in range(9):  # a bot does not go home: who is called back talks to it
        for leg in sorted(floor.media.legs()):
            floor.media.hang_up(leg)
        floor.run(600.0)
    for effect in list(floor.effects):  # a voicemail waits for an agent, and all of them are home
        if effect["effect"] == "contact_queued" and effect["contact"].startswith("voicemail-"):
            floor.attempt("contact_left", contact=effect["contact"])
    floor.agree()
    state, counts = floor.board.state, floor.board.acd.counts()
    assert not state.legs and not state.calls and state.entered == state.ended
    assert counts["entered"] == counts["ended"]
    # And every attempt has come out in one way, with everything in order
    attempts: list[list[str]] = []
    going: dict[str, list[str]] = {}
    for effect in [one for one in floor.effects if one["effect"].startswith("attempt_")]:
        key = effect["campaign"], effect["entry"]
        if key not in going:
            attempts.append([])
            going[key] = attempts[-1]
        going[key].append(effect["effect"].removeprefix("attempt_"))
        if effect["effect"] == "attempt_ended":
            del going[key]
    dials = [one for one in floor.effects if one["effect"] == "leg_dial" and "entry" in one]
    assert not going and len(attempts) == len(dials)
    for steps_of in attempts:
        assert steps_of[-2:] == ["outcome", "ended"] and steps_of.count("outcome") == 1
        assert steps_of[:-2] == [one for one in ("dialed", "ringing", "answered") if one in steps_of]
    every_lead_has_one_end(floor)
    assert not state.leads


def every_lead_has_one_end(floor: Crowd) -> None:
    """What an agent was offered was dialed or is over, one after the other; and whoever answered had her at once."""
    looks: dict[str, tuple[str, str]] = {}
    for effect in floor.effects:
        kind, agent = effect["effect"], effect.get("agent", "")
        if kind == "lead_offered":
            assert agent not in looks
            looks[agent] = effect["campaign"], effect["entry"]
        elif kind == "lead_over" or (kind == "attempt_dialed" and agent):
            assert looks.pop(agent, None) in (None if effect["campaign"] == "desk" else (effect["campaign"], effect["entry"]),)
    assert not looks
    dialed: dict[tuple[str, str], str] = {}  # entry -> the leg of its last attempt
    given_up: set[str] = set()
    for effect in floor.effects:
        if effect["effect"] == "leg_dial" and "entry" in effect:
            dialed[effect["campaign"], effect["entry"]] = effect["leg"]
        elif effect["effect"] == "leg_hang_up":
            given_up.add(effect["leg"])
        elif effect["effect"] == "attempt_outcome" and effect["campaign"] != "spring":
            assert effect["outcome"] not in ("hung_up", "machine")
            late = dialed[effect["campaign"], effect["entry"]] in given_up
            assert effect["outcome"] != "dropped" or late, "only who answers while the agent gives up gets nobody"


def apply(acd: Acd, event: dict | None) -> None:
    if event is not None:
        acd.apply(event)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_a_replay_of_any_journal_gives_the_same_and_what_the_routing_was_told_is_complete(steps):
    floor = Crowd()
    floor.ready("li", "zhao")
    for step, n in steps:
        step(floor, n)
    # When the journal is replayed, and beside it what the switchboard told the routing
    board, acd = Switchboard(Acd(floor.center), Calls()), Acd(floor.center)
    effects: list[dict] = []
    for event in floor.journal:
        error = None
        try:
            here = board.apply(event)
        except EventError as refused:
            here, error = list(refused.effects), refused
        effects += here
        for effect in [effect for effect in here if effect["t"] < event["t"]]:
            apply(acd, told(effect))
        apply(acd, None if error or event["event"] not in EVENTS else event)
        for effect in [effect for effect in here if effect["t"] >= event["t"]]:
            apply(acd, told(effect))
        acd.advance(event["t"])
    # Then the effects are the same to the byte, and an Acd that is told the same decides the same
    assert effects == floor.effects and board.state.record() == floor.board.state.record()
    assert acd.counts() == floor.board.acd.counts()
    assert acd.state() == floor.board.acd.state()
