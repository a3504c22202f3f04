# The routing engine for callers in C: one function an event. Each fires the timers due at or before t (ticks of a
# microsecond), applies the event, matches, and appends what happens to e.effects[0 .. e.n_effects); the caller reads
# them and sets n_effects to 0. They return ACD_OK or a negative code, after which only the timers have fired.
#
# A contact is named by its slot: *slot is set by acd_contact_queued (-1 if it was rejected) and stays its name until it
# left, ended, or an effect EFFECT_CONTACT_EXPIRED (queue = -1) or EFFECT_CONTACT_REJECTED took it away. Agents and
# queues are named by their place in the center file.
from libc.stdint cimport int32_t, int64_t

from cordboard._core.acd_types cimport Engine, Queued_C

cdef int acd_advance(Engine* e, int64_t t) noexcept nogil
cdef int64_t acd_next_timer(const Engine* e) noexcept nogil  # NEVER where none is set
cdef int acd_agent_ready(Engine* e, int64_t t, int32_t agent) noexcept nogil
cdef int acd_agent_away(Engine* e, int64_t t, int32_t agent) noexcept nogil
cdef int acd_agent_offline(Engine* e, int64_t t, int32_t agent) noexcept nogil
cdef int acd_contact_queued(Engine* e, int64_t t, const Queued_C* spec, int32_t* slot) noexcept nogil
cdef int acd_contact_left(Engine* e, int64_t t, int32_t slot) noexcept nogil
cdef int acd_offer_accepted(Engine* e, int64_t t, int32_t slot, int32_t agent) noexcept nogil
cdef int acd_offer_declined(Engine* e, int64_t t, int32_t slot, int32_t agent) noexcept nogil
cdef int acd_contact_ended(Engine* e, int64_t t, int32_t slot) noexcept nogil
cdef int acd_wrap_up_ended(Engine* e, int64_t t, int32_t agent) noexcept nogil
cdef int acd_priority_changed(Engine* e, int64_t t, int32_t slot, double priority) noexcept nogil
cdef void acd_queued_defaults(Queued_C* spec, int64_t id, int32_t queue) noexcept nogil

# Router(center, seed=0, explain=True, max_contacts=1_000_000) makes and owns an engine; a simulator uses .engine.
cdef class Router:
    cdef Engine* engine
    cdef readonly dict skills     # name -> index
