# Distributions that the pacing learns while it runs: see pacing_learn.pyx.

from cordboard._core.pacing_change cimport SIZES, Change_C

cdef enum:
    SPAN_BINS = 96  # of a duration: 1 s up to 8 s, then 8 % wider each, to some 2 hours
    RING_BINS = 128  # of a ringing call's age, half a second each
    STRETCHES = 3
    IDEAS = SIZES + STRETCHES  # what may have changed: the odds of an answer, or the time to it
    RECENT = 4096  # calls, in the order in which they were placed, that a change is looked for in

ctypedef struct Recent_C:
    bint ended
    double p  # NaN: the learned mean
    double placed
    double since  # seconds after the call before it
    double ratio[IDEAS]  # likelihood of its end, were answers likelier or less likely, over that as learned

cdef class DurationLearner:
    cdef double edge[SPAN_BINS + 1]
    cdef double events[SPAN_BINS]
    cdef double exposure[SPAN_BINS]
    cdef double hazard[SPAN_BINS]
    cdef double area[SPAN_BINS + 1]  # cumulative hazard at the edges
    cdef double log_n, log_sum, log_squares, weight, memory
    cdef double seen, expected
    cdef short quick[4096]
    cdef Change_C change
    cdef double news[SIZES]  # log likelihoods of each size, since they were last used
    cdef double hazard_of[SPAN_BINS][SIZES]
    cdef double log_hazard_of[SPAN_BINS][SIZES]
    cdef double jump_rate, alert
    cdef void ended(self, double age, double since) noexcept nogil
    cdef void lasting(self, int* count, double since) noexcept nogil
    cdef void imagine(self, double center, double spread) noexcept nogil
    cdef bint moved(self) noexcept nogil
    cdef int fold(self) noexcept nogil
    cdef double used[SIZES]
    cdef int search(self, double age) noexcept nogil
    cdef int bin_of(self, double age) noexcept nogil
    cdef double cumulative(self, double age) noexcept nogil
    cdef double survival(self, double age) noexcept nogil
    cdef void observe(self, double duration, bint ended, double counted) noexcept nogil
    cdef void begin(self) noexcept nogil
    cdef double running(self, double age, double counted) noexcept nogil
    cdef void rebuild(self) noexcept nogil
    cdef double more_exposure[SPAN_BINS]
    cdef void stretch(self, double times, double worth) noexcept nogil
    cdef double mean(self) noexcept nogil

cdef class AnswerLearner:
    cdef double answered[RING_BINS]
    cdef double ended[RING_BINS]
    cdef double censored[RING_BINS]
    cdef double more_censored[RING_BINS]
    cdef double F[RING_BINS + 1]  # of the time to an answer, given one
    cdef double G[RING_BINS + 1]  # of the time to another end, given one
    cdef double prior_answered[RING_BINS]
    cdef double prior_ended[RING_BINS]
    cdef double weight, memory
    cdef double p, p_high, odds, doubtful
    cdef double seen, expected, seen_known, expected_known, fresh
    cdef Change_C change
    cdef public double power, dead, step, doubtful_now
    cdef double jump_rate, times, alert
    cdef Recent_C recent[RECENT]
    cdef long first, next  # of the calls in `recent`: the oldest that rings, and the next to be placed
    cdef double odds_of[IDEAS]  # of a change of each size since any call, but for the calls in `recent`
    cdef double last_placed
    cdef long place(self, double p, double now) noexcept nogil
    cdef void resolve(self, long number, int outcome, double now) noexcept nogil
    cdef void look_for_change(self, double now) noexcept nogil
    cdef void still_rings(self, double p, double age, double* ratio) noexcept nogil
    cdef double still[2 * RING_BINS][IDEAS]  # the ratios of calls of the mean probability, a quarter of a second each
    cdef int fold(self) noexcept nogil
    cdef double effective(self, double p) noexcept nogil
    cdef double compensator(self, double p, double age) noexcept nogil
    cdef double within(self, double p, double age, double span) noexcept nogil
    cdef double distribution(self, double* table, double age) noexcept nogil
    cdef void observe(self, double p, double age, int outcome, double counted) noexcept nogil
    cdef void begin(self) noexcept nogil
    cdef double running(self, double p, double age, double counted) noexcept nogil
    cdef void rebuild(self) noexcept nogil
    cdef double quantile(self, double share) noexcept nogil
    cdef void doubt(self) noexcept nogil
    cdef void shift(self, double times, double worth) noexcept nogil
    cdef void stretch(self, double times) noexcept nogil
    cdef double density(self, double age, double times) noexcept nogil
    cdef double now_odds[IDEAS]
