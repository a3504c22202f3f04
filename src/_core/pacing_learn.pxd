# Distributions that the pacing learns while it runs: see pacing_learn.pyx.

cdef enum:
    SPAN_BINS = 96  # of a duration: 1 s up to 8 s, then 8 % wider each, to some 2 hours
    RING_BINS = 128  # of a ringing call's age, half a second each

cdef class DurationLearner:
    cdef double edge[SPAN_BINS + 1]
    cdef double events[SPAN_BINS]
    cdef double exposure[SPAN_BINS]
    cdef double hazard[SPAN_BINS]
    cdef double area[SPAN_BINS + 1]  # cumulative hazard at the edges
    cdef double log_n, log_sum, log_squares, weight, memory
    cdef double seen, expected
    cdef short quick[4096]
    cdef int search(self, double age) noexcept nogil
    cdef int bin_of(self, double age) noexcept nogil
    cdef double cumulative(self, double age) noexcept nogil
    cdef double survival(self, double age) noexcept nogil
    cdef void observe(self, double duration, bint ended, double counted) noexcept nogil
    cdef void begin(self) noexcept nogil
    cdef double running(self, double age, double counted) noexcept nogil
    cdef void rebuild(self) noexcept nogil
    cdef double more_exposure[SPAN_BINS]
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
