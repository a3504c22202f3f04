"""What api.pxd promises to vendors, on top of the modules that do the work. Thin: no state, no decision."""

from libc.math cimport INFINITY, NAN, fabs, llrint
from libc.string cimport memmove

from cordboard._core.acd cimport (
    Router, acd_advance, acd_agent_away, acd_agent_offline, acd_agent_ready, acd_contact_ended, acd_contact_left,
    acd_contact_queued, acd_next_timer, acd_offer_accepted, acd_offer_declined, acd_priority_changed, acd_queued_defaults,
    acd_wrap_up_ended)
from cordboard._core.acd_types cimport ACD_BAD_VALUE, NEVER, Effect_C, Engine, Queued_C
from cordboard._core.online cimport online_handle, online_probability, online_trace
from cordboard._core.patience cimport Measures_C
from cordboard._core.queueing cimport (
    Target_C, erlang_b_inverse, erlang_c_of, measures_of, minimum_agents_a, minimum_agents_c)
from cordboard._core.trees cimport trees_handle, trees_probability

cdef double TIME_MAX = 9e12            # seconds whose microseconds fit in 64 bits
cdef long AGENTS_MAX = 10000000


cdef int api_version() noexcept nogil:
    return API_VERSION


cdef double api_erlang_b(long agents, double load) noexcept nogil:
    return 1.0 / erlang_b_inverse(agents, load)


cdef double api_erlang_c(long agents, double load) noexcept nogil:
    if not load < <double>agents:
        return NAN
    return erlang_c_of(erlang_b_inverse(agents, load), agents, load)


cdef void api_measures(
        long agents, double rate, double handle, double patience, double within, double* out) noexcept nogil:
    measures_of(<Measures_C*>out, agents, rate, handle, patience, within)


cdef long api_minimum_agents(
        double rate, double handle, double patience, double service_level, double within) noexcept nogil:
    cdef Target_C target
    target.service_level = service_level
    target.within = within
    target.abandonment = target.mean_wait = NAN
    if patience == INFINITY:
        return minimum_agents_c(rate, handle, &target, AGENTS_MAX)
    return minimum_agents_a(rate, handle, patience, &target, AGENTS_MAX)


cdef object api_new_router(object center, long long seed):
    return Router(center, seed=seed)


cdef void* api_engine(object router) except NULL:
    return (<Router?>router).engine


cdef inline int ticks(double t, long long* out) noexcept nogil:
    # A NaN is not within any bound either.
    if not fabs(t) <= TIME_MAX:
        return ACD_BAD_VALUE
    out[0] = llrint(t * 1e6)
    return 0


cdef int api_advance(void* engine, double t) noexcept nogil:
    cdef long long at
    return ACD_BAD_VALUE if ticks(t, &at) < 0 else acd_advance(<Engine*>engine, at)


cdef double api_next_timer(void* engine) noexcept nogil:
    cdef long long at = acd_next_timer(<Engine*>engine)
    return INFINITY if at == NEVER else <double>at * 1e-6


cdef int api_agent_ready(void* engine, double t, int32_t agent) noexcept nogil:
    cdef long long at
    return ACD_BAD_VALUE if ticks(t, &at) < 0 else acd_agent_ready(<Engine*>engine, at, agent)


cdef int api_agent_away(void* engine, double t, int32_t agent) noexcept nogil:
    cdef long long at
    return ACD_BAD_VALUE if ticks(t, &at) < 0 else acd_agent_away(<Engine*>engine, at, agent)


cdef int api_agent_offline(void* engine, double t, int32_t agent) noexcept nogil:
    cdef long long at
    return ACD_BAD_VALUE if ticks(t, &at) < 0 else acd_agent_offline(<Engine*>engine, at, agent)


cdef int api_contact_queued(
        void* engine, double t, int64_t contact, int32_t queue, double priority, int32_t* slot) noexcept nogil:
    cdef long long at
    cdef Queued_C spec
    slot[0] = -1
    if ticks(t, &at) < 0 or contact < 0:
        return ACD_BAD_VALUE
    acd_queued_defaults(&spec, contact, queue)
    spec.priority = priority
    return acd_contact_queued(<Engine*>engine, at, &spec, slot)


cdef int api_contact_left(void* engine, double t, int32_t slot) noexcept nogil:
    cdef long long at
    return ACD_BAD_VALUE if ticks(t, &at) < 0 else acd_contact_left(<Engine*>engine, at, slot)


cdef int api_offer_accepted(void* engine, double t, int32_t slot, int32_t agent) noexcept nogil:
    cdef long long at
    return ACD_BAD_VALUE if ticks(t, &at) < 0 else acd_offer_accepted(<Engine*>engine, at, slot, agent)


cdef int api_offer_declined(void* engine, double t, int32_t slot, int32_t agent) noexcept nogil:
    cdef long long at
    return ACD_BAD_VALUE if ticks(t, &at) < 0 else acd_offer_declined(<Engine*>engine, at, slot, agent)


cdef int api_contact_ended(void* engine, double t, int32_t slot) noexcept nogil:
    cdef long long at
    return ACD_BAD_VALUE if ticks(t, &at) < 0 else acd_contact_ended(<Engine*>engine, at, slot)


cdef int api_wrap_up_ended(void* engine, double t, int32_t agent) noexcept nogil:
    cdef long long at
    return ACD_BAD_VALUE if ticks(t, &at) < 0 else acd_wrap_up_ended(<Engine*>engine, at, agent)


cdef int api_drain(void* engine, ApiEffect* out, int room) noexcept nogil:
    cdef Engine* e = <Engine*>engine
    cdef int n = e.n_effects if e.n_effects < room else room
    cdef int i
    cdef const Effect_C* row
    for i in range(n):
        row = &e.effects[i]
        out[i].t = row.t
        out[i].contact = row.contact
        out[i].slot = row.slot
        out[i].effect = row.effect
        out[i].agent = row.agent
        out[i].queue = row.queue
        out[i].reason = row.reason
        out[i].rest = 0
    if n > 0:
        e.n_effects -= n
        memmove(e.effects, e.effects + n, e.n_effects * sizeof(Effect_C))
    return n


cdef int api_priority_changed(void* engine, double t, int32_t slot, double priority) noexcept nogil:
    cdef long long at
    return ACD_BAD_VALUE if ticks(t, &at) < 0 else acd_priority_changed(<Engine*>engine, at, slot, priority)


cdef void* api_trees(object compiled) except NULL:
    return trees_handle(compiled._core)


cdef double api_trees_score(const void* trees, const double* row) noexcept nogil:
    return trees_probability(trees, row)


cdef void* api_learner(object learner) except NULL:
    return online_handle(learner)


cdef int api_learner_room(const void* learner) noexcept nogil:
    return online_trace(learner)


cdef double api_learner_score(const void* learner, const double* numbers, const int32_t* codes, const int32_t* cells,
                              double extra, double* trace) noexcept nogil:
    return online_probability(learner, numbers, codes, cells, extra, trace)
