"""The simulation kernel: callers and agents around the routing engine that also runs live.

One event is one pass of ``step``: the world's event goes into the engine, the engine's effects come back into the world
(``drain``), without a Python object in between. Which contact goes to which agent is the engine's business alone.
"""

from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memset

import numpy as np

from cordboard._core cimport acd
from cordboard._core.acd cimport Router
from cordboard._core.acd_types cimport (
    ACD_NO_OFFER, ACD_OK, ACD_TOO_MANY_CONTACTS, ACD_UNKNOWN_CONTACT,
    EFFECT_AGENT_AWAY, EFFECT_CONTACT_EXPIRED, EFFECT_CONTACT_REJECTED, EFFECT_OFFER, EFFECT_OFFER_EXPIRED,
    EFFECT_OFFER_WITHDRAWN, EFFECT_WRAP_UP_ENDED, EFFECT_WRAP_UP_STARTED,
    AWAY, OFFERED, READY, WAITING,
    Agent, Effect_C,
)
from cordboard._core.rng cimport splitmix64
from cordboard._core.simarrivals cimport schedule_arrival, stream
from cordboard._core.simheap cimport (
    KIND_BITS, W_HALTED, W_NO_MEMORY, W_OK, callers_grow, close_hole, heap_grow, pending_free, pending_new, push,
)
from cordboard._core.simlaws cimport LAW_DETERMINISTIC, Law_C, NEVER_US, law_ticks, laws_fill, unit
from cordboard._core.simstats cimport enter_queue, next_batch, record, touch, wait_bin

RECORD = np.dtype([
    ("index", "i8"), ("entered", "i8"), ("wait", "i8"), ("talk", "i8"), ("source", "i4"), ("attempt", "i4"),
    ("outcome", "i4"), ("queue", "i4"), ("agent", "i4"),
])
COUNTERS = N_COUNTERS
BINS = N_BINS

cdef enum: KIND_MASK = (1 << KIND_BITS) - 1
cdef uint32_t GENERATION_MASK = (1 << (32 - KIND_BITS)) - 1


# ---- callers ----------------------------------------------------------------------------------------------------------

cdef void maybe_retry(World_C* w, int32_t source, uint64_t key, int64_t index, int32_t attempt) noexcept nogil:
    cdef Source_C* s = &w.sources[source]
    cdef uint64_t x
    cdef int32_t i
    if attempt >= s.attempts:
        return
    x = stream(key, P_RETRY, attempt)
    if unit(&x) > s.p_retry:
        return
    if w.retrying >= w.engine.max_contacts:
        w.error = ACD_TOO_MANY_CONTACTS
        return
    i = pending_new(w)
    if i < 0:
        return
    w.retrying += 1
    w.pendings[i].key, w.pendings[i].index = key, index
    w.pendings[i].source, w.pendings[i].attempt = source, attempt + 1
    x = stream(key, P_RETRY_DELAY, attempt)
    push(w, w.now + law_ticks(w.laws, s.retry_delay, &x), K_RETRY, i, 0)


cdef void turned_away(World_C* w, int32_t source, uint64_t key, int64_t index, int32_t attempt, int counter,
                      int32_t outcome) noexcept nogil:
    # Never was in a queue: no line was free, or the queue was full.
    cdef Caller_C c
    cdef int32_t queue = w.sources[source].spec.queue
    w.counters[(<int64_t>w.batch * w.n_queues + queue) * N_COUNTERS + counter] += 1
    if w.records_room:
        c.index, c.entered, c.source, c.attempt, c.queue, c.agent = index, w.now, source, attempt, queue, -1
        record(w, &c, outcome, 0, 0)
    maybe_retry(w, source, key, index, attempt)


cdef int come(World_C* w, int32_t source, uint64_t key, int64_t index, int32_t attempt) noexcept nogil:
    # A caller comes in, for the first time or again.
    cdef Engine* e = w.engine
    cdef Source_C* s = &w.sources[source]
    cdef Caller_C* c
    cdef int32_t slot
    cdef int code
    cdef uint64_t x
    cdef int64_t patience
    if w.lines and e.counts.waiting + e.counts.offered + e.counts.connected >= w.lines:
        turned_away(w, source, key, index, attempt, C_BUSY, O_BUSY)
        return W_OK
    s.spec.id = w.n_contacts
    w.n_contacts += 1
    code = acd.acd_contact_queued(e, w.now, &s.spec, &slot)
    if code != ACD_OK:
        return code
    if slot < 0:
        turned_away(w, source, key, index, attempt, C_REJECTED, O_REJECTED)
        return drain(w)
    if slot >= w.callers_room and callers_grow(w, slot) != W_OK:
        return W_NO_MEMORY
    c = &w.callers[slot]
    c.key, c.index, c.source, c.attempt = key, index, source, attempt
    c.agent, c.offers, c.pendings = -1, 0, -1
    c.generation += 2
    enter_queue(w, c, s.spec.queue)
    if attempt:
        c.row[C_RETRIED] += 1
    code = drain(w)
    if code != W_OK or c.agent >= 0:
        return code
    if w.places and c.offers == 0 and e.counts.waiting > w.places:
        return no_place(w, slot)
    c.row[C_DELAYED] += c.offers == 0
    x = stream(key, P_PATIENCE, attempt)
    patience = law_ticks(w.laws, s.patience, &x)
    if patience < NEVER_US:
        push(w, w.now + patience, K_PATIENCE, slot, c.generation & GENERATION_MASK)
    return W_OK


cdef int no_place(World_C* w, int32_t slot) noexcept nogil:
    # It would have to wait and no place is left: it hears busy, as if it had not come into the queue.
    cdef Caller_C c = w.callers[slot]
    cdef int code = acd.acd_contact_left(w.engine, w.now, slot)
    if code != ACD_OK:
        return code
    c.row[C_OFFERED] -= 1
    if c.attempt:
        c.row[C_RETRIED] -= 1
    turned_away(w, c.source, c.key, c.index, c.attempt, C_BUSY, O_BUSY)
    return drain(w)


cdef inline void forget_offers(World_C* w, Caller_C* c) noexcept nogil:
    # The events of offers that are no longer open come to nothing.
    while c.pendings >= 0:
        w.pendings[c.pendings].slot = -1
        c.pendings = w.pendings[c.pendings].next


cdef void forget_offer(World_C* w, Caller_C* c, int32_t agent) noexcept nogil:
    cdef int32_t* link = &c.pendings
    while link[0] >= 0:
        if w.pendings[link[0]].agent == agent:
            w.pendings[link[0]].slot = -1
            link[0] = w.pendings[link[0]].next
            return
        link = &w.pendings[link[0]].next


cdef int accept(World_C* w, int32_t slot, int32_t agent) noexcept nogil:
    cdef Caller_C* c = &w.callers[slot]
    cdef Source_C* s = &w.sources[c.source]
    cdef int64_t wait = w.now - c.entered, talk
    cdef uint64_t x
    cdef int code = acd.acd_offer_accepted(w.engine, w.now, slot, agent)
    if code != ACD_OK:
        return code
    if c.pendings >= 0:
        forget_offers(w, c)
    c.generation += 2  # its patience no longer counts
    c.agent = agent
    c.connected_at = w.now
    c.row[C_ANSWERED] += 1
    c.row[C_WAIT_ANSWERED] += wait
    c.row[C_ANSWERED_IN] += wait <= w.within[c.queue]
    if wait > c.row[C_LONGEST]:
        c.row[C_LONGEST] = wait
    c.bins[wait_bin(wait) if wait else 0] += 1
    x = stream(c.key, P_SERVICE, 0)
    talk = law_ticks(w.laws, s.service[w.desks[agent].kind], &x)
    c.row[C_TALK] += talk
    if w.records_room:
        record(w, c, O_ANSWERED, wait, talk)
    touch(w, agent)
    push(w, w.now + talk, K_SERVED, slot, 0)
    return W_OK


cdef int leave(World_C* w, int32_t slot) noexcept nogil:
    # Patience is over.
    cdef Caller_C* c = &w.callers[slot]
    cdef int64_t wait = w.now - c.entered
    cdef int code = acd.acd_contact_left(w.engine, w.now, slot)
    if code != ACD_OK:
        return code
    c.row[C_ABANDONED] += 1
    c.row[C_WAIT_ABANDONED] += wait
    c.row[C_ABANDONED_IN] += wait <= w.within[c.queue]
    c.row[C_SHORT] += wait <= w.short_us
    gone(w, c, O_ABANDONED, wait)
    return drain(w)


cdef void gone(World_C* w, Caller_C* c, int32_t outcome, int64_t wait) noexcept nogil:
    # A waiting caller is out of the engine, without service.
    if wait > c.row[C_LONGEST]:
        c.row[C_LONGEST] = wait
    forget_offers(w, c)
    c.generation += 2
    if w.records_room:
        record(w, c, outcome, wait, 0)
    maybe_retry(w, c.source, c.key, c.index, c.attempt)


cdef int end(World_C* w, int32_t slot) noexcept nogil:
    # The conversation is over.
    cdef Caller_C* c = &w.callers[slot]
    cdef int32_t agent = c.agent
    cdef int code
    w.ending_key, w.ending_source = c.key, c.source
    w.agent_rows[(<int64_t>w.batch * w.n_agents + agent) * N_AGENT + S_HANDLED] += 1
    code = acd.acd_contact_ended(w.engine, w.now, slot)
    if code != ACD_OK:
        return code
    code = drain(w)
    touch(w, agent)
    return code


# ---- effects ----------------------------------------------------------------------------------------------------------

cdef int drain(World_C* w) noexcept nogil:
    # Effects in their order; what they make the world do at once (an agent accepts) adds effects behind them.
    cdef Engine* e = w.engine
    cdef const Effect_C* f
    cdef int32_t i = 0
    cdef int code = W_OK
    while i < e.n_effects and code == W_OK:
        f = &e.effects[i]
        i += 1
        if f.effect == EFFECT_OFFER:
            code = offered(w, f.slot, f.agent)
        else:
            code = other_effect(w, f)
    e.n_effects = 0
    e.n_freed = 0
    return code


cdef int offered(World_C* w, int32_t slot, int32_t agent) noexcept nogil:
    cdef Caller_C* c = &w.callers[slot]
    cdef Source_C* s = &w.sources[c.source]
    cdef uint64_t x
    cdef int32_t i
    cdef int code
    cdef bint declines = False
    c.row[C_OFFERS] += 1
    c.offers += 1
    if s.p_no_answer > 0:
        x = stream(c.key, P_NO_ANSWER, c.offers)
        if unit(&x) <= s.p_no_answer:
            if w.engine.queues[c.queue].offer_timeout > 0:
                touch(w, agent)  # it rings until the engine's timer
                return W_OK
            declines = True
    if s.ring_at_once and not declines:
        code = accept(w, slot, agent)
        # Withdrawn within this very event: another agent of ring_all was quicker, or the contact's time was up.
        return W_OK if code == ACD_NO_OFFER or code == ACD_UNKNOWN_CONTACT else code
    touch(w, agent)
    i = pending_new(w)
    if i < 0:
        return W_NO_MEMORY
    w.pendings[i].slot, w.pendings[i].agent, w.pendings[i].declines = slot, agent, declines
    w.pendings[i].next = c.pendings
    c.pendings = i
    x = stream(c.key, P_RING, c.offers)
    push(w, w.now + law_ticks(w.laws, s.ring, &x), K_RING, i, 0)
    return W_OK


cdef int other_effect(World_C* w, const Effect_C* f) noexcept nogil:
    # f is not read after anything that may append effects.
    cdef Caller_C* c = NULL
    cdef int32_t effect = f.effect, agent = f.agent, queue = f.queue
    if f.slot >= 0:
        c = &w.callers[f.slot]
    if effect == EFFECT_OFFER_WITHDRAWN or effect == EFFECT_OFFER_EXPIRED:
        if c.pendings >= 0:
            forget_offer(w, c, agent)
        c.row[C_MISSED] += effect == EFFECT_OFFER_EXPIRED
        touch(w, agent)
    elif effect == EFFECT_WRAP_UP_STARTED:
        touch(w, agent)
        return start_wrap_up(w, agent)
    elif effect == EFFECT_WRAP_UP_ENDED:
        w.desks[agent].wrap_up += 1
        touch(w, agent)
    elif effect == EFFECT_AGENT_AWAY:
        touch(w, agent)
        push(w, w.now + w.back_after, K_BACK, agent, 0)
    elif effect == EFFECT_CONTACT_EXPIRED:
        c.row[C_WAIT_OTHER] += w.now - c.entered
        if queue >= 0:
            c.row[C_FLOWOUT] += 1
            if w.now - c.entered > c.row[C_LONGEST]:
                c.row[C_LONGEST] = w.now - c.entered
            enter_queue(w, c, queue)
        else:
            c.row[C_TIMEOUT] += 1
            gone(w, c, O_TIMEOUT, w.now - c.entered)
    elif effect == EFFECT_CONTACT_REJECTED and c != NULL:  # by a full overflow queue
        c.row[C_OFFERED] -= 1
        c.row[C_REJECTED] += 1
        gone(w, c, O_REJECTED, 0)
    return w.error


cdef int start_wrap_up(World_C* w, int32_t agent) noexcept nogil:
    cdef Desk_C* d = &w.desks[agent]
    cdef int32_t law = w.sources[w.ending_source].wrap_up[d.kind]
    cdef uint64_t x = stream(w.ending_key, P_WRAP_UP, 0)
    d.wrap_up += 1
    if law >= 0:
        push(w, w.now + law_ticks(w.laws, law, &x), K_WRAP_UP, agent, d.wrap_up & GENERATION_MASK)
    return w.error


# ---- the loop ---------------------------------------------------------------------------------------------------------

cdef int arrival(World_C* w, int32_t source) noexcept nogil:
    cdef Source_C* s = &w.sources[source]
    cdef int64_t index = s.count
    cdef uint64_t key = splitmix64(&s.key_state)
    s.count += 1
    schedule_arrival(w, source)
    return come(w, source, key, index, 0)


cdef int ring(World_C* w, int32_t i) noexcept nogil:
    cdef Pending_C p = w.pendings[i]
    cdef Caller_C* c
    cdef int code
    if p.slot < 0:
        pending_free(w, i)
        return W_OK
    c = &w.callers[p.slot]
    forget_offer(w, c, p.agent)
    pending_free(w, i)
    if not p.declines:
        code = accept(w, p.slot, p.agent)
        return code if code != ACD_OK else drain(w)
    c.row[C_MISSED] += 1
    code = acd.acd_offer_declined(w.engine, w.now, p.slot, p.agent)
    if code != ACD_OK:
        return code
    code = drain(w)
    touch(w, p.agent)
    return code


cdef int retry(World_C* w, int32_t i) noexcept nogil:
    cdef Pending_C p = w.pendings[i]
    pending_free(w, i)
    w.retrying -= 1
    return come(w, p.source, p.key, p.index, p.attempt)


cdef int present(World_C* w, int32_t agent, int32_t presence) noexcept nogil:
    cdef int code
    if presence == READY:
        code = acd.acd_agent_ready(w.engine, w.now, agent)
    elif presence == AWAY:
        code = acd.acd_agent_away(w.engine, w.now, agent)
    else:
        code = acd.acd_agent_offline(w.engine, w.now, agent)
    if code != ACD_OK:
        return code
    touch(w, agent)
    return drain(w)


cdef int shifts(World_C* w) noexcept nogil:
    # Every line of the shift plan that is due now, in its order.
    cdef int32_t i
    cdef int code = W_OK
    while w.shift < w.n_shifts and w.shift_at[w.shift] <= w.now and code == W_OK:
        i = w.shift
        w.shift += 1
        w.desks[w.shift_agent[i]].on_shift = w.shift_presence[i] == READY
        code = present(w, w.shift_agent[i], w.shift_presence[i])
    if w.shift < w.n_shifts:
        push(w, w.shift_at[w.shift], K_SHIFT, 0, 0)
    return code


cdef int step(World_C* w, Node_C node) noexcept nogil:
    cdef uint32_t kind = node.tag & KIND_MASK, generation = node.tag >> KIND_BITS
    cdef int32_t ref = <int32_t>node.ref
    cdef int code
    if kind == K_SERVED:
        return end(w, ref)
    if kind == K_PATIENCE:
        return leave(w, ref) if w.callers[ref].generation & GENERATION_MASK == generation else W_OK
    if kind == K_ARRIVAL:
        return arrival(w, ref)
    if kind == K_RING:
        return ring(w, ref)
    if kind == K_RETRY:
        return retry(w, ref)
    if kind == K_WRAP_UP:
        if w.desks[ref].wrap_up & GENERATION_MASK != generation:
            return W_OK
        code = acd.acd_wrap_up_ended(w.engine, w.now, ref)
        if code != ACD_OK:
            return code
        code = drain(w)
        touch(w, ref)
        return code
    if kind == K_BACK:
        if w.desks[ref].on_shift and w.engine.agents[ref].presence == AWAY:
            return present(w, ref, READY)
        return W_OK
    if kind == K_SHIFT:
        return shifts(w)
    next_batch(w)
    return W_OK


cdef int run_world(World_C* w) noexcept nogil:
    # Until nobody is left after the last arrival, or w.stop. 0, or a negative code of the engine.
    cdef Engine* e = w.engine
    cdef int64_t timer
    cdef Node_C node
    cdef int code = w.error
    while code == W_OK:
        timer = acd.acd_next_timer(e)
        if w.n_heap == 0 or timer <= w.heap[0].t:
            if timer > w.stop:
                break
            w.now = timer
            code = acd.acd_advance(e, timer)
            if code == ACD_OK:
                code = drain(w)
        else:
            node = w.heap[0]
            if node.t > w.stop:
                break
            w.now = node.t
            w.hole = 1
            code = step(w, node)
            close_hole(w)
        w.n_events += 1
        if w.error:
            code = w.error
        if w.now >= w.end_of_arrivals and w.retrying == 0 and (
                e.counts.waiting + e.counts.offered + e.counts.connected == 0 and w.next_batch > w.n_batches):
            break
    return code


cdef void count_open(World_C* w) noexcept nogil:
    # Contacts that still wait when the run ends.
    cdef int32_t slot
    for slot in range(w.engine.n_contacts):
        if w.engine.contacts[slot].state == WAITING or w.engine.contacts[slot].state == OFFERED:
            w.callers[slot].row[C_OPEN] += 1


cdef class World:
    """One replication: the arrays that the kernel reads stay alive as long as it does."""

    cdef World_C w
    cdef Law_C* laws
    cdef Router router
    cdef list kept
    cdef object arrays

    def __cinit__(self):
        memset(&self.w, 0, sizeof(World_C))
        self.laws = NULL
        self.kept = []

    def __dealloc__(self):
        free(self.laws)
        free(self.w.heap)
        free(self.w.sources)
        free(self.w.callers)
        free(self.w.pendings)
        free(self.w.desks)
        free(self.w.records)

    def __init__(self, Router router, laws, *, int32_t n_queues, int32_t n_agents, const int32_t[:] agent_kind,
                 const int64_t[:] within, const int64_t[:] batch_at, shifts, int64_t stop, int64_t lines,
                 int64_t places, int64_t back_after, int64_t short_us, bint records):
        """See ``cordboard.simulation.run``, which alone makes worlds."""
        kinds, counts, parameters, offsets, tables = laws
        self.router = router
        self.w.engine = router.engine
        self.laws = <Law_C*>calloc(len(kinds), sizeof(Law_C))
        self.w.desks = <Desk_C*>calloc(max(n_agents, 1), sizeof(Desk_C))
        if self.laws == NULL or self.w.desks == NULL or heap_grow(&self.w) != W_OK:
            raise MemoryError
        laws_fill(self.laws, kinds, counts, parameters, offsets, self.doubles(tables))
        self.w.laws, self.w.n_queues, self.w.n_agents = self.laws, n_queues, n_agents
        self.w.stop, self.w.lines, self.w.places, self.w.back_after = stop, lines, places, back_after
        self.w.short_us, self.w.free_pending = short_us, -1
        self.w.within, self.w.batch_at = self.longs(within), self.longs(batch_at)
        self.w.batch = self.w.n_batches = batch_at.shape[0] - 1
        self.w.end_of_arrivals = batch_at[self.w.n_batches]
        self.w.shift_at, self.w.n_shifts = self.longs(shifts[0]), len(shifts[0])
        self.w.shift_agent, self.w.shift_presence = self.ints(shifts[1]), self.ints(shifts[2])
        cdef int32_t i
        for i in range(n_agents):
            self.w.desks[i].kind = agent_kind[i]
        self.make_counters()
        if records:
            self.w.records_room = 1024
            self.w.records = <Record_C*>calloc(1024, sizeof(Record_C))
            if self.w.records == NULL:
                raise MemoryError

    cdef make_counters(self):
        cdef int64_t batches = self.w.n_batches + 1
        counters = np.zeros((batches, self.w.n_queues, N_COUNTERS), np.int64)
        bins = np.zeros((batches, self.w.n_queues, N_BINS), np.uint32)
        rows = np.zeros((batches, self.w.n_agents, N_AGENT), np.int64)
        self.arrays = (counters, bins, rows)
        cdef int64_t[:, :, :] c = counters
        cdef uint32_t[:, :, :] b = bins
        cdef int64_t[:, :, :] a = rows
        self.w.counters = &c[0, 0, 0]
        self.w.bins = &b[0, 0, 0]
        self.w.agent_rows = &a[0, 0, 0] if self.w.n_agents else NULL

    cdef const double* doubles(self, values) except? NULL:
        cdef const double[::1] view = np.ascontiguousarray(values, np.float64)
        self.kept.append(view)
        return &view[0] if view.shape[0] else NULL

    cdef const int64_t* longs(self, values) except? NULL:
        cdef const int64_t[::1] view = np.ascontiguousarray(values, np.int64)
        self.kept.append(view)
        return &view[0] if view.shape[0] else NULL

    cdef const int32_t* ints(self, values) except? NULL:
        cdef const int32_t[::1] view = np.ascontiguousarray(values, np.int32)
        self.kept.append(view)
        return &view[0] if view.shape[0] else NULL

    def add_source(self, *, int32_t queue, double priority, int32_t steps, uint64_t arrival_seed, uint64_t key_seed, trace,
                   piece_end, piece_rate, service, wrap_up, int32_t patience, int32_t ring, double p_no_answer,
                   double p_retry, int32_t retry_delay, int32_t attempts):
        """One stream of contacts. ``trace``: int64 us or None; ``piece_end`` us and ``piece_rate`` contacts a us."""
        cdef void* block = realloc(self.w.sources, (self.w.n_sources + 1) * sizeof(Source_C))
        if block == NULL:
            raise MemoryError
        self.w.sources = <Source_C*>block
        cdef Source_C* s = &self.w.sources[self.w.n_sources]
        memset(s, 0, sizeof(Source_C))
        acd.acd_queued_defaults(&s.spec, 0, queue)
        s.spec.priority = priority
        if steps >= 0:
            s.spec.steps = steps
        s.arrival_state, s.key_state = arrival_seed, key_seed
        if trace is not None:
            s.trace, s.n_trace = self.longs(trace), len(trace)
        s.piece_end, s.piece_rate, s.n_pieces = self.doubles(piece_end), self.doubles(piece_rate), len(piece_end)
        s.service, s.wrap_up = self.ints(service), self.ints(wrap_up)
        s.patience, s.ring, s.retry_delay = patience, ring, retry_delay
        s.ring_at_once = self.laws[ring].kind == LAW_DETERMINISTIC and self.laws[ring].a == 0
        s.p_no_answer, s.p_retry, s.attempts = p_no_answer, p_retry, attempts
        self.w.n_sources += 1

    def run(self):
        """Run to the end, without the GIL. Returns 0 or the engine's negative code."""
        cdef int code = W_OK
        cdef int32_t i
        with nogil:
            if self.w.batch_at[0] > 0:
                push(&self.w, self.w.batch_at[0], K_BATCH, 0, 0)
            else:
                next_batch(&self.w)
            code = shifts(&self.w)  # who works from the start is ready before the first contact comes
            for i in range(self.w.n_sources):
                schedule_arrival(&self.w, i)
            if code == W_OK:
                code = run_world(&self.w)
            count_open(&self.w)
        return code

    def halt(self):
        """End a run that goes on in another thread, after its present event."""
        self.w.error = W_HALTED

    def results(self):
        """counters, wait bins, agents' rows (views, first axis batches, then one row of what is not counted)."""
        return self.arrays

    def work(self):
        """(contacts that came, events done, last instant in us)."""
        return self.w.n_contacts, self.w.n_events, self.w.now

    def records(self):
        """What became of each contact, in the order of decision: a structured array of RECORD."""
        out = np.empty(self.w.n_records, RECORD)
        cdef const Record_C[:] source
        if self.w.n_records:
            source = <Record_C[:self.w.n_records]>self.w.records
            out[:] = np.asarray(source)
        return out
