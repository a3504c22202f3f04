"""The interface between a pacing policy and whatever drives it at C level."""


cdef class Policy:
    """A policy that never dials; real ones override its methods."""

    cdef int on_agent(self, int agent, int state, bint leaving, double now) except -1:
        return 0

    cdef int on_call(self, int call, int event, int bucket, double p, double now) except -1:
        return 0

    cdef int on_beat(self, double now) except -1:
        return 0

    cdef int on_inbound(self, int caller, int event, double now) except -1:
        return 0

    cdef int decide(self, double now, Offer_C* offer, Plan_C* plan) except -1:
        return 0


cdef class PythonPolicy(Policy):
    """Lets a Python object pace: it is told through ``agent`` and ``call``, and asked through ``decide``.

    ``agent(agent, state, now, leaving)``; ``call(call, event, now, bucket, p)``; ``beat(now)`` and
    ``inbound(caller, event, now)`` (0 arrived, 1 connected, 2 left) when it has them;
    ``decide(now, offer) -> (dial, cancel, look)`` with the number to dial (an int, or one int a bucket), the ids of
    ringing calls to cancel, and the time to be asked again at the latest. States and events are the numbers of
    :mod:`cordboard.pacing.world`. Ids of calls are used again after a call has ended.
    """

    cdef object policy, agent, call, beat, inbound, choose

    def __init__(self, policy):
        self.policy, self.agent, self.call, self.choose = policy, policy.agent, policy.call, policy.decide
        self.beat = getattr(policy, "beat", None)
        self.inbound = getattr(policy, "inbound", None)

    cdef int on_agent(self, int agent, int state, bint leaving, double now) except -1:
        self.agent(agent, state, now, leaving)
        return 0

    cdef int on_call(self, int call, int event, int bucket, double p, double now) except -1:
        self.call(call, event, now, bucket, p)
        return 0

    cdef int on_beat(self, double now) except -1:
        if self.beat is not None:
            self.beat(now)
        return 0

    cdef int on_inbound(self, int caller, int event, double now) except -1:
        if self.inbound is not None:
            self.inbound(caller, event, now)
        return 0

    cdef int decide(self, double now, Offer_C* offer, Plan_C* plan) except -1:
        cdef int i
        room = {
            "p": [offer.p[i] for i in range(offer.buckets)],
            "campaign": [offer.campaign[i] for i in range(offer.buckets)],
            "room": [offer.room[i] for i in range(offer.buckets)],
            "ahead": [offer.ahead[i] for i in range(offer.n_ahead)],
            "choose": bool(offer.choose),
            "lines": offer.lines,
        }
        dial, cancel, look = self.choose(now, room)
        if isinstance(dial, int):
            plan.dial[0] = dial
        else:
            for i, count in enumerate(dial):
                if i < offer.buckets:
                    plan.dial[i] = count
        for call in cancel:
            if plan.n_cancel < MAX_CANCEL:
                plan.cancel[plan.n_cancel] = call
                plan.n_cancel += 1
        plan.look = look
        return 0
