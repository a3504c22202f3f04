# The predictive pacing core: see pacing.pyx.
from cordboard._core.pacing_learn cimport SPAN_BINS, AnswerLearner, DurationLearner
from cordboard._core.pacing_pmf cimport Pmf_C
from cordboard._core.pacing_policy cimport Offer_C, Plan_C, Policy

cdef enum:
    HORIZONS = 3
    AGES = 512  # of a call, an eighth of a second each
    AGES_A_SECOND = 8
    CLASSES = 48  # of probability, four an octave, down to 1/4000

cdef enum Reason:
    PACED = 0
    NO_AGENTS = 1
    LINES_REACHED = 2
    BUDGET_SPENT = 3
    TELEMETRY_STALE = 4
    RISK_REACHED = 5

ctypedef struct PacedAgent_C:
    int state
    bint leaving
    double since
    double counted  # cumulative hazard held against this stay so far

ctypedef struct PacedCall_C:
    int state  # 0 none, 1 dialing or ringing, 2 answered and waiting
    int bucket
    double p
    double placed
    double rang
    double counted
    long number  # in the order of placing

cdef class PacingCore(Policy):
    cdef PacedAgent_C* agents
    cdef int agents_room, idle, staffed
    cdef PacedCall_C* calls
    cdef int calls_room, calls_used, waiting, ringing
    cdef readonly DurationLearner talk
    cdef readonly DurationLearner wrap
    cdef readonly AnswerLearner ring
    cdef public double target, connect_within, min_ring, stale_after
    cdef public double window_end, budget, answers_left, price_scale, room
    cdef public double inbound_rate
    cdef public int inbound_waiting, reserve
    cdef public bint one_to_one
    cdef public tuple beside
    cdef readonly double answers, drops, price, alpha
    cdef readonly double careful  # 1 right after a change, falling to 0
    cdef readonly int reason
    cdef double afford  # drops that may still happen
    cdef double horizon[HORIZONS]
    cdef double free_talk[HORIZONS][SPAN_BINS]
    cdef double free_wrap[HORIZONS][SPAN_BINS]
    cdef double rebuilt, started, last_beat, silent, in_flight
    cdef Pmf_C pmf[HORIZONS]
    cdef double F_at[AGES]
    cdef double G_at[AGES]
    cdef double gain_at[HORIZONS][AGES]
    cdef double looked, refreshed, shaken, crew_before
    cdef double likely  # answers in flight, were the probabilities as learned or told
    cdef int crew  # agents who are here and stay
    cdef void refresh(self, double now) noexcept nogil
    cdef void changed(self, double now) noexcept nogil
    cdef int class_count[HORIZONS][2][CLASSES]
    cdef double class_sum[HORIZONS][2][CLASSES]
    cdef int room_for_agent(self, int agent) except -1
    cdef int room_for_call(self, int call) except -1
    cdef void rebuild(self, double now) noexcept nogil
    cdef void free_within(self, int j, double u) noexcept nogil
    cdef void put(self, int j, int side, int n, double q) noexcept nogil
    cdef void count_agents(self, double now) noexcept nogil
    cdef void count_calls(self, double now) noexcept nogil
    cdef int surplus(self, double now) except -1
    cdef void count_answers_of(self, PacingCore other, double now) noexcept nogil
    cdef int taken_beside(self) except -1
    cdef double alpha_beside(self, double now) except -1
    cdef double risk(self, int spare) noexcept nogil
    cdef bint overdrawn(self, int spare) noexcept nogil
    cdef double threshold(self, double now) noexcept nogil
    cdef int pick(self, Offer_C* offer, int n, int* used, int spare) noexcept nogil
    cdef void dial(self, int spare, double alpha, double most, Offer_C* offer, Plan_C* plan) noexcept nogil
    cdef void cancel(self, double now, Plan_C* plan) noexcept nogil
