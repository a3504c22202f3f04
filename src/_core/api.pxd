# For vendors: `from cordboard._core.api cimport ...` in your own Cython code, compiled against the installed package.
# Append-only: a function here keeps its name, its arguments and its meaning; API_VERSION grows when one is added. Call
# api_version() once and refuse to start when it is smaller than the API_VERSION you were compiled with. Everything else
# under cordboard._core may change with any release. Times and rates are in seconds and per second.
from libc.stdint cimport int32_t, int64_t

cdef enum:
    API_VERSION = 2

cdef int api_version() noexcept nogil

# -- formulas (docs/reference/formulas.md). NaN where there is no steady state; -1 where no number of agents is enough.
# n >= 1, rates >= 0, times > 0, all finite; patience may be inf (nobody hangs up).
cdef double api_erlang_b(long agents, double load) noexcept nogil
cdef double api_erlang_c(long agents, double load) noexcept nogil
# out[0..7]: wait probability, abandonment, mean wait, mean wait of the served, mean offered wait, service level,
# occupancy, queue length.
cdef void api_measures(
    long agents, double rate, double handle, double patience, double within, double* out) noexcept nogil
cdef long api_minimum_agents(
    double rate, double handle, double patience, double service_level, double within) noexcept nogil

# -- routing. A router is a Python object; its engine lives as long as it does. Events return 0 or a negative code (the
# ACD_... of acd_types.pxd), after which only the timers due have fired. One thread at a time may use an engine.
ctypedef struct ApiEffect:
    double t
    int64_t contact            # its id
    int32_t slot               # its name in the events below; -1 for a contact rejected on arrival
    int32_t effect             # 1 offer, 2 offer withdrawn, 3 offer expired, 4 contact rejected, 5 contact expired,
                               # 6 agent away, 7 wrap-up started, 8 wrap-up ended
    int32_t agent              # place in the center file; -1 for none, as in queue
    int32_t queue
    int32_t reason             # REASON_... of acd_types.pxd
    int32_t rest               # 0

cdef object api_new_router(object center, long long seed)
cdef void* api_engine(object router) except NULL
cdef int api_advance(void* engine, double t) noexcept nogil
cdef double api_next_timer(void* engine) noexcept nogil     # inf where none is set
cdef int api_agent_ready(void* engine, double t, int32_t agent) noexcept nogil
cdef int api_agent_away(void* engine, double t, int32_t agent) noexcept nogil
cdef int api_agent_offline(void* engine, double t, int32_t agent) noexcept nogil
cdef int api_contact_queued(
    void* engine, double t, int64_t contact, int32_t queue, double priority, int32_t* slot) noexcept nogil
cdef int api_contact_left(void* engine, double t, int32_t slot) noexcept nogil
cdef int api_offer_accepted(void* engine, double t, int32_t slot, int32_t agent) noexcept nogil
cdef int api_offer_declined(void* engine, double t, int32_t slot, int32_t agent) noexcept nogil
cdef int api_contact_ended(void* engine, double t, int32_t slot) noexcept nogil
cdef int api_wrap_up_ended(void* engine, double t, int32_t agent) noexcept nogil
# Moves the oldest effects, at most `room`, to out, and returns how many; call it until it returns 0.
cdef int api_drain(void* engine, ApiEffect* out, int room) noexcept nogil

# -- since 2
cdef int api_priority_changed(void* engine, double t, int32_t slot, double priority) noexcept nogil

# Who answers (docs/reference/answer-model.md). A handle lives as long as the Python object that it is of; one thread at a
# time may use it, and none while Python learns with it. Probabilities are within 0 to 1.
# Of what `cordboard.learning.training.train` compiled from trees; a row is its `n_features` values, NaN = missing.
cdef void* api_trees(object compiled) except NULL
cdef double api_trees_score(const void* trees, const double* row) noexcept nogil
# Of a head's learner (`model.heads["person"].champion.learner`). Numbers, codes and cells are one row of what
# `model.encoder.encode` gives; extra: log-odds of the head's trees, NaN for none; trace: room for api_learner_room doubles.
# NaN for a code or a cell that the learner does not have.
cdef void* api_learner(object learner) except NULL
cdef int api_learner_room(const void* learner) noexcept nogil
cdef double api_learner_score(const void* learner, const double* numbers, const int32_t* codes, const int32_t* cells,
                              double extra, double* trace) noexcept nogil
