"""How long will this contact wait: the state of a center, and a regression on it that learns with every answer.

The state is counted as events come in (O(log waiting) and O(kinds) each). At a contact's arrival it becomes FEATURES
numbers, first of them the physics: with R completions a second among the agents who can serve it, q competing contacts
ahead and an abandonment rate theta for each of them, the wait is the sum of 1 / (R + i theta), i = 0 .. q, on average
(QLa: Ibrahim & Whitt, Management Science 55:1729, 2009). Three ridge regressions with forgetting share those features:
the wait, its square root, and the squared error of that root. Their prior is the physics, so without evidence
against it the estimate *is* QLa. p50 and p90 are the root's centre plus a multiple of its spread; the two multiples
follow the share of contacts who waited longer (quantile tracking: Gibbs & Candes, NeurIPS 2021), so the shares hold
whatever the distribution is.

Times are seconds (float64) that never fall. Nothing here allocates after the tables have grown to the center's size.
"""
from libc.math cimport INFINITY, M_PI, cos, exp, log1p, nextafter, sin, sqrt
from libc.stdint cimport int32_t, int64_t, uint8_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

from cordboard._core.ridge cimport ridge_add, ridge_free, ridge_init, ridge_set_prior, ridge_solve, ridge_value
from cordboard._core.waitrate cimport Rate_C, at_risk, begun, over, qla
from cordboard._core.waitable cimport able_agents
from cordboard._core.waitline cimport line_append, line_arrived, line_before, line_free, line_init, line_remove

cdef enum:
    FREE = 0
    WAITING = 1
    CONNECTED = 2
    ORDER_PRIORITY = 0
    ORDER_SCORE = 1
    SAMPLES_MAX = 4096   # contacts learned from at a time; more may wait, they are not learned from
    SAMPLE = FEATURES + 4    # the features, then what was announced: root, p50, p90 (square roots), the regression's mean
    PHYSICS = 1
    ROOT = 7
    CONTACTS_FIRST = 256
    LINE_FIRST = 64

# Flows are counted over the last minute, five minutes and twenty minutes: decayed counts with these time constants.
cdef double[TIMESCALES] TIMESCALE
TIMESCALE[:] = [60.0, 300.0, 1200.0]
cdef double HANDLE_FIRST = 180.0    # seconds, until the first conversation has ended
cdef double PATIENCE_FIRST = 600.0  # seconds, likewise
cdef double FORGET = 0.9998         # of the regression, an answered contact: 5,000 contacts
cdef double STRENGTH = 5.0          # of the prior, in contacts
cdef double TRACK = 0.01            # step of the two quantile multiples, an answered contact

FEATURE_COUNT = FEATURES


cdef class WaitCore:
    """The estimator over integers; :class:`cordboard.waits.WaitEstimator` gives them their names.

    ``agent_group`` int32, shape (agents,): the group of each agent. ``group_slots`` int32, shape (groups,): contacts that
    an agent of the group can hold, 0 where that depends on their channels. ``order`` 0 priority, 1 score, 2 ratio.
    MemoryError if there is no memory.
    """

    def __cinit__(self, const int32_t[::1] agent_group, const int32_t[::1] group_slots, int order, int max_kinds,
                  int max_lines):
        cdef int i
        self.groups, self.agents = group_slots.shape[0], agent_group.shape[0]
        self.order, self.max_kinds, self.max_lines = order, max_kinds, max_lines
        self.k50, self.k90, self.spread_mean = 0.0, 1.2815515655446004, 0.1
        self.last_start = -1e9
        self.kind = <Kind_C*>calloc(max_kinds, sizeof(Kind_C))
        self.group = <Group_C*>calloc(self.groups + 1, sizeof(Group_C))
        self.agent = <Agent_C*>calloc(self.agents + 1, sizeof(Agent_C))
        self.can = <int32_t*>calloc(max_kinds * (self.groups + 1), sizeof(int32_t))
        self.opens = <double*>calloc(max_kinds * (self.groups + 1), sizeof(double))
        self.overlap = <double*>calloc(max_kinds * max_kinds, sizeof(double))
        self.overlap_at = <int64_t*>calloc(max_kinds, sizeof(int64_t))
        self.line = <Line_C*>calloc(max_lines, sizeof(Line_C))
        self.place = <Order_C*>calloc(max_lines, sizeof(Order_C))
        self.samples = <double*>calloc(SAMPLES_MAX * SAMPLE, sizeof(double))
        self.unused_samples = <int32_t*>calloc(SAMPLES_MAX, sizeof(int32_t))
        if (self.kind == NULL or self.group == NULL or self.agent == NULL or self.can == NULL or self.opens == NULL
                or self.overlap == NULL or self.overlap_at == NULL or self.line == NULL or self.place == NULL or self.samples == NULL
                or self.unused_samples == NULL or ridge_init(&self.ridge, FEATURES, 3, FORGET, STRENGTH) != 0):
            raise MemoryError("no memory for the wait estimator")
        for i in range(SAMPLES_MAX):
            self.unused_samples[i] = SAMPLES_MAX - 1 - i
        self.unused_sample_count = SAMPLES_MAX
        for i in range(self.groups):
            self.group[i].slots = group_slots[i]
        for i in range(self.agents):
            self.agent[i].group = agent_group[i]
            self.group[agent_group[i]].agents += 1
        ridge_set_prior(&self.ridge, PHYSICS, 0, 1.0)
        ridge_set_prior(&self.ridge, ROOT, 1, 1.0)
        ridge_set_prior(&self.ridge, 0, 2, 0.1)

    def __dealloc__(self):
        cdef int i
        if self.line != NULL:
            for i in range(self.lines):
                line_free(&self.line[i])
        ridge_free(&self.ridge)
        free(self.kind)
        free(self.group)
        free(self.agent)
        free(self.can)
        free(self.opens)
        free(self.overlap)
        free(self.overlap_at)
        free(self.line)
        free(self.place)
        free(self.contact)
        free(self.places)
        free(self.unused)
        free(self.samples)
        free(self.unused_samples)

    # ---- what there is ------------------------------------------------------------------------------------------

    def add_kind(self, const int32_t[::1] can, const double[::1] opens) -> int:
        """A new kind; ``can`` int32, shape (groups,): how many of it an agent of the group can hold, 0 where it serves none;
        ``opens`` float64, shape (groups,): seconds of waiting from which on it may. Its number, or -1 if there are too many.
        """
        if self.kinds == self.max_kinds:
            return -1
        cdef int g
        for g in range(self.groups):
            self.can[self.kinds * self.groups + g], self.opens[self.kinds * self.groups + g] = can[g], opens[g]
        self.kind[self.kinds].last_start = -1e9
        self.kinds += 1
        self.staffing += 1
        return self.kinds - 1

    def add_line(self, int kind, double weight, double priority, double within) -> int:
        """A line of contacts of one kind and priority. Its number, or -1 if there are too many."""
        if self.lines == self.max_lines:
            return -1
        if line_init(&self.line[self.lines], LINE_FIRST) != 0:
            raise MemoryError("no memory for another line of waiting contacts")
        self.place[self.lines] = Order_C(kind, weight, priority, within, 0.0)
        self.lines += 1
        return self.lines - 1

    # ---- what happens -------------------------------------------------------------------------------------------

    def agent_staffed(self, double t, int agent, bint staffed) -> None:
        """The agent takes contacts from now on, or takes none any more (it finishes what it has)."""
        self._decay(t)
        if self.agent[agent].staffed == staffed:
            return
        cdef int sign = 1 if staffed else -1
        cdef Group_C* group = &self.group[self.agent[agent].group]
        self.agent[agent].staffed = staffed
        self.staffing += 1
        group.staffed += sign
        group.idle += sign * (self.agent[agent].busy == 0)
        group.busy += sign * self.agent[agent].busy
        group.load = group.load + sign * self.agent[agent].load if group.busy > 0 else 0.0

    def engaged(self, double t, int agent, double load) -> float:
        """The agent is on a call that is no contact (``load`` 0), as long as the mean handle time of all, or not any more.
        Gives the expected completions a second, which are the ``load`` at its end."""
        self._decay(t)
        cdef double one = load if load > 0.0 else 1.0 / self._tau()
        self._hold(agent, one, -1 if load > 0.0 else 1)
        return one

    def queued(self, double t, int line, double arrival) -> int:
        """A contact comes to wait in ``line``; ``arrival`` is when its wait began. Its slot: its name from now on."""
        self._decay(t)
        cdef int i
        cdef int32_t slot = self.unused[self.unused_count - 1] if self.unused_count > 0 else self.contacts_made
        if slot == self.contact_capacity:
            self._grow()
        cdef Kind_C* kind = &self.kind[self.place[line].kind]
        cdef double* sample
        self._wait_in(slot, line, arrival)
        if slot == self.contacts_made:
            self.contacts_made += 1
        else:
            self.unused_count -= 1
        cdef Contact_C* contact = &self.contact[slot]
        begun(&kind.patience, t)
        begun(&self.patience, t)
        contact.state, contact.since, contact.agent, contact.refused, contact.sample = WAITING, t, -1, False, -1
        for i in range(TIMESCALES):
            kind.arrivals[i] += exp((t - self.epoch) / TIMESCALE[i])
        self.place[line].rate += exp((t - self.epoch) / TIMESCALE[TIMESCALES - 1])
        if self.unused_sample_count > 0:
            sample = self.samples + self.unused_samples[self.unused_sample_count - 1] * SAMPLE
            if self._features(t, slot, sample) >= 0.0:
                self._answer(sample, sample + FEATURES)
                self.unused_sample_count -= 1
                contact.sample = self.unused_samples[self.unused_sample_count]
        return slot

    def moved(self, double t, int32_t slot, int line) -> None:
        """A waiting contact goes to another line, because of its priority or an overflow; it is not learned from."""
        self._decay(t)
        self._check(slot, WAITING)
        cdef Contact_C* contact = &self.contact[slot]
        cdef int32_t before = contact.line, place = self.places[slot]
        if before == line:
            return
        self._wait_in(slot, line, contact.arrival)
        line_remove(&self.line[before], place)
        cdef Rate_C* old = &self.kind[self.place[before].kind].patience
        old.open -= 1.0
        old.open_since -= contact.since
        begun(&self.kind[self.place[line].kind].patience, contact.since)
        self._forget_sample(slot)

    def refused(self, int32_t slot, bint refused) -> None:
        """Whether it waits although agents may be idle: declined, missed, or not theirs to take."""
        self._check(slot, WAITING)
        self.contact[slot].refused = refused

    def left(self, double t, int32_t slot, bint abandoned) -> None:
        """A waiting contact is gone: it hung up (``abandoned``), or the center sent it away."""
        self._decay(t)
        self._check(slot, WAITING)
        cdef Contact_C* contact = &self.contact[slot]
        cdef Kind_C* kind = &self.kind[self.place[contact.line].kind]
        cdef int i
        over(&kind.patience, contact.since, t, 1.0 if abandoned else 0.0)
        over(&self.patience, contact.since, t, 1.0 if abandoned else 0.0)
        if abandoned:
            for i in range(TIMESCALES):
                kind.lefts[i] += exp((t - self.epoch) / TIMESCALE[i])
        line_remove(&self.line[contact.line], self.places[slot])
        self._forget_sample(slot)
        self._free_slot(slot)

    def connected(self, double t, int32_t slot, int agent) -> None:
        """An agent (-1: one that the center does not know) has taken a waiting contact."""
        self._decay(t)
        self._check(slot, WAITING)
        cdef Contact_C* contact = &self.contact[slot]
        cdef int number = self.place[contact.line].kind, i
        cdef Kind_C* kind = &self.kind[number]
        cdef double waited = t - contact.since
        over(&kind.patience, contact.since, t, 0.0)
        over(&self.patience, contact.since, t, 0.0)
        begun(&kind.handle, t)
        begun(&self.handle, t)
        if contact.sample >= 0 and waited > 0.0:
            self._learn(self.samples + contact.sample * SAMPLE, waited)
        self._forget_sample(slot)
        line_remove(&self.line[contact.line], self.places[slot])
        for i in range(TIMESCALES):
            kind.starts[i] += exp((t - self.epoch) / TIMESCALE[i])
        kind.last_start = self.last_start = t
        contact.state, contact.since, contact.agent = CONNECTED, t, agent
        if agent < 0:
            return
        contact.load = 1.0 / self._handle(number)
        self._hold(agent, contact.load, 1)

    def ended(self, double t, int32_t slot, bint wrap_up) -> None:
        """A conversation is over. With ``wrap_up`` its agent is held until :meth:`wrap_up_ended`."""
        self._decay(t)
        self._check(slot, CONNECTED)
        cdef Contact_C* contact = &self.contact[slot]
        cdef int kind = self.place[contact.line].kind
        cdef Agent_C* agent
        if contact.agent >= 0 and wrap_up:
            agent = &self.agent[contact.agent]
            if agent.wraps > 0:  # another contact's wrap-up goes on: that one is counted as over
                self._handled(agent.wrap_kind, agent.wrap_since, t)
            agent.wraps += 1
            agent.wrap_load += contact.load
            agent.wrap_kind = kind
            agent.wrap_since = contact.since
        else:
            self._handled(kind, contact.since, t)
            if contact.agent >= 0:
                self._hold(contact.agent, contact.load, -1)
        self._free_slot(slot)

    def wrap_up_ended(self, double t, int agent) -> None:
        """The agent's wrap-up is over."""
        self._decay(t)
        cdef Agent_C* one = &self.agent[agent]
        if one.wraps == 0:
            return
        self._handled(one.wrap_kind, one.wrap_since, t)
        cdef double load = one.wrap_load / one.wraps
        while one.wraps > 0:
            one.wraps -= 1
            self._hold(agent, load, -1)
        one.wrap_load = 0.0

    # ---- what is asked ------------------------------------------------------------------------------------------

    def predict(self, double t, int32_t slot) -> tuple[float, float, float]:
        """Mean, median and 90 % quantile of the seconds that a waiting contact will still wait."""
        self._check(slot, WAITING)
        cdef double[FEATURES] x
        cdef double[4] roots
        cdef double mean, tau
        if self._features(t if t > self.now else self.now, slot, x) < 0.0:
            return 0.0, 0.0, 0.0
        mean = self._answer(x, roots)
        tau = self._tau()
        return mean * tau, roots[1] * roots[1] * tau, roots[2] * roots[2] * tau

    def features(self, int32_t slot, double[::1] out) -> bool:
        """Write what the regression sees of a waiting contact to ``out``, float64, shape (47,). False: an agent is free."""
        self._check(slot, WAITING)
        if out.shape[0] != FEATURES:
            raise ValueError(f"out has {out.shape[0]} places, {FEATURES} are needed")
        return self._features(self.now, slot, &out[0]) >= 0.0

    def ahead(self, int32_t slot) -> float:
        """Contacts ahead that compete for this contact's agents, each counted by the share of those that could take it."""
        self._check(slot, WAITING)
        cdef Counts_C counts
        self._count(self.now, slot, &counts)
        return counts.ahead

    def parameters(self, int kind) -> tuple[float, float]:
        """What has been learned of a kind: mean handle time (seconds), abandonments a second of waiting."""
        return self._handle(kind), self._theta(kind)

    def trust(self) -> float:
        """The share of the learned correction in the estimates, 0 (pure physics) to 1."""
        return self._trust()

    # ---- the counts ---------------------------------------------------------------------------------------------

    cdef int _check(self, int32_t slot, int32_t state) except -1:
        if slot < 0 or slot >= self.contacts_made or self.contact[slot].state != state:
            raise ValueError(f"slot {slot} is not {'waiting' if state == WAITING else 'connected'}")
        return 0

    cdef int _decay(self, double t) except -1:
        # A decayed count is kept as the sum of exp((t_i - epoch) / timescale); from time to time the epoch moves on.
        if not t >= self.now:
            raise ValueError(f"time goes back from {self.now} to {t}")
        self.now = t
        if t - self.epoch < 100.0 * TIMESCALE[0]:
            return 0
        cdef int i, k
        cdef double factor
        for i in range(TIMESCALES):
            factor = exp((self.epoch - t) / TIMESCALE[i])
            for k in range(self.kinds):
                self.kind[k].starts[i] *= factor
                self.kind[k].arrivals[i] *= factor
                self.kind[k].lefts[i] *= factor
        for k in range(self.lines):
            self.place[k].rate *= factor
        self.epoch = t
        return 0

    cdef int _grow(self) except -1:
        cdef int32_t capacity = self.contact_capacity * 2 if self.contact_capacity else CONTACTS_FIRST
        cdef void* contact = realloc(self.contact, capacity * sizeof(Contact_C))
        if contact != NULL:
            self.contact = <Contact_C*>contact
        cdef void* places = realloc(self.places, capacity * sizeof(int32_t))
        if places != NULL:
            self.places = <int32_t*>places
        cdef void* unused = realloc(self.unused, capacity * sizeof(int32_t))
        if unused != NULL:
            self.unused = <int32_t*>unused
        if contact == NULL or places == NULL or unused == NULL:
            raise MemoryError(f"no memory for {capacity} contacts in the wait estimator")
        self.contact_capacity = capacity
        return 0

    cdef int _wait_in(self, int32_t slot, int32_t line, double arrival) except -1:
        if line_append(&self.line[line], arrival, slot, self.places) != 0:
            raise MemoryError("no memory for a longer line of waiting contacts")
        self.contact[slot].line = line
        self.contact[slot].arrival = arrival
        return 0

    cdef void _free_slot(self, int32_t slot) noexcept nogil:
        self.contact[slot].state = FREE
        self.unused[self.unused_count] = slot
        self.unused_count += 1

    cdef void _forget_sample(self, int32_t slot) noexcept nogil:
        if self.contact[slot].sample >= 0:
            self.unused_samples[self.unused_sample_count] = self.contact[slot].sample
            self.unused_sample_count += 1
            self.contact[slot].sample = -1

    cdef void _hold(self, int32_t number, double load, int sign) noexcept nogil:
        # A conversation or wrap-up begins (sign 1) or is over (-1) for an agent.
        cdef Agent_C* agent = &self.agent[number]
        cdef Group_C* group = &self.group[agent.group]
        cdef int was_idle = agent.busy == 0
        agent.busy += sign
        agent.load = agent.load + sign * load if agent.busy > 0 else 0.0
        if agent.staffed:
            group.idle += (agent.busy == 0) - was_idle
            group.busy += sign
            group.load = group.load + sign * load if group.busy > 0 else 0.0

    cdef void _handled(self, int kind, double since, double t) noexcept nogil:
        over(&self.kind[kind].handle, since, t, 1.0)
        over(&self.handle, since, t, 1.0)

    cdef double _tau(self) noexcept nogil:
        # Mean handle time of all kinds: the unit in which the regression counts time. At least 1 ms.
        return max((at_risk(&self.handle, self.now) + 0.1 * HANDLE_FIRST) / (self.handle.events + 0.1), 1e-3)

    cdef double _handle(self, int kind) noexcept nogil:
        # Shrunk to the mean of all kinds by ten conversations.
        cdef Rate_C* one = &self.kind[kind].handle
        return (at_risk(one, self.now) + 10.0 * self._tau()) / (one.events + 10.0)

    cdef double _theta(self, int kind) noexcept nogil:
        # Abandonments a second of waiting, shrunk to that of all kinds by five of them.
        cdef Rate_C* one = &self.kind[kind].patience
        cdef double usual = (self.patience.events + 0.1) / (at_risk(&self.patience, self.now) + 0.1 * PATIENCE_FIRST)
        return (one.events + 5.0) / (at_risk(one, self.now) + 5.0 / usual)

    cdef const double* _overlap_row(self, int kind) noexcept nogil:
        # overlap[d]: of the agents staffed (if none is: of all) who serve `kind`, the share that serves d too. Renewed
        # when the staffing has changed.
        cdef double* row = self.overlap + kind * self.max_kinds
        if self.overlap_at[kind] == self.staffing:
            return row
        cdef const int32_t* can = self.can + kind * self.groups
        cdef const int32_t* other
        cdef double total = 0.0, both
        cdef bint anyone = False
        cdef int d, g
        for g in range(self.groups):
            anyone = anyone or (can[g] and self.group[g].staffed > 0)
        for g in range(self.groups):
            if can[g]:
                total += self.group[g].staffed if anyone else self.group[g].agents
        for d in range(self.kinds):
            other = self.can + d * self.groups
            both = 0.0
            for g in range(self.groups):
                if can[g] and other[g]:
                    both += self.group[g].staffed if anyone else self.group[g].agents
            row[d] = both / total if total > 0.0 else 0.0
        row[kind] = 1.0
        self.overlap_at[kind] = self.staffing
        return row

    cdef void _count(self, double t, int32_t slot, Counts_C* out) noexcept nogil:
        cdef Contact_C* me = &self.contact[slot]
        cdef Order_C* mine = &self.place[me.line]
        cdef Order_C* other
        cdef const double* overlap = self._overlap_row(mine.kind)
        cdef double ahead, here, since, rates = 0.0
        cdef int i, above
        memset(out, 0, sizeof(Counts_C))
        for i in range(self.lines):
            other = &self.place[i]
            if overlap[other.kind] == 0.0 or self.line[i].alive == 0 and other.rate == 0.0:
                continue
            above = 0
            if i == me.line and self.line[i].arrival[self.places[slot]] <= me.arrival:
                ahead = here = line_before(&self.line[i], self.places[slot])
            else:
                here = line_arrived(&self.line[i], me.arrival)
                if self.order == ORDER_PRIORITY:
                    above = (other.weight > mine.weight) - (other.weight < mine.weight)
                    if above == 0:
                        above = (other.priority > mine.priority) - (other.priority < mine.priority)
                    ahead = here if above == 0 else (self.line[i].alive if above > 0 else 0)
                else:
                    if self.order == ORDER_SCORE:
                        above = (other.priority > mine.priority) - (other.priority < mine.priority)
                        since = me.arrival + other.priority - mine.priority
                    else:
                        above = (other.within < mine.within) - (other.within > mine.within)
                        since = t - (t - me.arrival) * other.within / mine.within
                    # Of two that are level who came first goes first: where the other line rises faster, this contact.
                    ahead = line_arrived(&self.line[i], nextafter(since, -INFINITY) if above > 0 else since)
            if other.kind == mine.kind:
                out.own_ahead += ahead
                out.own_here += here
            out.ahead += overlap[other.kind] * ahead
            out.here += overlap[other.kind] * here
            out.all_ahead += ahead
            out.all_here += here
            rates += overlap[other.kind] * other.rate
            if above > 0:
                out.overtaken += overlap[other.kind] * other.rate
        out.overtaken = out.overtaken / rates if rates > 0.0 else 0.0

    # ---- the features and the answer ----------------------------------------------------------------------------

    cdef void _flow(self, double t, int number, Flow_C* out) noexcept nogil:
        # The decayed counts of the last minutes: of the own kind, and of all by the share of its agents who serve them.
        cdef Kind_C* kind = &self.kind[number]
        cdef const double* overlap = self._overlap_row(number)
        cdef double fade
        cdef int i, k
        memset(out, 0, sizeof(Flow_C))
        for i in range(TIMESCALES):
            fade = exp((self.epoch - t) / TIMESCALE[i])
            for k in range(self.kinds):
                out.starts[i] += overlap[k] * self.kind[k].starts[i] * fade
                out.arrivals[i] += overlap[k] * self.kind[k].arrivals[i] * fade
                out.lefts[i] += overlap[k] * self.kind[k].lefts[i] * fade
            out.own_starts[i] = kind.starts[i] * fade
            out.own_arrivals[i] = kind.arrivals[i] * fade

    cdef double _features(self, double t, int32_t slot, double* x) noexcept nogil:
        # Fills x[0 .. FEATURES). Returns the competing contacts ahead, or -1 if an agent is free for this contact now.
        cdef int number = self.place[self.contact[slot].line].kind, i, at
        cdef Kind_C* kind = &self.kind[number]
        cdef double tau = self._tau(), theta = self._theta(number), angle
        cdef Flow_C f
        cdef double[6] counts
        cdef Counts_C c
        cdef Able_C able
        self._count(t, slot, &c)
        i = number * self.groups
        able_agents(self.group, self.groups, self.can + i, self.opens + i, t - self.contact[slot].arrival, &able)
        cdef double staffed = able.staffed, busy = able.busy, load = able.load
        if able.idle > c.ahead and able.not_before == 0.0 and not self.contact[slot].refused:
            return -1.0
        self._flow(t, number, &f)
        staffed = staffed if staffed > 1.0 else 1.0
        counts[:] = [c.own_ahead, c.ahead, c.all_ahead, c.own_here, c.here, c.all_here]
        x[0] = 1.0
        # The physics, with the completion rate of those who are busy now, and with the starts of the last 5 and 20
        # minutes; of those ahead who compete, of those ahead of the own kind, of those who came earlier.
        x[PHYSICS] = qla(c.ahead, load if load > 0.2 / tau else 0.2 / tau, theta) / tau
        x[PHYSICS] = max(min(x[PHYSICS], able.opens_idle / tau), able.not_before / tau)
        x[2] = qla(c.ahead, f.starts[1] / TIMESCALE[1] + 1.0 / tau, theta) / tau
        x[3] = qla(c.ahead, (f.starts[2] + 1.0) / TIMESCALE[2], theta) / tau
        x[4] = qla(c.own_ahead, (f.own_starts[2] + 0.3) / TIMESCALE[2], theta) / tau
        x[5] = qla(c.own_ahead, (f.own_starts[1] + 0.3) / TIMESCALE[1], theta) / tau
        x[6] = qla(c.here, (f.starts[2] + 1.0) / TIMESCALE[2], theta) / tau
        x[ROOT] = sqrt(x[PHYSICS])
        x[8] = sqrt(x[3])
        for i in range(6):
            x[9 + i] = log1p(counts[i])
            x[15 + i] = counts[i] / staffed
        x[21] = c.overtaken
        x[22] = c.overtaken * x[20]
        x[23] = c.overtaken * x[11]
        x[24] = log1p(staffed)
        x[25] = busy / staffed
        x[26] = 1.0 / staffed
        x[27] = load * tau / staffed
        at = 28
        for i in range(TIMESCALES):
            x[at] = log1p(f.starts[i])
            x[at + 1] = log1p(f.own_starts[i])
            x[at + 2] = log1p(f.arrivals[i])
            at += 3
        x[37] = log1p(f.own_arrivals[1])
        x[38] = log1p(f.own_arrivals[2])
        x[39] = log1p(f.lefts[1])
        x[40] = log1p(f.lefts[2])
        x[41] = log1p(min(t - self.last_start, 3600.0)) / 5.0
        x[42] = log1p(min(t - kind.last_start, 3600.0)) / 5.0
        angle = 2.0 * M_PI * t / 86400.0
        x[43] = sin(angle)
        x[44] = cos(angle)
        x[45] = sin(2.0 * angle)
        x[46] = cos(2.0 * angle)
        return c.ahead

    cdef double _answer(self, const double* x, double* out) noexcept nogil:
        # The mean; out = centre, p50, p90 as square roots, and the mean as the regression alone has it. Units of tau.
        cdef double mean = ridge_value(&self.ridge, x, 0), variance = ridge_value(&self.ridge, x, 2)
        cdef double least = 0.1 * self.spread_mean, trust = self._trust(), spread
        spread = sqrt(variance if variance > least else least)
        out[0] = x[ROOT] + trust * (ridge_value(&self.ridge, x, 1) - x[ROOT])
        out[1] = max(out[0] + self.k50 * spread, 0.0)
        out[2] = max(out[0] + max(self.k90, self.k50) * spread, 0.0)
        # The bounds are for a state far from anything seen.
        out[3] = min(max(mean, 0.02 * x[PHYSICS]), 10.0 * (x[PHYSICS] + 1.0))
        mean = x[PHYSICS] + trust * (out[3] - x[PHYSICS])
        return mean if trust == 0.0 else min(mean, out[2] * out[2])

    cdef double _trust(self) noexcept nogil:
        # How much of the regression's correction to take, 0 .. 1: the least-squares share, shrunk to none. Neighbours
        # in a queue share their luck, so the regression fits noise of the physics' own; this is judged on what was
        # announced, before the outcome was known, and is 0 where the physics is the truth.
        cdef double need = self.correction_square + 0.02 * self.physics_square + 1e-12
        return min(max(self.correction_gain / need, 0.0), 1.0)

    cdef int _learn(self, const double* sample, double waited) noexcept nogil:
        cdef double[3] y
        cdef double root = sqrt(waited / self._tau()), error = root - sample[FEATURES]
        cdef double miss = root * root - sample[PHYSICS], correction = sample[FEATURES + 3] - sample[PHYSICS]
        y[:] = [root * root, root, error * error]
        self.learned += 1
        self.spread_mean += (y[2] - self.spread_mean) / min(self.learned + 10.0, 10_000.0)
        self.physics_square = FORGET * self.physics_square + miss * miss
        self.correction_gain = FORGET * self.correction_gain + miss * correction
        self.correction_square = FORGET * self.correction_square + correction * correction
        self.k50 += TRACK * ((root > sample[FEATURES + 1]) - 0.5)
        self.k90 += TRACK * ((root > sample[FEATURES + 2]) - 0.1)
        ridge_add(&self.ridge, sample, y)
        if self.learned - self.solved_at >= min(32, 1 + self.learned // 16):
            ridge_solve(&self.ridge)
            self.solved_at = self.learned
        return 0
