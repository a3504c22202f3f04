"""How many numbers to dial now, which ringing calls to cancel, when to look again.

The chance that one more dial, if a person answers it, finds no agent is computed exactly: answers in flight are a
Poisson-binomial sum over the calls' ages, agents who become free are another over the ages of talk and wrap-up, and the
chance is the tail of their difference beyond the agents idle now. One more number is dialed while that chance stays
under a threshold. The threshold is a price: it starts from the value that policy search in the dialing world found best
for a team of this size and this target, and moves with the budget of drops that the ledger has left. Nothing is stored
but what was learned (:mod:`cordboard._core.pacing_learn`). See docs/background/pacing-method.md.
"""

from libc.math cimport INFINITY, NAN, exp, isnan, pow
from libc.stdint cimport int64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcpy, memset

from cordboard._core.pacing_change cimport SAME, SIZES
from cordboard._core.pacing_learn cimport SPAN_BINS, AnswerLearner, DurationLearner
from cordboard._core.pacing_pmf cimport PMF_ZERO, Pmf_C, pmf_clear, pmf_many, pmf_one, pmf_tail
from cordboard._core.pacing_policy cimport (
    AGENT_AWAY, AGENT_IDLE, AGENT_TALK, AGENT_WRAP, CALL_ANSWERED, CALL_CANCELLED, CALL_DROPPED, CALL_PLACED,
    CALL_RINGING, MAX_BUCKETS, MAX_CANCEL, Offer_C, Plan_C, Policy,
)

REASONS = ("paced", "no_agents", "capacity_bound", "budget_spent", "telemetry_stale", "risk_reached")

cdef double[3] SHARE = [0.17, 0.5, 0.83]  # of the time to an answer: where the risk of a new dial is looked at
cdef double CANCEL_RISK = 0.07
cdef double LOOK_AHEAD = 1500.0  # answers that a window's rest may be borrowed from at most
cdef double USUAL_WAIT = 13.0  # seconds to an answer: beyond, the later answers come, the fewer of a risk become drops
cdef double RELEARN = 10.0, AFTER_SILENCE = 40.0  # seconds
cdef double CALM = 0.3  # of the usual risk, right after a change, when what was learned is not known to hold ...
cdef double CALM_FOR = 3000.0  # ... and back to all of it within so many seconds
cdef double UNLIKELY = 0.3  # answers less likely than .3: power of the risk, which they fill up to the threshold
# The chance of more drops than may still happen at which nothing more is dialed, doubled by each drop that may: one over
# cap is the worse the nearer it is. From AFFORD_MANY on it is not looked at.
cdef double OVERDRAFT = 1e-4, AFFORD_MANY = 12.0
cdef double IN_FLIGHT_LEAST = 0.1  # answers of another campaign that are worth keeping its threshold for


cdef class PacingCore(Policy):
    """The pacing of one group of agents. ``target`` is the share of answered calls that may be dropped.

    ``prior_p``, ``prior_talk`` and ``prior_wrap`` (seconds) are worth some 20 calls; what is seen replaces them.
    ``budget`` is what the ledger still allows, in drops; NaN: target x answers - drops are counted here. ``answers_left``
    are the answers expected in the rest of the ledger's window, from which budget may be borrowed; NaN: the learned rate
    until ``window_end`` (seconds; 0: no window known, nothing is borrowed). The two make the price; ``room`` is the limit:
    the drops that may still happen, which calls in flight must not exceed; NaN: budget and nine tenths of what is borrowed.

    Agents may have other work. ``inbound_waiting`` callers come before any answer, ``inbound_rate`` more a second are
    expected to; ``reserve`` free agents are not dialed for. ``beside``: the cores of other campaigns of the same agents,
    whose answers in flight count as these do, and whose thresholds bind while they have any; one that is ``one_to_one``
    has promised an agent to each ringing call.
    """

    def __cinit__(self, double target=0.03, double prior_p=0.2, double prior_talk=150.0, double prior_wrap=30.0):
        self.agents = NULL
        self.calls = NULL
        self.talk = DurationLearner(prior_talk, 0.9, 20.0, 3000.0)
        self.wrap = DurationLearner(prior_wrap, 0.6, 20.0, 3000.0)
        self.ring = AnswerLearner(prior_p)
        self.target = target
        self.connect_within, self.min_ring, self.stale_after = 2.0, 15.0, 2.0
        self.budget = self.answers_left = self.room = NAN
        self.beside = ()
        self.alpha = 1.0  # none of its own before the first decision
        self.price_scale = 1.0
        self.rebuilt = self.last_beat = self.silent = -INFINITY
        self.started = NAN
        self.looked = 0.0
        self.refreshed = self.shaken = -INFINITY

    def __dealloc__(self):
        free(self.agents)
        free(self.calls)

    cdef int room_for_agent(self, int agent) except -1:
        cdef int room
        cdef PacedAgent_C* grown
        if agent >= self.agents_room:
            room = 2 * agent + 64
            grown = <PacedAgent_C*>realloc(self.agents, room * sizeof(PacedAgent_C))
            if grown == NULL:
                raise MemoryError("no memory for the agents of the pacer")
            self.agents = grown
            memset(&grown[self.agents_room], 0, (room - self.agents_room) * sizeof(PacedAgent_C))
            self.agents_room = room
        return 0

    cdef int room_for_call(self, int call) except -1:
        cdef int room
        cdef PacedCall_C* grown
        if call >= self.calls_room:
            room = 2 * call + 256
            grown = <PacedCall_C*>realloc(self.calls, room * sizeof(PacedCall_C))
            if grown == NULL:
                raise MemoryError("no memory for the calls of the pacer")
            self.calls = grown
            memset(&grown[self.calls_room], 0, (room - self.calls_room) * sizeof(PacedCall_C))
            self.calls_room = room
        if call >= self.calls_used:
            self.calls_used = call + 1
        return 0

    cdef int on_agent(self, int agent, int state, bint leaving, double now) except -1:
        self.room_for_agent(agent)
        cdef PacedAgent_C* a = &self.agents[agent]
        if isnan(self.started):
            self.started = now
        if a.state != state:
            if a.state == AGENT_TALK and (state == AGENT_WRAP or state == AGENT_IDLE):
                self.talk.ended(now - a.since, now - self.looked)
            elif a.state == AGENT_WRAP:
                self.wrap.ended(now - a.since, now - self.looked)
            if a.state == AGENT_TALK:
                self.talk.observe(now - a.since, state == AGENT_WRAP or state == AGENT_IDLE, a.counted)
            elif a.state == AGENT_WRAP:
                self.wrap.observe(now - a.since, True, a.counted)
            self.idle += (state == AGENT_IDLE) - (a.state == AGENT_IDLE)
            self.staffed += (state != AGENT_AWAY) - (a.state != AGENT_AWAY)
            self.crew += (state != AGENT_AWAY) - (a.state != AGENT_AWAY and not a.leaving)
            a.leaving = False
            a.state, a.since, a.counted = state, now, 0.0
        if state != AGENT_AWAY:
            self.crew += a.leaving - leaving
        a.leaving = leaving
        return 0

    cdef int on_call(self, int call, int event, int bucket, double p, double now) except -1:
        self.room_for_call(call)
        cdef PacedCall_C* c = &self.calls[call]
        if event == CALL_PLACED:
            c.state, c.bucket, c.p, c.placed, c.rang, c.counted = 1, bucket, p, now, NAN, 0.0
            c.number = self.ring.place(p, now)
            self.ringing += 1
        elif event == CALL_RINGING:
            c.rang = now
        elif event == CALL_ANSWERED:
            c.state = 2
            self.ringing -= 1
            self.waiting += 1
            self.answers += 1.0
            self.ring.resolve(c.number, 1, now)
            self.ring.observe(c.p, now - c.placed, 1, c.counted)
        else:
            if c.state == 1:
                self.ringing -= 1
                self.ring.resolve(c.number, -1 if event == CALL_CANCELLED else 0, now)
                self.ring.observe(c.p, now - c.placed, -1 if event == CALL_CANCELLED else 0, c.counted)
            elif c.state == 2:
                self.waiting -= 1
            if event == CALL_DROPPED:
                self.drops += 1.0
            c.state = 0
        return 0

    cdef void rebuild(self, double now) noexcept nogil:
        cdef int i, j
        cdef double age
        self.rebuilt = now
        # Few agents see little: what they would gain by looking for changes costs more in false alarms.
        self.ring.alert = self.talk.alert = self.wrap.alert = min(1.0, max(0.0, (self.staffed - 5) / 15.0))
        self.ring.begin()
        for i in range(self.calls_used):
            if self.calls[i].state == 1:
                self.calls[i].counted = self.ring.running(self.calls[i].p, now - self.calls[i].placed,
                                                          self.calls[i].counted)
        self.ring.rebuild()
        self.talk.begin()
        self.wrap.begin()
        for i in range(self.agents_room):
            if self.agents[i].state == AGENT_TALK:
                self.agents[i].counted = self.talk.running(now - self.agents[i].since, self.agents[i].counted)
            elif self.agents[i].state == AGENT_WRAP:
                self.agents[i].counted = self.wrap.running(now - self.agents[i].since, self.agents[i].counted)
        self.talk.rebuild()
        self.wrap.rebuild()
        self.crew_before += 0.2 * (self.crew - self.crew_before)
        self.changed(now)
        for j in range(HORIZONS):
            self.horizon[j] = self.ring.quantile(SHARE[j])
        self.refresh(now)
        for i in range(AGES):
            age = (i + 0.5) / AGES_A_SECOND
            self.F_at[i] = self.ring.distribution(self.ring.F, age)
            self.G_at[i] = self.ring.distribution(self.ring.G, age)
            for j in range(HORIZONS):
                self.gain_at[j][i] = self.ring.distribution(self.ring.F, age + self.horizon[j]) - self.F_at[i]

    cdef void changed(self, double now) noexcept nogil:
        # Changes that have become sure are taken over, and make the pacing careful for a while.
        cdef int a = self.ring.fold(), b = self.talk.fold(), c = self.wrap.fold()
        if a:
            self.ring.rebuild()
        if b:
            self.talk.rebuild()
        if c:
            self.wrap.rebuild()
        if ((a and a < SIZES - SAME) or abs(b) > 1 or abs(c) > 1) and now - self.started > 1800.0:
            self.shaken = now

    cdef void refresh(self, double now) noexcept nogil:
        cdef int j
        self.refreshed = now
        memcpy(self.talk.used, self.talk.change.weight, sizeof(self.talk.used))
        memcpy(self.wrap.used, self.wrap.change.weight, sizeof(self.wrap.used))
        for j in range(HORIZONS):
            self.free_within(j, self.horizon[j] + self.connect_within)

    cdef void free_within(self, int j, double u) noexcept nogil:
        # P(an agent is free u seconds from now | the age of the talk or the wrap-up), for each bin of ages.
        cdef double wrapped[6]
        cdef double a, s, before, after, total, w, z
        cdef int i, k, m
        memset(wrapped, 0, sizeof(wrapped))
        memset(self.free_wrap[j], 0, sizeof(self.free_wrap[j]))
        memset(self.free_talk[j], 0, sizeof(self.free_talk[j]))
        for m in range(SIZES):
            w, z = self.wrap.change.weight[m], self.wrap.change.size[m]
            if w < 0.01:
                continue
            for k in range(6):  # done with wrap-up too, when talk ended in the k-th sixth of u
                wrapped[k] += w * (1.0 - self.wrap.survival(u * (5.5 - k) / 6.0 / z))
            for i in range(SPAN_BINS):
                a = 0.5 * (self.wrap.edge[i] + self.wrap.edge[i + 1])
                self.free_wrap[j][i] += w * (1.0 - exp(self.wrap.cumulative(a / z) - self.wrap.cumulative((a + u) / z)))
        for m in range(SIZES):
            w, z = self.talk.change.weight[m], self.talk.change.size[m]
            if w < 0.01:
                continue
            for i in range(SPAN_BINS):
                a = 0.5 * (self.talk.edge[i] + self.talk.edge[i + 1])
                s = self.talk.cumulative(a / z)
                before, total = 1.0, 0.0
                for k in range(6):
                    after = exp(s - self.talk.cumulative((a + u * (k + 1) / 6.0) / z))
                    total += (before - after) * wrapped[k]
                    before = after
                self.free_talk[j][i] += w * total

    cdef inline void put(self, int j, int side, int n, double q) noexcept nogil:
        # Events of about one probability are put together, to go in as a binomial of their mean.
        # The class is the exponent and the first two bits of the fraction: the value 1 is 4 x 1023.
        cdef int64_t bits
        cdef int k
        if q < 1e-9:
            return
        memcpy(&bits, &q, sizeof(bits))
        k = max(0, CLASSES - 1 + <int>(bits >> 50) - 4092)
        self.class_count[j][side][k] += n
        self.class_sum[j][side][k] += n * q

    cdef void count_agents(self, double now) noexcept nogil:
        cdef int talk[SPAN_BINS]
        cdef int wrap[SPAN_BINS]
        cdef int i, j
        memset(talk, 0, sizeof(talk))
        memset(wrap, 0, sizeof(wrap))
        for i in range(self.agents_room):
            if self.agents[i].leaving:
                continue
            if self.agents[i].state == AGENT_TALK:
                talk[self.talk.bin_of(now - self.agents[i].since)] += 1
            elif self.agents[i].state == AGENT_WRAP:
                wrap[self.wrap.bin_of(now - self.agents[i].since)] += 1
        self.talk.lasting(talk, now - self.looked)
        self.wrap.lasting(wrap, now - self.looked)
        if now - self.refreshed > 1.0 and (self.talk.moved() or self.wrap.moved()):
            self.refresh(now)
        for i in range(SPAN_BINS):
            for j in range(HORIZONS):
                if talk[i]:
                    self.put(j, 1, talk[i], self.free_talk[j][i])
                if wrap[i]:
                    self.put(j, 1, wrap[i], self.free_wrap[j][i])

    cdef void count_calls(self, double now) noexcept nogil:
        cdef int known[AGES]  # calls of the learned mean probability, by age
        cdef int i, j, age
        cdef double p, left
        self.ring.look_for_change(now)
        memset(known, 0, sizeof(known))
        self.in_flight = self.likely = 0.0
        for i in range(self.calls_used):
            if self.calls[i].state != 1:
                continue
            age = min(AGES - 1, <int>(AGES_A_SECOND * (now - self.calls[i].placed)))
            if isnan(self.calls[i].p):
                known[age] += 1
                continue
            self.likely += self.calls[i].p
            p = self.ring.effective(self.calls[i].p)
            self.in_flight += p
            left = 1.0 - p * self.F_at[age] - (1.0 - p) * self.G_at[age]
            if left > 1e-9:
                for j in range(HORIZONS):
                    self.put(j, 0, 1, min(1.0, p / left * self.gain_at[j][age]))
        p = self.ring.effective(NAN)
        for i in range(AGES):
            if known[i]:
                self.in_flight += known[i] * p
                self.likely += known[i] * self.ring.p
                left = 1.0 - p * self.F_at[i] - (1.0 - p) * self.G_at[i]
                if left > 1e-9:
                    for j in range(HORIZONS):
                        self.put(j, 0, known[i], min(1.0, p / left * self.gain_at[j][i]))

    cdef void count_answers_of(self, PacingCore other, double now) noexcept nogil:
        # The answers in flight of another campaign, at this one's horizons.
        cdef int known[AGES]  # calls of its learned mean probability, by age
        cdef int i, j
        cdef double p, age
        memset(known, 0, sizeof(known))
        for i in range(other.calls_used):
            if other.calls[i].state == 1:
                age = now - other.calls[i].placed
                if isnan(other.calls[i].p):
                    known[min(AGES - 1, <int>(AGES_A_SECOND * age))] += 1
                    continue
                p = other.ring.effective(other.calls[i].p)
                for j in range(HORIZONS):
                    self.put(j, 0, 1, other.ring.within(p, age, self.horizon[j]))
        for i in range(AGES):
            if known[i]:
                for j in range(HORIZONS):
                    self.put(j, 0, known[i], other.ring.within(other.ring.p_high, (i + 0.5) / AGES_A_SECOND, self.horizon[j]))

    cdef int taken_beside(self) except -1:
        # Agents whom the other campaigns have promised to a call, or whose answer waits for one.
        cdef PacingCore other
        cdef int taken = 0
        for other in self.beside:
            taken += other.waiting + (other.ringing if other.one_to_one else 0)
        return taken

    cdef double alpha_beside(self, double now) except -1:
        # The strictest threshold of the campaigns that have answers in flight: what is dialed here is a risk to them.
        cdef PacingCore other
        cdef double least = 1.0, left
        cdef int i
        for other in self.beside:
            left = 0.0
            if other.alpha < least and not other.one_to_one:
                for i in range(other.calls_used):
                    if other.calls[i].state == 1:
                        left += other.ring.within(other.ring.effective(other.calls[i].p), now - other.calls[i].placed, 60.0)
                        if left > IN_FLIGHT_LEAST:
                            break
                if left > IN_FLIGHT_LEAST:
                    least = other.alpha
        return least

    cdef int surplus(self, double now) except -1:
        # The distribution of answers in flight, and of inbound callers to come, minus agents who become free, at each
        # horizon.
        cdef PacingCore other
        cdef double expected
        cdef int j, k, n
        memset(self.class_count, 0, sizeof(self.class_count))
        memset(self.class_sum, 0, sizeof(self.class_sum))
        self.count_agents(now)
        if not self.one_to_one:
            self.count_calls(now)
        for other in self.beside:
            if not other.one_to_one and other.ringing:
                if now - other.rebuilt >= RELEARN:
                    other.rebuild(now)
                self.count_answers_of(other, now)
        self.looked = now
        for j in range(HORIZONS):
            pmf_clear(&self.pmf[j])
            expected = self.inbound_rate * (self.horizon[j] + self.connect_within)
            if expected > 0.0:  # Poisson, as many unlikely ones
                n = 64 + 8 * <int>expected
                pmf_many(&self.pmf[j], n, expected / n, 1)
            for k in range(CLASSES):
                n = self.class_count[j][0][k]
                if n:
                    pmf_many(&self.pmf[j], n, self.class_sum[j][0][k] / n, 1)
                n = self.class_count[j][1][k]
                if n:
                    pmf_many(&self.pmf[j], n, self.class_sum[j][1][k] / n, -1)
        return 0

    cdef double risk(self, int spare) noexcept nogil:
        cdef double total = 0.0
        cdef int j
        for j in range(HORIZONS):
            total += pmf_tail(&self.pmf[j], spare)
        return total / HORIZONS

    cdef double threshold(self, double now) noexcept nogil:
        # The risk at which one more dial is no longer worth it.
        cdef double p = self.likely / self.ringing if self.ringing else self.ring.p
        cdef double base = 0.055 * pow(self.staffed / 5.0, -0.33) * pow(self.target / 0.03, 1.15) * self.price_scale
        cdef double budget = self.target * self.answers - self.drops if isnan(self.budget) else self.budget
        cdef double left = self.answers_left, ahead, soft
        if isnan(left):
            left = max(0.0, self.window_end - now) * (self.answers + 5.0) / (now - self.started + 60.0)
        soft = 1.5 if left > 0.0 or self.window_end > 0.0 else 4.0
        ahead = self.target * min(left, LOOK_AHEAD)
        self.afford = max(0.0, budget + 0.9 * ahead if isnan(self.room) else self.room)
        self.price = min(1.95 if left > 0.0 else 1.6, max(0.02, (budget + ahead) / (ahead + soft)))
        base *= max(1.0, self.horizon[1] / USUAL_WAIT)
        base *= pow(min(1.0, max(0.1, p / 0.3)), UNLIKELY)
        self.careful = max(0.0, 1.0 - (now - self.shaken) / CALM_FOR)
        base *= 1.0 - (1.0 - CALM) * self.careful
        return min(0.9, base * max(CALM, 1.0 - self.ring.doubtful_now) * self.price)

    cdef bint overdrawn(self, int spare) noexcept nogil:
        # Whether one more answer, with those in flight and the inbound callers to come, may cost more drops than may happen.
        cdef int most = <int>min(self.afford, AFFORD_MANY)
        return self.afford < AFFORD_MANY and self.risk(spare + most) > OVERDRAFT * (1 << most)

    cdef int pick(self, Offer_C* offer, int n, int* used, int spare) noexcept nogil:
        # High answer probabilities while few agents are free, low ones while several are: the low ones spread the
        # risk over more calls when there is somebody to catch them.
        cdef int i, best = -1
        if not offer.choose or offer.buckets == 1:
            if offer.n_ahead > 0:
                return offer.ahead[n] if n < offer.n_ahead else -1
            for i in range(offer.buckets):
                if used[i] < offer.room[i]:
                    return i
            return -1
        for i in range(offer.buckets):
            if used[i] >= offer.room[i]:
                continue
            if best < 0 or (offer.p[i] > offer.p[best] if spare <= 2 else offer.p[i] < offer.p[best]):
                best = i
        return best

    cdef void dial(self, int spare, double alpha, double most, Offer_C* offer, Plan_C* plan) noexcept nogil:
        # Answers may have any of `spare` free agents; those kept for inbound are not dialed for.
        cdef int j, n = 0, bucket
        cdef double p
        plan.reason = RISK_REACHED
        while self.in_flight <= 3.0 * self.staffed + 1.0:
            if n + self.ringing >= most:
                break
            if self.overdrawn(spare):
                plan.reason = BUDGET_SPENT
                break
            if self.risk(spare - self.reserve) > alpha:
                break
            if n >= offer.lines:
                plan.reason = LINES_REACHED
                return
            bucket = self.pick(offer, n, plan.dial, spare)
            if bucket < 0:
                break
            p = self.ring.effective(offer.p[bucket])
            plan.dial[bucket] += 1
            n += 1
            self.in_flight += p
            for j in range(HORIZONS):
                pmf_one(&self.pmf[j], self.ring.within(p, 0.0, self.horizon[j]), 1)
        if n > 0:
            plan.reason = PACED

    cdef void cancel(self, double now, Plan_C* plan) noexcept nogil:
        # Calls past the minimum ring whose answer would likely find nobody; and when the next one gets there.
        cdef int i
        cdef double due
        for i in range(self.calls_used):
            if self.calls[i].state == 1:
                due = self.calls[i].rang + self.min_ring
                if due <= now and plan.n_cancel < MAX_CANCEL:
                    plan.cancel[plan.n_cancel] = i
                    plan.n_cancel += 1
                elif now < due < plan.look:
                    plan.look = due

    cdef int on_beat(self, double now) except -1:
        if now - self.last_beat > self.stale_after and self.last_beat > 0.0:
            self.silent = now
        self.last_beat = now
        return 0

    cdef int decide(self, double now, Offer_C* offer, Plan_C* plan) except -1:
        cdef int spare = self.idle - self.waiting - self.inbound_waiting - self.taken_beside()
        cdef double alpha, most = INFINITY
        plan.look = now + 5.0
        if isnan(self.started):
            self.started = now
        if now - self.rebuilt >= RELEARN:
            self.rebuild(now)
        if self.last_beat > 0.0 and now - self.last_beat > self.stale_after:
            plan.reason = TELEMETRY_STALE
            self.silent = now
        elif self.staffed == 0:
            plan.reason = NO_AGENTS
            self.cancel(now, plan)
        else:
            if self.crew < 0.75 * self.crew_before:
                self.shaken = now
                self.crew_before = self.crew
            self.surplus(now)
            self.alpha = self.threshold(now)
            alpha = min(self.alpha, self.alpha_beside(now))
            # After silence the ages are guesses: one line an agent, then slowly more, until calls have resolved again.
            if now - self.silent < AFTER_SILENCE:
                most = spare * (1.0 + (now - self.silent) / 15.0)
            self.dial(spare, alpha, most, offer, plan)
            if plan.reason != PACED and (plan.reason == BUDGET_SPENT or pmf_tail(&self.pmf[0], spare) > max(CANCEL_RISK, 2.0 * alpha)):
                self.cancel(now, plan)
        self.reason = plan.reason
        return 0

    # From Python: what the compiled world does directly.

    def agent(self, int agent, int state, double now, bint leaving=False):
        """Agent number ``agent`` (from 0) is in a state: 0 away, 1 idle, 2 talking, 3 in wrap-up."""
        if agent < 0 or not 0 <= state <= 3:
            raise ValueError(f"agent {agent} can't be in state {state}")
        self.on_agent(agent, state, leaving, now)

    def call(self, int call, int event, double now, int bucket=0, double p=NAN):
        """Call number ``call`` (from 0; used again after its end) has an event of :mod:`cordboard.pacing.world`."""
        if call < 0 or not 0 <= event <= 7:
            raise ValueError(f"call {call} can't have event {event}")
        self.on_call(call, event, bucket, p, now)

    def beat(self, double now):
        """The source of agent events is alive; once told, its silence stops the dialing."""
        self.on_beat(now)

    def shake(self, double now):
        """The world is another one from now on, as the caller knows: be careful until it is learned."""
        self.shaken = now

    def plan(self, double now, buckets=((NAN, 1 << 20),), int lines=1 << 20):
        """``(numbers to dial of each bucket, calls to cancel, look again at, reason)``.

        ``buckets`` are ``(answer probability or NaN, leads on hand)``, at most 16; ``lines`` the calls allowed now.
        """
        cdef Offer_C offer
        cdef Plan_C plan
        cdef int i
        memset(&offer, 0, sizeof(offer))
        memset(&plan, 0, sizeof(plan))
        if len(buckets) > MAX_BUCKETS:
            raise ValueError(f"{len(buckets)} buckets; at most {MAX_BUCKETS} can be offered")
        offer.buckets, offer.choose, offer.lines = len(buckets), True, lines
        for i, (p, room) in enumerate(buckets):
            offer.p[i], offer.room[i] = p, min(room, 1 << 20)
        if offer.buckets == 1:
            offer.lines = min(offer.lines, offer.room[0])
        elif offer.buckets == 0:
            offer.lines = 0
        self.decide(now, &offer, &plan)
        return ([plan.dial[i] for i in range(offer.buckets)], [plan.cancel[i] for i in range(plan.n_cancel)],
                plan.look, REASONS[plan.reason])

    @staticmethod
    def chance(calls, agents, int spare):
        """P(answers - agents who become free >= ``spare``) for the probabilities of each, as the decision computes it."""
        cdef PacingCore core = PacingCore()
        cdef Pmf_C* f = &core.pmf[0]
        pmf_clear(f)
        for q, group in _grouped(calls):
            pmf_many(f, group, q, 1)
        for q, group in _grouped(agents):
            pmf_many(f, group, q, -1)
        return pmf_tail(f, spare)

    def claimed(self, double now):
        """Free agents whom the other campaigns may need: promised to a call, or so many that the chance of more answers
        than these stays under their threshold."""
        cdef int taken = self.taken_beside(), more = 0, ahead = 0
        cdef double least = self.alpha_beside(now)
        cdef PacingCore other
        for other in self.beside:
            ahead += 0 if other.one_to_one else other.ringing
        if ahead > 0:
            if now - self.rebuilt >= RELEARN:
                self.rebuild(now)
            self.surplus(now)
            while more < self.idle and self.risk(more) > least:
                more += 1
        return taken + more

    def handle_time(self):
        """The learned mean of talk and wrap-up together, seconds."""
        return self.talk.mean() + self.wrap.mean()

    def learned(self):
        """What has been learned: the mean answer probability, mean talk and wrap-up in seconds, horizons."""
        return {"p": self.ring.p, "talk": self.talk.mean(), "wrap": self.wrap.mean(),
                "time_to_answer": [self.horizon[i] for i in range(HORIZONS)]}


def _grouped(probabilities):
    counts = {}
    for q in probabilities:
        counts[q] = counts.get(q, 0) + 1
    return counts.items()
