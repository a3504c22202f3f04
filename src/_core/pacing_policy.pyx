"""The interface between a pacing policy and whatever drives it at C level."""


cdef class Policy:
    """A policy that never dials; real ones override its methods."""

    cdef int on_agent(self, int agent, int state, bint leaving, double now) except -1:
        return 0

    cdef int on_call(self, int call, int event, int bucket, double p, double now) except -1:
        return 0

    cdef int on_beat(self, double now) except -1:
        return 0

    cdef int decide(self, double now, Offer_C* offer, Plan_C* plan) except -1:
        return 0
