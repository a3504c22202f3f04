# What is counted in a simulated world: queues' counters and waits, agents' time in each state, records of contacts.
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport realloc

from cordboard._core.acd_types cimport AWAY, Agent, READY
from cordboard._core.simheap cimport W_NO_MEMORY, push
from cordboard._core.simkernel cimport (
    C_OFFERED, Caller_C, Desk_C, K_BATCH, N_AGENT, N_BINS, N_COUNTERS, Record_C, S_AWAY, S_IDLE, S_OFFLINE, S_RINGING,
    S_TALKING, S_WRAP_UP, World_C,
)

cdef inline void record(World_C* w, const Caller_C* c, int32_t outcome, int64_t wait, int64_t talk) noexcept nogil:
    cdef void* block
    cdef Record_C* r
    if w.n_records == w.records_room:
        block = realloc(w.records, 2 * w.records_room * sizeof(Record_C))
        if block == NULL:
            w.error = W_NO_MEMORY
            return
        w.records = <Record_C*>block
        w.records_room *= 2
    r = &w.records[w.n_records]
    w.n_records += 1
    r.index, r.entered, r.wait, r.talk = c.index, c.entered, wait, talk
    r.source, r.attempt, r.outcome, r.queue, r.agent = c.source, c.attempt, outcome, c.queue, c.agent

cdef inline int wait_bin(int64_t wait) noexcept nogil:
    cdef uint64_t v = <uint64_t>wait >> 10
    cdef int octave = 0
    while v >> octave >= 64:
        octave += 1
    if v < 32:
        return <int>v
    cdef int at = 32 * (octave + 1) + <int>(v >> octave) - 32
    return at if at < N_BINS else N_BINS - 1

cdef inline void enter_queue(World_C* w, Caller_C* c, int32_t queue) noexcept nogil:
    cdef int64_t at = <int64_t>w.batch * w.n_queues + queue
    c.queue = queue
    c.entered = w.now
    c.row = w.counters + at * N_COUNTERS
    c.bins = w.bins + at * N_BINS
    c.row[C_OFFERED] += 1

cdef inline void touch(World_C* w, int32_t agent) noexcept nogil:
    # Book the time of the agent's state if the engine has changed it.
    cdef const Agent* a = &w.engine.agents[agent]
    cdef Desk_C* d = &w.desks[agent]
    cdef int32_t state
    if a.n_connected:
        state = S_TALKING
    elif a.wrapping:
        state = S_WRAP_UP
    elif a.n_links:
        state = S_RINGING
    else:
        state = S_IDLE if a.presence == READY else S_AWAY if a.presence == AWAY else S_OFFLINE
    if state == d.state:
        return
    w.agent_rows[(<int64_t>w.batch * w.n_agents + agent) * N_AGENT + d.state] += w.now - d.since
    d.since = w.now
    d.state = state

cdef inline void next_batch(World_C* w) noexcept nogil:
    # The window of the statistics moves on; every agent's running state is booked up to now.
    cdef int32_t i
    for i in range(w.n_agents):
        w.agent_rows[(<int64_t>w.batch * w.n_agents + i) * N_AGENT + w.desks[i].state] += w.now - w.desks[i].since
        w.desks[i].since = w.now
    w.batch = w.next_batch
    w.next_batch += 1
    if w.batch < w.n_batches:
        push(w, w.batch_at[w.next_batch], K_BATCH, 0, 0)
