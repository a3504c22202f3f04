# The dialing world: see dialworld.pyx.
cimport cython

from cordboard._core.dialworld_types cimport Agent_C, Bucket_C, Call_C, Event_C
from cordboard._core.pacing_policy cimport MAX_AHEAD, MAX_BUCKETS, Offer_C, Policy
from cordboard._core.rng cimport Rng_C

@cython.final
cdef class DialWorld:
    cdef Event_C* heap
    cdef int heap_size, heap_room
    cdef Call_C* calls
    cdef int calls_room, calls_used
    cdef int* free_calls
    cdef int free_count
    cdef Agent_C* agents
    cdef int n_agents
    cdef Bucket_C buckets[MAX_BUCKETS]
    cdef int n_buckets
    cdef long seq, stamp
    cdef double now, until, last, warm
    cdef Rng_C rng_dial, rng_talk, rng_wrap, rng_list, rng_inbound, rng_roster
    cdef double post_dial, fast_fail, fast_fail_at, ring_mean, ring_until, patience
    cdef int ring_phases, wrap_phases
    cdef double talk_mean, talk_cv, short_share, short_mean, wrap_mean
    cdef double machine, amd_missed, amd_false
    cdef double inbound_rate, inbound_patience
    cdef int lines, in_flight, answered_waiting, inbound_waiting, inbound_bucket
    cdef double cps, cps_room, cps_last
    cdef bint choose, every_event
    cdef int balance
    cdef double gap, min_ring, beat_every, stalled_until
    cdef int n_staffed, n_busy, n_talk, n_ringing
    cdef double idle_order
    cdef signed char ahead[MAX_AHEAD]
    cdef int n_ahead
    cdef Policy policy
    cdef list changes, held
    cdef double[:, ::1] rows
    cdef int n_rows
    cdef int minute
    cdef double look, last_decision
    cdef public object trace
    cdef double trace_every, trace_next

    cdef bint before(self, Event_C* a, Event_C* b) noexcept nogil
    cdef int push(self, double t, int kind, int index, long stamp) except -1
    cdef void pop(self, Event_C* out) noexcept nogil
    cdef double talk_time(self) noexcept nogil
    cdef int tell_agent(self, int agent) except -1
    cdef int tell_call(self, int call, int event) except -1
    cdef int set_agent(self, int agent, int state) except -1
    cdef int become_idle(self, int agent) except -1
    cdef int longest_idle(self) noexcept nogil
    cdef int next_waiting(self) noexcept nogil
    cdef int new_call(self, int bucket, bint inbound) except -1
    cdef int end_call(self, int call, int event) except -1
    cdef int place(self, int bucket) except -1
    cdef int connect(self, int call, int agent) except -1
    cdef int answered(self, int call) except -1
    cdef int machine_answered(self, int call) except -1
    cdef int person_answered(self, int call) except -1
    cdef int inbound_arrives(self) except -1
    cdef void row(self, int column, double amount) noexcept
    cdef void campaign_row(self, int bucket, int dropped) noexcept
    cdef void advance(self, double t) noexcept
    cdef int put(self, str name, double value) except -1
    cdef int change(self, tuple what) except -1
    cdef int roster(self, int count, bint leave, bint at_once) except -1
    cdef void fill_offer(self, Offer_C* offer) noexcept
    cdef int ask(self) except -1
    cdef int look_at(self, double t) except -1
    cdef int happen(self, Event_C* e) except -1
    cdef int note(self) except -1
