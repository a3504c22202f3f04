# The array interface: rows of events, one after another, without the GIL.
from libc.math cimport llrint
from libc.stdint cimport int32_t, int64_t

from cordboard._core.acd_ids cimport id_find, id_home
from cordboard._core.acd_match cimport effect_add
from cordboard._core.acd_memory cimport prefetch
from cordboard._core.acd_steps cimport (
    on_advance, on_agent_away, on_agent_offline, on_agent_ready, on_contact_ended, on_contact_left, on_contact_queued,
    on_offer_accepted, on_offer_declined, on_priority_changed, on_queued_defaults, on_wrap_up_ended,
)
from cordboard._core.acd_types cimport ACD_BAD_VALUE, EFFECT_REFUSED, Effect_C, Engine, Queued_C

cdef packed struct Event_C:       # NumPy dtype: EVENT
    double t
    int64_t contact
    double priority
    double queued_at              # NaN: now
    int32_t event                 # index into EVENTS
    int32_t agent
    int32_t queue
    int32_t preferred             # -1: none

cdef inline int apply_row(Engine* e, const Event_C* row) noexcept nogil:
    cdef Queued_C spec
    cdef int32_t slot
    if not 0 <= row.t <= 1e12:  # not: NaN as well
        return ACD_BAD_VALUE
    cdef int64_t t = llrint(row.t * 1e6)
    if row.event == 0:
        return on_advance(e, t)
    if row.event == 1:
        return on_agent_ready(e, t, row.agent)
    if row.event == 2:
        return on_agent_away(e, t, row.agent)
    if row.event == 3:
        return on_agent_offline(e, t, row.agent)
    if row.event == 9:
        return on_wrap_up_ended(e, t, row.agent)
    if row.contact < 0 or row.event < 0 or row.event > 10:
        return ACD_BAD_VALUE
    if row.event == 4:
        on_queued_defaults(&spec, row.contact, row.queue)
        spec.priority = row.priority
        spec.preferred = row.preferred if row.preferred >= 0 else -1
        if row.queued_at == row.queued_at:
            if not 0 <= row.queued_at <= row.t:
                return ACD_BAD_VALUE
            spec.queued_at = llrint(row.queued_at * 1e6)
        return on_contact_queued(e, t, &spec, &slot)
    slot = id_find(e, row.contact)
    if row.event == 5:
        return on_contact_left(e, t, slot)
    if row.event == 6:
        return on_offer_accepted(e, t, slot, row.agent)
    if row.event == 7:
        return on_offer_declined(e, t, slot, row.agent)
    if row.event == 8:
        return on_contact_ended(e, t, slot)
    return on_priority_changed(e, t, slot, row.priority)

cdef enum:
    AHEAD = 16                    # rows, a power of two; far enough for memory to answer, near enough to stay in the cache

cdef inline void fetch(const Engine* e, const Event_C* rows, Py_ssize_t i, Py_ssize_t n, int32_t* slots) noexcept nogil:
    # Ask early for the memory that the events after row i will touch: the place of the id, then its contact, then who
    # holds it, then that agent. Half a million contacts don't fit a cache; without this an event waits for memory four
    # times. slots: those of the rows ahead as they were when asked for, AHEAD of them; a hint, no more.
    cdef const Event_C* row
    cdef int32_t slot, agent
    if i + AHEAD < n:
        prefetch(&e.ids[id_home(e, rows[i + AHEAD].contact)])
    if i + AHEAD // 2 < n:
        row = &rows[i + AHEAD // 2]
        slot = id_find(e, row.contact)
        slots[(i + AHEAD // 2) & (AHEAD - 1)] = slot
        if slot >= 0:
            prefetch(&e.contacts[slot])
    if i + AHEAD // 4 < n:
        slot = slots[(i + AHEAD // 4) & (AHEAD - 1)]
        if slot >= 0 and e.contacts[slot].links >= 0:
            prefetch(&e.links[e.contacts[slot].links])
    if i + AHEAD // 8 < n:
        slot = slots[(i + AHEAD // 8) & (AHEAD - 1)]
        agent = rows[i + AHEAD // 8].agent
        if slot >= 0 and e.contacts[slot].links >= 0:
            agent = e.links[e.contacts[slot].links].agent
        if 0 <= agent < e.n_agents:
            prefetch(&e.agents[agent])
            prefetch(&e.agents[agent].tm_wrap_up)

cdef inline void refused(Engine* e, const Event_C* row, int code, Py_ssize_t place) noexcept nogil:
    cdef Effect_C* effect = effect_add(e, EFFECT_REFUSED, -1, row.agent)
    effect.t = row.t
    effect.contact = row.contact
    effect.reason = code
    effect.value = <double>place
