from libc.stdint cimport int32_t, int64_t, uint8_t

from cordboard._core.ridge cimport Ridge_C
from cordboard._core.waitline cimport Line_C
from cordboard._core.waitrate cimport Rate_C

cdef enum:
    FEATURES = 47
    TIMESCALES = 3

ctypedef struct Kind_C:
    # A queue together with what its contacts require: those who compete for the same agents on the same terms.
    Rate_C handle
    Rate_C patience
    double last_start    # seconds
    double starts[TIMESCALES]    # decayed counts, see decay()
    double arrivals[TIMESCALES]
    double lefts[TIMESCALES]

ctypedef struct Group_C:
    # Agents who can serve the same kinds with the same number of contacts at a time.
    int32_t agents
    int32_t slots    # contacts that one agent can hold; 0: it depends on their channels
    int32_t staffed  # agents logged in and not away
    int32_t idle     # of those, the ones without a contact
    int32_t busy     # conversations and wrap-ups of those staffed
    double load      # expected completions a second of those

ctypedef struct Able_C:
    # The agents of the groups that may take a contact by now.
    double staffed     # contacts that they can hold
    double idle        # of those, free
    double busy
    double load
    double not_before  # seconds until the first of them may; 0: they may now
    double opens_idle  # seconds until a group with an idle agent may, that may not yet; infinite: there is none

ctypedef struct Agent_C:
    int32_t group
    int32_t busy
    double load
    double wrap_load
    int32_t wraps
    int32_t wrap_kind
    double wrap_since
    uint8_t staffed

ctypedef struct Contact_C:
    int32_t state      # FREE, WAITING, CONNECTED
    int32_t line
    int32_t sample     # row of the features at its arrival, -1: not learned from
    int32_t agent
    double arrival     # from when its wait counts for the order
    double since       # when it came, or was connected
    double load
    uint8_t refused    # it waits although agents may be idle: they are no promise

ctypedef struct Order_C:
    # The place of a line in the center's order.
    int32_t kind
    double weight
    double priority
    double within
    double rate        # decayed arrivals, over the longest timescale

ctypedef struct Counts_C:
    # Waiting contacts, from the point of view of one: those before it in the center's order (ahead) and those who came
    # before it (here); of its own kind, of all kinds by the share of its agents who serve them, and of all kinds.
    double own_ahead
    double own_here
    double ahead
    double here
    double all_ahead
    double all_here
    double overtaken   # share of the arrivals that go before it even if they come later

ctypedef struct Flow_C:
    # Contacts that were connected, came, and gave up: decayed counts over the timescales.
    double starts[TIMESCALES]
    double arrivals[TIMESCALES]
    double lefts[TIMESCALES]
    double own_starts[TIMESCALES]
    double own_arrivals[TIMESCALES]

cdef class WaitCore:
    cdef readonly int kinds, lines, groups, agents, max_kinds, max_lines
    cdef int order
    cdef readonly double now
    cdef double epoch
    cdef double last_start
    cdef Rate_C handle, patience    # of all kinds
    cdef Kind_C* kind
    cdef Group_C* group
    cdef Agent_C* agent
    cdef int32_t* can            # [kind * groups + group]: contacts of the kind that an agent of the group can hold
    cdef double* opens           # likewise: the seconds of waiting from which on it may
    cdef double* overlap         # [kind * max_kinds + other]
    cdef int64_t* overlap_at     # the staffing for which a row of overlap holds
    cdef int64_t staffing
    cdef Line_C* line
    cdef Order_C* place
    cdef Contact_C* contact
    cdef int32_t* places
    cdef int32_t* unused
    cdef int32_t contacts_made, unused_count, contact_capacity
    cdef double* samples
    cdef int32_t* unused_samples
    cdef int32_t unused_sample_count
    cdef Ridge_C ridge
    cdef readonly long learned
    cdef long solved_at
    cdef double spread_mean, k50, k90
    cdef double physics_square, correction_gain, correction_square

    cdef int _check(self, int32_t slot, int32_t state) except -1
    cdef int _decay(self, double t) except -1
    cdef int _grow(self) except -1
    cdef int _wait_in(self, int32_t slot, int32_t line, double arrival) except -1
    cdef void _free_slot(self, int32_t slot) noexcept nogil
    cdef void _forget_sample(self, int32_t slot) noexcept nogil
    cdef void _hold(self, int32_t number, double load, int sign) noexcept nogil
    cdef void _handled(self, int kind, double since, double t) noexcept nogil
    cdef double _tau(self) noexcept nogil
    cdef double _handle(self, int kind) noexcept nogil
    cdef double _theta(self, int kind) noexcept nogil
    cdef const double* _overlap_row(self, int kind) noexcept nogil
    cdef void _count(self, double t, int32_t slot, Counts_C* out) noexcept nogil
    cdef void _flow(self, double t, int number, Flow_C* out) noexcept nogil
    cdef double _features(self, double t, int32_t slot, double* x) noexcept nogil
    cdef double _answer(self, const double* x, double* out) noexcept nogil
    cdef double _trust(self) noexcept nogil
    cdef int _learn(self, const double* sample, double waited) noexcept nogil
