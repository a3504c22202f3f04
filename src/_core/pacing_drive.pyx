"""Drives a pacing policy from Python: what a live engine or a test tells it, and what it answers."""

from libc.math cimport INFINITY
from libc.string cimport memset

from cordboard._core.pacing_policy cimport MAX_AHEAD, MAX_BUCKETS, Offer_C, Plan_C, Policy


cdef class Drive:
    """A policy, callable from Python. States and events are the numbers of :mod:`cordboard.pacing.world`."""

    cdef readonly Policy policy

    def __init__(self, Policy policy not None):
        self.policy = policy

    def agent(self, int agent, int state, bint leaving, double now):
        """Agent number ``agent`` (from 0) is in ``state`` since ``now``; ``leaving``: goes away after this call."""
        if agent < 0 or not 0 <= state <= 3:
            raise ValueError(f"no agent {agent} or no state {state}")
        self.policy.on_agent(agent, state, leaving, now)

    def call(self, int call, int event, int bucket, double p, double now):
        """Something happened to call number ``call`` (from 0); ``p``: its answer probability, NaN if not known."""
        if call < 0 or not 0 <= event <= 7 or not 0 <= bucket < MAX_BUCKETS:
            raise ValueError(f"no call {call}, no event {event} or no group {bucket}")
        self.policy.on_call(call, event, bucket, p, now)

    def ask(self, double now, groups, int lines, bint choose, ahead=()):
        """``groups``: up to 16 (answer probability or NaN, campaign, leads on hand); ``lines``: calls that may be placed.
        ``choose``: the policy picks the group; else leads come in their order, of which ``ahead`` has the groups of the
        next (the first 64 are used).

        Returns (calls to place for each group, calls to cancel, time to ask again at the latest)."""
        cdef Offer_C offer
        cdef Plan_C plan
        cdef int i
        memset(&offer, 0, sizeof(offer))
        memset(&plan, 0, sizeof(plan))
        if len(groups) > MAX_BUCKETS:
            raise ValueError(f"{len(groups)} groups of leads, more than {MAX_BUCKETS}")
        for i, (p, campaign, room) in enumerate(groups):
            offer.p[i], offer.campaign[i], offer.room[i] = p, campaign, min(<long>room, 1 << 20)
        offer.buckets = len(groups)
        for i, group in enumerate(ahead[:MAX_AHEAD]):
            if not 0 <= group < offer.buckets:
                raise ValueError(f"no group {group} of leads")
            offer.ahead[i] = group
            offer.n_ahead = i + 1
        offer.choose = choose
        offer.lines = lines
        plan.look = INFINITY
        self.policy.decide(now, &offer, &plan)
        return [plan.dial[i] for i in range(offer.buckets)], [plan.cancel[i] for i in range(plan.n_cancel)], plan.look
