# What a pacing policy is to the dialing world, and to anything else that drives one at C level: it is told what happens
# to agents and calls, and answers one question: how many numbers now, which ringing calls to cancel, when to look again.

cdef enum AgentState:
    AGENT_AWAY = 0
    AGENT_IDLE = 1
    AGENT_TALK = 2
    AGENT_WRAP = 3

cdef enum CallEvent:
    CALL_PLACED = 0
    CALL_RINGING = 1
    CALL_ANSWERED = 2  # by a person; waits for an agent from now on
    CALL_CONNECTED = 3  # to an agent, whose own state changes with agent events
    CALL_DROPPED = 4  # answered, and no agent came in time (or the caller hung up before)
    CALL_FAILED = 5  # ended without an answer: busy, no answer, invalid number
    CALL_MACHINE = 6  # answered by a machine and ended
    CALL_CANCELLED = 7  # by the dialer, while it rang

cdef enum InboundEvent:  # of a caller who shares the agents
    INBOUND_ARRIVED = 0
    INBOUND_CONNECTED = 1
    INBOUND_LEFT = 2  # gave up

cdef enum:
    MAX_BUCKETS = 16
    MAX_AHEAD = 64
    MAX_CANCEL = 256

# What may be dialed: leads of one list and about one answer probability share a bucket.
ctypedef struct Offer_C:
    int buckets
    double p[MAX_BUCKETS]  # NaN: not known, the policy learns the mean
    int campaign[MAX_BUCKETS]
    int room[MAX_BUCKETS]  # leads on hand
    bint choose  # the policy picks the bucket; otherwise leads come in the order of `ahead`
    int n_ahead
    signed char ahead[MAX_AHEAD]
    int lines  # calls that the lines and calls-per-second limits allow now

ctypedef struct Plan_C:
    int dial[MAX_BUCKETS]
    int n_cancel
    int cancel[MAX_CANCEL]
    double look  # the latest time to ask again, if nothing happens before
    int reason

cdef class Policy:
    cdef int on_agent(self, int agent, int state, bint leaving, double now) except -1
    cdef int on_call(self, int call, int event, int bucket, double p, double now) except -1
    cdef int on_beat(self, double now) except -1
    cdef int on_inbound(self, int caller, int event, double now) except -1
    cdef int decide(self, double now, Offer_C* offer, Plan_C* plan) except -1
