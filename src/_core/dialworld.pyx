"""A world to judge pacing in: agents, a list of numbers, and people who answer or do not.

One event simulation: a dial has a post-dial delay, then rings; a person answers with a probability, others fail fast or
ring out; an answered caller waits a short time for an agent and is dropped after it. Talk and wrap-up times, agents who
leave and return, mixed lists, line limits, machines, inbound callers: see :class:`cordboard.pacing.world.World`.
"""

from libc.math cimport INFINITY, exp, log, sqrt
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

import numpy as np

from cordboard._core.dialworld_types cimport (
    COLUMNS, C_ANSWERS, C_BUSY, C_CAMPAIGN, C_CANCELLED, C_DIALS, C_DROPS, C_HIDDEN_DROPS, C_INBOUND,
    C_INBOUND_IN_TIME, C_MACHINES, C_REFUSED, C_RINGING, C_STAFFED, DIALING, EV_ANSWER, EV_BEAT, EV_CHANGE, EV_FAIL,
    EV_GIVE_UP, EV_INBOUND, EV_INBOUND_LEAVES, EV_LOOK, EV_MACHINE, EV_RINGING, EV_STALL_ENDS, EV_TALK_END,
    EV_WRAP_END, FREE, WAITING, Event_C, Call_C, Agent_C, Bucket_C, draw_erlang, draw_normal,
)
from cordboard._core.pacing_policy cimport (
    AGENT_AWAY, AGENT_IDLE, AGENT_TALK, AGENT_WRAP, CALL_ANSWERED, CALL_CANCELLED, CALL_CONNECTED, CALL_DROPPED,
    CALL_FAILED, CALL_MACHINE, CALL_PLACED, CALL_RINGING, INBOUND_ARRIVED, INBOUND_CONNECTED, INBOUND_LEFT, MAX_AHEAD,
    MAX_BUCKETS, MAX_CANCEL, Offer_C, Plan_C, Policy,
)
from cordboard._core.rng cimport Rng_C, rng_exponential, rng_seed, rng_uniform

COLUMN_NAMES = ("dials", "answers", "drops", "cancelled", "refused", "staffed", "busy", "ringing", "inbound",
                "inbound_in_time", "machines", "hidden_drops",
                "answers_0", "drops_0", "answers_1", "drops_1", "answers_2", "drops_2", "answers_3", "drops_3")


cdef class DialWorld:
    """The simulation itself; use :func:`cordboard.pacing.world.run`, which checks the numbers it is given."""

    def __cinit__(self):
        self.heap = NULL
        self.calls = NULL
        self.free_calls = NULL
        self.agents = NULL

    def __dealloc__(self):
        free(self.heap)
        free(self.calls)
        free(self.free_calls)
        free(self.agents)

    def __init__(self, Policy policy not None, dict world not None, unsigned long seed):
        cdef int i
        self.policy = policy
        self.until = world["hours"] * 3600.0
        self.n_agents = world["agents"]
        self.agents = <Agent_C*>calloc(self.n_agents + 1, sizeof(Agent_C))
        if self.agents == NULL:
            raise MemoryError("no memory for the agents of the dialing world")
        for name in ("post_dial", "fast_fail", "fast_fail_at", "ring_mean", "ring_until", "patience", "ring_phases",
                     "wrap_phases", "talk_mean", "talk_cv", "short_share", "short_mean", "wrap_mean", "machine",
                     "amd_missed", "amd_false", "inbound_rate", "inbound_patience", "lines", "cps"):
            self.put(name, world[name])
        self.gap, self.min_ring, self.beat_every = world["gap"], world["min_ring"], world["beat"]
        self.choose, self.balance, self.every_event = world["choose"], world["balance"], world["every_event"]
        self.n_buckets = len(world["lists"])
        for i, (p, shown, campaign, weight) in enumerate(world["lists"]):
            self.buckets[i].p, self.buckets[i].shown = p, shown
            self.buckets[i].campaign, self.buckets[i].weight = campaign, weight
            self.buckets[i].taken = 0
        rng_seed(&self.rng_dial, seed, 1)
        rng_seed(&self.rng_talk, seed, 2)
        rng_seed(&self.rng_wrap, seed, 3)
        rng_seed(&self.rng_list, seed, 4)
        rng_seed(&self.rng_inbound, seed, 5)
        rng_seed(&self.rng_roster, seed, 6)
        self.n_rows = <int>(self.until / 60.0) + 1
        self.rows = np.zeros((self.n_rows, COLUMNS))
        self.changes = list(world["changes"])
        self.held = []
        self.trace_every = world["trace"]
        self.trace = []
        self.stalled_until = -1.0
        self.cps_room = 1.0
        self.last_decision = -INFINITY

    # ---- the event queue: a binary heap by (time, order of entry)

    cdef bint before(self, Event_C* a, Event_C* b) noexcept nogil:
        return a.t < b.t or (a.t == b.t and a.seq < b.seq)

    cdef int push(self, double t, int kind, int index, long stamp) except -1:
        cdef Event_C* grown
        cdef Event_C e
        cdef int i, up
        if self.heap_size == self.heap_room:
            grown = <Event_C*>realloc(self.heap, (2 * self.heap_room + 1024) * sizeof(Event_C))
            if grown == NULL:
                raise MemoryError("no memory for the events of the dialing world")
            self.heap = grown
            self.heap_room = 2 * self.heap_room + 1024
        self.seq += 1
        e.t, e.seq, e.kind, e.index, e.stamp = t, self.seq, kind, index, stamp
        i = self.heap_size
        self.heap_size += 1
        while i > 0:
            up = (i - 1) >> 1
            if not self.before(&e, &self.heap[up]):
                break
            self.heap[i] = self.heap[up]
            i = up
        self.heap[i] = e
        return 0

    cdef void pop(self, Event_C* out) noexcept nogil:
        cdef Event_C e
        cdef int i = 0, child
        out[0] = self.heap[0]
        self.heap_size -= 1
        if self.heap_size == 0:
            return
        e = self.heap[self.heap_size]
        while True:
            child = 2 * i + 1
            if child >= self.heap_size:
                break
            if child + 1 < self.heap_size and self.before(&self.heap[child + 1], &self.heap[child]):
                child += 1
            if not self.before(&self.heap[child], &e):
                break
            self.heap[i] = self.heap[child]
            i = child
        self.heap[i] = e

    # ---- random durations

    cdef double talk_time(self) noexcept nogil:
        cdef double variance
        if self.short_share > 0.0:
            if rng_uniform(&self.rng_talk) <= self.short_share:
                return self.short_mean * rng_exponential(&self.rng_talk)
            return draw_erlang(&self.rng_talk, 16, self.talk_mean)
        variance = log(1.0 + self.talk_cv * self.talk_cv)
        return exp(log(self.talk_mean) - 0.5 * variance + sqrt(variance) * draw_normal(&self.rng_talk))

    # ---- telling the policy

    cdef int tell_agent(self, int agent) except -1:
        if self.now < self.stalled_until:
            self.held.append(agent)
            return 0
        cdef Agent_C* a = &self.agents[agent]
        return self.policy.on_agent(agent, a.state, a.leaving, self.now)

    cdef int tell_call(self, int call, int event) except -1:
        cdef Call_C* c = &self.calls[call]
        return self.policy.on_call(call, event, c.bucket, self.buckets[c.bucket].shown, self.now)

    # ---- agents

    cdef int set_agent(self, int agent, int state) except -1:
        cdef Agent_C* a = &self.agents[agent]
        self.n_staffed += (state != AGENT_AWAY) - (a.state != AGENT_AWAY)
        self.n_busy += (state >= AGENT_TALK) - (a.state >= AGENT_TALK)
        self.n_talk += (state == AGENT_TALK) - (a.state == AGENT_TALK)
        a.state, a.since = state, self.now
        self.stamp += 1
        a.stamp = self.stamp
        return self.tell_agent(agent)

    cdef int become_idle(self, int agent) except -1:
        cdef Agent_C* a = &self.agents[agent]
        if a.leaving:
            a.leaving = False
            return self.set_agent(agent, AGENT_AWAY)
        self.idle_order += 1.0
        a.order = self.idle_order
        self.set_agent(agent, AGENT_IDLE)
        cdef int call = self.next_waiting()
        if call >= 0:
            self.connect(call, agent)
        return 0

    cdef int longest_idle(self) noexcept nogil:
        cdef int best = -1, i
        if self.n_staffed == self.n_busy:
            return -1
        for i in range(self.n_agents):
            if self.agents[i].state == AGENT_IDLE and (best < 0 or self.agents[i].order < self.agents[best].order):
                best = i
        return best

    cdef int next_waiting(self) noexcept nogil:
        # Inbound callers first, then the oldest answer; those who wait are few, for they wait two seconds.
        cdef int best = -1, i
        if self.answered_waiting + self.inbound_waiting == 0:
            return -1
        for i in range(self.calls_used):
            if self.calls[i].state == WAITING and (
                best < 0 or self.calls[i].inbound > self.calls[best].inbound
                or (self.calls[i].inbound == self.calls[best].inbound and self.calls[i].stamp < self.calls[best].stamp)
            ):
                best = i
        return best

    # ---- calls

    cdef int new_call(self, int bucket, bint inbound) except -1:
        cdef int i, room
        cdef Call_C* grown
        cdef int* grown_free
        if self.free_count == 0:
            if self.calls_used == self.calls_room:
                room = 2 * self.calls_room + 256
                grown = <Call_C*>realloc(self.calls, room * sizeof(Call_C))
                if grown == NULL:
                    raise MemoryError("no memory for the calls of the dialing world")
                self.calls = grown
                grown_free = <int*>realloc(self.free_calls, room * sizeof(int))
                if grown_free == NULL:
                    raise MemoryError("no memory for the calls of the dialing world")
                self.free_calls = grown_free
                self.calls_room = room
            i = self.calls_used
            self.calls_used += 1
        else:
            self.free_count -= 1
            i = self.free_calls[self.free_count]
        self.stamp += 1
        self.calls[i].state, self.calls[i].bucket = (WAITING if inbound else DIALING), bucket
        self.calls[i].placed, self.calls[i].stamp, self.calls[i].inbound = self.now, self.stamp, inbound
        return i

    cdef int end_call(self, int call, int event) except -1:
        cdef Call_C* c = &self.calls[call]
        cdef int bucket = c.bucket
        cdef double shown = self.buckets[bucket].shown
        if not c.inbound:
            if c.state == DIALING:
                self.n_ringing -= 1
            if event != CALL_CONNECTED:
                self.policy.on_call(call, event, bucket, shown, self.now)
            self.in_flight -= 1
        c.state = FREE
        self.stamp += 1
        c.stamp = self.stamp
        self.free_calls[self.free_count] = call
        self.free_count += 1
        return 0

    cdef int place(self, int bucket) except -1:
        cdef Bucket_C* b = &self.buckets[bucket]
        cdef int call = self.new_call(bucket, False)
        cdef long stamp = self.calls[call].stamp
        cdef double u = rng_uniform(&self.rng_dial)
        cdef double ring = draw_erlang(&self.rng_dial, self.ring_phases, self.ring_mean)
        b.taken += 1
        self.in_flight += 1
        self.n_ringing += 1
        self.row(C_DIALS, 1.0)
        self.tell_call(call, CALL_PLACED)
        if u <= b.p:
            self.push(self.now + self.post_dial + ring, EV_ANSWER, call, stamp)
        elif u <= b.p + self.machine:
            self.push(self.now + self.post_dial + ring, EV_MACHINE, call, stamp)
        elif u <= b.p + self.machine + self.fast_fail:
            self.push(self.now + self.fast_fail_at, EV_FAIL, call, stamp)
        else:
            self.push(self.now + self.ring_until, EV_FAIL, call, stamp)
        return self.push(self.now + self.post_dial, EV_RINGING, call, stamp)

    cdef int connect(self, int call, int agent) except -1:
        cdef Call_C* c = &self.calls[call]
        if c.inbound:
            self.inbound_waiting -= 1
            self.policy.on_inbound(call, INBOUND_CONNECTED, self.now)
            if self.now - c.placed <= 20.0:
                self.row(C_INBOUND_IN_TIME, 1.0)
        else:
            self.answered_waiting -= 1
            self.tell_call(call, CALL_CONNECTED)
        self.end_call(call, CALL_CONNECTED)
        self.set_agent(agent, AGENT_TALK)
        return self.push(self.now + self.talk_time(), EV_TALK_END, agent, self.agents[agent].stamp)

    cdef int answered(self, int call) except -1:
        cdef Call_C* c = &self.calls[call]
        cdef int agent
        self.campaign_row(c.bucket, 0)
        self.row(C_ANSWERS, 1.0)
        self.n_ringing -= 1
        c.state = WAITING
        self.answered_waiting += 1
        self.stamp += 1
        c.stamp = self.stamp
        self.tell_call(call, CALL_ANSWERED)
        agent = self.longest_idle()
        if agent >= 0:
            return self.connect(call, agent)
        return self.push(self.now + self.patience, EV_GIVE_UP, call, c.stamp)

    cdef int machine_answered(self, int call) except -1:
        if rng_uniform(&self.rng_dial) <= self.amd_missed:
            return self.answered(call)
        self.row(C_MACHINES, 1.0)
        return self.end_call(call, CALL_MACHINE)

    cdef int person_answered(self, int call) except -1:
        if self.amd_false > 0.0 and rng_uniform(&self.rng_dial) <= self.amd_false:
            self.row(C_HIDDEN_DROPS, 1.0)  # a person taken for a machine: the dialer does not know
            self.row(C_MACHINES, 1.0)
            return self.end_call(call, CALL_MACHINE)
        return self.answered(call)

    cdef int inbound_arrives(self) except -1:
        cdef int call, agent
        if self.inbound_rate <= 0.0:
            return 0
        self.push(self.now + rng_exponential(&self.rng_inbound) / self.inbound_rate, EV_INBOUND, 0, self.inbound_bucket)
        self.row(C_INBOUND, 1.0)
        call = self.new_call(0, True)
        self.inbound_waiting += 1
        self.policy.on_inbound(call, INBOUND_ARRIVED, self.now)
        agent = self.longest_idle()
        if agent >= 0:
            return self.connect(call, agent)
        return self.push(self.now + self.inbound_patience * rng_exponential(&self.rng_inbound), EV_INBOUND_LEAVES, call,
                         self.calls[call].stamp)

    # ---- the result

    cdef void row(self, int column, double amount) noexcept:
        self.rows[self.minute, column] += amount

    cdef void campaign_row(self, int bucket, int dropped) noexcept:
        self.rows[self.minute, C_CAMPAIGN + 2 * self.buckets[bucket].campaign + dropped] += 1.0

    cdef void advance(self, double t) noexcept:
        cdef double edge
        while True:
            edge = min(t, 60.0 * (self.minute + 1))
            self.row(C_STAFFED, self.n_staffed * (edge - self.now))
            self.row(C_BUSY, self.n_busy * (edge - self.now))
            self.row(C_RINGING, self.n_ringing * (edge - self.now))
            self.now = edge
            if edge >= t or self.minute + 1 >= self.n_rows:
                break
            self.minute += 1
        self.now = t

    # ---- changes of the world

    cdef int put(self, str name, double value) except -1:
        if name == "post_dial": self.post_dial = value
        elif name == "fast_fail": self.fast_fail = value
        elif name == "fast_fail_at": self.fast_fail_at = value
        elif name == "ring_mean": self.ring_mean = value
        elif name == "ring_until": self.ring_until = value
        elif name == "ring_phases": self.ring_phases = <int>value
        elif name == "wrap_phases": self.wrap_phases = <int>value
        elif name == "patience": self.patience = value
        elif name == "talk_mean": self.talk_mean = value
        elif name == "talk_cv": self.talk_cv = value
        elif name == "short_share": self.short_share = value
        elif name == "short_mean": self.short_mean = value
        elif name == "wrap_mean": self.wrap_mean = value
        elif name == "machine": self.machine = value
        elif name == "amd_missed": self.amd_missed = value
        elif name == "amd_false": self.amd_false = value
        elif name == "inbound_patience": self.inbound_patience = value
        elif name == "lines": self.lines = <int>value
        elif name == "cps": self.cps = value
        elif name == "inbound_rate":
            self.inbound_rate = value
            self.inbound_bucket += 1  # the stamp of this stream: arrivals of the old rate are void
            if value > 0.0:
                self.push(self.now + rng_exponential(&self.rng_inbound) / value, EV_INBOUND, 0, self.inbound_bucket)
        else:
            raise ValueError(f"the dialing world has nothing called {name!r} to change")
        return 0

    cdef int change(self, tuple what) except -1:
        cdef str name = what[1]
        if name == "p":
            self.buckets[<int>what[3]].p = what[2]
        elif name == "shown":
            self.buckets[<int>what[3]].shown = what[2]
        elif name == "weight":
            self.buckets[<int>what[3]].weight = what[2]
            self.n_ahead = 0
        elif name == "leave":
            self.roster(<int>what[2], True, <bint>what[3])
        elif name == "return":
            self.roster(<int>what[2], False, False)
        elif name == "stall":
            self.stalled_until = self.now + what[2]
            self.push(self.stalled_until, EV_STALL_ENDS, 0, 0)
        else:
            self.put(name, what[2])
        return 0

    cdef int roster(self, int count, bint leave, bint at_once) except -1:
        # Who leaves or returns is drawn by a random start: nobody is picked for the state he is in.
        cdef int start = <int>(rng_uniform(&self.rng_roster) * self.n_agents), i, k
        cdef Agent_C* a
        for k in range(self.n_agents):
            if count <= 0:
                break
            i = (start + k) % self.n_agents
            a = &self.agents[i]
            if leave and a.state != AGENT_AWAY and not a.leaving:
                count -= 1
                if a.state == AGENT_IDLE or at_once:
                    self.set_agent(i, AGENT_AWAY)
                else:
                    a.leaving = True
                    self.tell_agent(i)
            elif not leave and (a.state == AGENT_AWAY or a.leaving):
                count -= 1
                if a.state == AGENT_AWAY:
                    self.become_idle(i)
                else:
                    a.leaving = False
                    self.tell_agent(i)
        return 0

    # ---- asking the policy

    cdef void fill_offer(self, Offer_C* offer) noexcept:
        cdef int i, k
        cdef long least = -1
        cdef double total, u
        offer.buckets, offer.choose, offer.n_ahead = self.n_buckets, self.choose, 0
        for i in range(self.n_buckets):
            offer.p[i], offer.campaign[i] = self.buckets[i].shown, self.buckets[i].campaign
            offer.room[i] = 1 << 20
            if self.buckets[i].weight > 0.0 and (least < 0 or self.buckets[i].taken < least):
                least = self.buckets[i].taken
        if self.choose and self.balance > 0:
            for i in range(self.n_buckets):
                offer.room[i] = max(0, <int>(least + self.balance - self.buckets[i].taken))
        elif self.n_buckets > 1 and not self.choose:
            total = 0.0
            for i in range(self.n_buckets):
                total += self.buckets[i].weight
            while self.n_ahead < MAX_AHEAD:
                u = total * rng_uniform(&self.rng_list)
                k = 0
                while k < self.n_buckets - 1 and u > self.buckets[k].weight:
                    u -= self.buckets[k].weight
                    k += 1
                self.ahead[self.n_ahead] = k
                self.n_ahead += 1
            for i in range(self.n_ahead):
                offer.ahead[i] = self.ahead[i]
            offer.n_ahead = self.n_ahead
        offer.lines = self.lines - self.in_flight - self.n_talk
        if self.cps > 0.0:
            self.cps_room = min(max(1.0, self.cps), self.cps_room + (self.now - self.cps_last) * self.cps)
            self.cps_last = self.now
            offer.lines = min(offer.lines, <int>self.cps_room)
        offer.lines = max(offer.lines, 0)

    cdef int ask(self) except -1:
        cdef Offer_C offer
        cdef Plan_C plan
        cdef int i, k, total = 0, call, allowed
        self.fill_offer(&offer)
        memset(&plan, 0, sizeof(plan))
        plan.look = INFINITY
        self.policy.decide(self.now, &offer, &plan)
        self.last_decision = self.now
        for i in range(plan.n_cancel):
            call = plan.cancel[i]
            if self.calls[call].state == DIALING and self.now - self.calls[call].placed >= self.post_dial + self.min_ring:
                self.row(C_CANCELLED, 1.0)
                self.end_call(call, CALL_CANCELLED)
        allowed = offer.lines
        if offer.n_ahead > 0:
            for i in range(self.n_buckets):
                total += plan.dial[i]
            k = min(total, offer.n_ahead)
            for i in range(min(k, allowed)):
                self.place(self.ahead[i])
            if k > allowed:
                self.row(C_REFUSED, k - allowed)
                k = allowed
            for i in range(k, self.n_ahead):
                self.ahead[i - k] = self.ahead[i]
            self.n_ahead -= k
            total = k
        else:
            for i in range(self.n_buckets):
                for k in range(plan.dial[i]):
                    if total < allowed:
                        self.place(i)
                        total += 1
                    else:
                        self.row(C_REFUSED, 1.0)
        if self.cps > 0.0:
            self.cps_room -= total
        self.look_at(max(plan.look, self.now + 1e-6))
        return total

    cdef int look_at(self, double t) except -1:
        self.look = t
        if t <= self.until:
            self.push(t, EV_LOOK, 0, 0)
        return 0

    cdef int happen(self, Event_C* e) except -1:
        cdef Agent_C* a
        cdef int i
        if e.kind == EV_CHANGE:
            self.change(self.changes[e.index])
        elif e.kind <= EV_GIVE_UP:
            if self.calls[e.index].stamp != e.stamp:
                return 0
            if e.kind == EV_RINGING:
                self.tell_call(e.index, CALL_RINGING)
            elif e.kind == EV_ANSWER:
                self.person_answered(e.index)
            elif e.kind == EV_FAIL:
                self.end_call(e.index, CALL_FAILED)
            elif e.kind == EV_MACHINE:
                self.machine_answered(e.index)
            else:
                self.row(C_DROPS, 1.0)
                self.campaign_row(self.calls[e.index].bucket, 1)
                self.answered_waiting -= 1
                self.end_call(e.index, CALL_DROPPED)
        elif e.kind <= EV_WRAP_END:
            a = &self.agents[e.index]
            if a.stamp != e.stamp:
                return 0
            if e.kind == EV_TALK_END:
                self.set_agent(e.index, AGENT_WRAP)
                self.push(self.now + draw_erlang(&self.rng_wrap, self.wrap_phases, self.wrap_mean), EV_WRAP_END, e.index,
                          a.stamp)
            else:
                self.become_idle(e.index)
        elif e.kind == EV_INBOUND:
            if e.stamp == self.inbound_bucket:
                self.inbound_arrives()
        elif e.kind == EV_INBOUND_LEAVES:
            if self.calls[e.index].stamp == e.stamp:
                self.inbound_waiting -= 1
                self.policy.on_inbound(e.index, INBOUND_LEFT, self.now)
                self.end_call(e.index, CALL_FAILED)
        elif e.kind == EV_BEAT:
            if self.now >= self.stalled_until:
                self.policy.on_beat(self.now)
            self.push(self.now + self.beat_every, EV_BEAT, 0, 0)
        elif e.kind == EV_STALL_ENDS:
            for i in sorted(set(self.held)):
                self.tell_agent(i)
            self.held = []
        return 1

    cdef int note(self) except -1:
        while self.trace_next <= self.now:
            self.trace.append((self.trace_next, self.n_staffed - self.n_busy, self.n_busy, self.n_ringing,
                               self.answered_waiting))
            self.trace_next += self.trace_every
        return 0

    def run(self):
        """Run to the end; returns the minutes as an array (rows, :data:`COLUMN_NAMES`)."""
        cdef Event_C e
        cdef int i
        for i, what in enumerate(self.changes):
            self.push(what[0], EV_CHANGE, i, 0)
        if self.beat_every > 0.0:
            self.push(0.0, EV_BEAT, 0, 0)
        for i in range(self.n_agents):
            self.become_idle(i)
        self.look_at(0.0)
        while self.heap_size > 0 and self.heap[0].t <= self.until:
            self.pop(&e)
            self.advance(e.t)
            if self.trace_every > 0.0:
                self.note()
            if self.happen(&e) == 0:
                continue
            if e.kind == EV_LOOK:
                if e.t == self.look:
                    self.ask()
            elif self.every_event and not (self.heap_size > 0 and self.heap[0].t == self.now):
                if self.now - self.last_decision >= self.gap:
                    self.ask()
                elif self.look > self.last_decision + self.gap:
                    self.look_at(self.last_decision + self.gap)
        self.advance(self.until)
        return np.asarray(self.rows)
