"""The plain events by name: from a dict of the journal to the engine and back to dicts, without a detour.

:class:`Front` keeps the names of contacts. Its :meth:`Front.apply` takes an event of the usual shape (right fields, known
names, nothing special asked for) and returns its effects; whatever is not of that shape, or is refused by the engine,
gives None with nothing changed but time, and is for ``cordboard.acd`` to check, to word, or to do.
"""
from collections import OrderedDict

from libc.math cimport llrint
from libc.stdint cimport int32_t, int64_t

from cordboard._core.acd cimport (
    Router, acd_advance, acd_agent_away, acd_agent_offline, acd_agent_ready, acd_contact_ended, acd_contact_left,
    acd_contact_queued, acd_next_timer, acd_offer_accepted, acd_offer_declined, acd_queued_defaults, acd_wrap_up_ended,
)
from cordboard._core.acd import EFFECTS as EFFECT_NAMES, REASONS as REASON_NAMES
from cordboard._core.acd_types cimport (
    EFFECT_AGENT_AWAY, EFFECT_CONTACT_EXPIRED, EFFECT_CONTACT_REJECTED, EFFECT_OFFER, EFFECT_OFFER_WITHDRAWN,
    EFFECT_WRAP_UP_ENDED, EFFECT_WRAP_UP_STARTED, Effect_C, Engine, Queued_C,
)

cdef double TIME_MAX_S = 9e9      # as in cordboard.journal
cdef enum:
    NAME_MAX = 255
    GONE_MAX = 10_000             # names of contacts that are gone, remembered to tell "too late" from "unknown"

cdef enum:                        # events; those from CONTACT_QUEUED on name a contact, from CONTACT_LEFT on nothing else
    CLOCK
    AGENT_READY
    AGENT_AWAY
    AGENT_OFFLINE
    WRAP_UP_ENDED
    CONTACT_QUEUED
    OFFER_ACCEPTED
    OFFER_DECLINED
    CONTACT_LEFT
    CONTACT_ENDED

cdef dict KINDS = {
    "clock": CLOCK, "agent_ready": AGENT_READY, "agent_away": AGENT_AWAY, "agent_offline": AGENT_OFFLINE,
    "wrap_up_ended": WRAP_UP_ENDED, "contact_queued": CONTACT_QUEUED, "offer_accepted": OFFER_ACCEPTED,
    "offer_declined": OFFER_DECLINED, "contact_left": CONTACT_LEFT, "contact_ended": CONTACT_ENDED,
}
cdef tuple EFFECTS = tuple(EFFECT_NAMES)
cdef tuple REASONS = tuple(REASON_NAMES)
cdef tuple PREFERRED = (None, "preferred_agent", "sticky")


cdef bint is_name(object value) except -1:
    """Whether a new contact may be called so: see ``cordboard.journal``."""
    cdef Py_UCS4 c
    if type(value) is not str or not 0 < len(<str>value) <= NAME_MAX:
        return False
    for c in <str>value:
        if c < 0x20 or 0x7f <= c <= 0x9f or 0xd800 <= c <= 0xdfff:
            return False
    return True


cdef class Front:
    """Names for a Router. ``agents``, ``queues``: name -> index, those that an event may name; ``agent_names``,
    ``queue_names``: index -> name; ``keys``: for every queue (strategy, what its value is); ``order``: (order of the
    center, what its value is). ``leaves(*what)`` is called for a contact that is gone with ``brought[slot]``."""

    cdef Router router
    cdef Engine* engine
    cdef readonly dict agents
    cdef readonly dict queues
    cdef readonly dict slots      # name -> slot
    cdef readonly list names      # slot -> name; None for a contact known by its id
    cdef readonly object gone     # names, the longest gone first
    cdef public object arriving   # a contact that is rejected on arrival has no slot to be named by
    cdef public dict brought      # slot -> what the contact brought, for those who brought something
    cdef list fired               # effects of timers before an event that the caller has to take
    cdef tuple agent_names, queue_names, keys, order
    cdef object leaves

    def __init__(self, Router router, dict agents, dict queues, tuple agent_names, tuple queue_names, tuple keys,
                 tuple order, leaves):
        self.router, self.engine = router, router.engine
        self.agents = {name: index for name, index in agents.items() if is_name(name)}
        self.queues = {name: index for name, index in queues.items() if is_name(name)}
        self.agent_names, self.queue_names = agent_names, queue_names
        self.keys, self.order, self.leaves = keys, order, leaves
        self.slots, self.names, self.gone, self.brought = {}, [], OrderedDict(), {}
        self.arriving = ""
        self.fired = []

    def apply(self, dict event):
        """The effects of an event and of the timers before it, or None: see above. Effects of timers that have fired
        nevertheless are then in :meth:`take_fired`."""
        cdef Engine* e = self.engine
        cdef object at = event.get("t")
        cdef object name = event.get("event")
        cdef object kind = KINDS.get(name) if type(name) is str else None
        cdef int32_t subject = -1
        cdef double t
        if kind is None or (type(at) is not float and (type(at) is not int or not 0 <= at <= TIME_MAX_S)):
            return None
        t = at
        cdef int64_t ticks = llrint(t * 1e6) if 0 <= t <= TIME_MAX_S else -1
        if ticks < e.now or not self.has_shape(kind, event, &subject):
            return None
        if acd_next_timer(e) <= ticks:
            if acd_advance(e, ticks) < 0:
                return None
            self.fired = self.effects()
        if self.take(kind, event, ticks, subject) < 0:
            return None
        if self.fired:
            fired, self.fired = self.fired, []
            return fired + self.effects()
        return self.effects() if e.n_effects > 0 or e.n_freed > 0 else []

    cdef bint has_shape(self, int kind, dict event, int32_t* subject) except -1:
        """Nothing but the fields that it needs, with names that may be; the agent or the queue is the subject."""
        cdef object found
        cdef dict names = self.agents
        if kind == CLOCK:
            return len(event) == 2
        if kind >= CONTACT_QUEUED and not is_name(event.get("contact")):
            return False
        if kind >= CONTACT_LEFT:
            return len(event) == 3
        if len(event) != (4 if kind >= CONTACT_QUEUED else 3):
            return False
        found = event.get("agent")
        if kind == CONTACT_QUEUED:
            found = event.get("queue")
            names = self.queues
        found = names.get(found) if type(found) is str else None
        if found is None:
            return False
        subject[0] = found
        return True

    cdef int take(self, int kind, dict event, int64_t t, int32_t subject) except -1000:
        """A negative code if the engine refuses it, or the contact does not exist."""
        cdef Engine* e = self.engine
        cdef int32_t slot
        if kind == CLOCK:
            return acd_advance(e, t)
        if kind == AGENT_READY:
            return acd_agent_ready(e, t, subject)
        if kind == AGENT_AWAY:
            return acd_agent_away(e, t, subject)
        if kind == AGENT_OFFLINE:
            return acd_agent_offline(e, t, subject)
        if kind == WRAP_UP_ENDED:
            return acd_wrap_up_ended(e, t, subject)
        if kind == CONTACT_QUEUED:
            return self.queue(event["contact"], t, subject)
        found = self.slots.get(event["contact"])
        if found is None:
            return -1
        slot = found
        if kind == OFFER_ACCEPTED:
            return acd_offer_accepted(e, t, slot, subject)
        if kind == OFFER_DECLINED:
            return acd_offer_declined(e, t, slot, subject)
        return acd_contact_left(e, t, slot) if kind == CONTACT_LEFT else acd_contact_ended(e, t, slot)

    cdef int queue(self, str name, int64_t t, int32_t queue) except -1000:
        cdef Queued_C spec
        cdef int32_t slot
        cdef int code
        if name in self.slots:
            return -1
        acd_queued_defaults(&spec, -1, queue)
        code = acd_contact_queued(self.engine, t, &spec, &slot)
        if code == 0:
            self.entered(name, slot)
        return code

    cpdef entered(self, str name, int slot):
        """A contact was queued: it is in this slot, or was rejected (-1)."""
        self.arriving = name
        if slot < 0:
            self.remember(name)
            return
        if name in self.gone:
            del self.gone[name]
        self.slots[name] = slot
        while len(self.names) <= slot:
            self.names.append(None)
        self.names[slot] = name

    def fill(self, list names, list slots):
        """Names of contacts that are in the engine already."""
        self.names = [None] * self.engine.n_contacts
        for name, slot in zip(names, slots):
            self.names[slot] = name
        self.slots = dict(zip(names, slots))

    def name(self, int slot):
        """The name of a live contact: a text, or its id."""
        found = self.names[slot] if slot < len(self.names) else None
        return self.engine.contacts[slot].id if found is None else found

    def take_fired(self):
        """Effects of timers that fired before an event that was not taken."""
        fired, self.fired = self.fired, []
        return fired

    # -- effects

    def effects(self):
        """What has happened since the last call, as dicts with names. Contacts that are gone are forgotten."""
        cdef Engine* e = self.engine
        cdef int32_t i
        cdef list found = [self.effect(&e.effects[i]) for i in range(e.n_effects)]
        e.n_effects = 0
        if e.n_freed > 0:
            self.forget()
        return found

    cdef dict effect(self, const Effect_C* row):
        cdef int32_t kind = row.effect
        cdef dict effect = {"t": row.t, "effect": EFFECTS[kind]}
        if kind == EFFECT_AGENT_AWAY or kind == EFFECT_WRAP_UP_STARTED or kind == EFFECT_WRAP_UP_ENDED:
            effect["agent"] = self.agent_names[row.agent]
            if kind == EFFECT_AGENT_AWAY:
                effect["reason"] = REASONS[row.reason]
            elif kind == EFFECT_WRAP_UP_STARTED:
                effect["until"] = row.value
            return effect
        effect["contact"] = self.contact(row.slot, row.contact) if row.slot >= 0 else self.arriving
        if row.agent >= 0:
            effect["agent"] = self.agent_names[row.agent]
        if kind == EFFECT_OFFER:
            effect["queue"] = self.queue_names[row.queue]
            effect["why"] = self.why(row) if self.engine.explain else {}
        elif kind == EFFECT_OFFER_WITHDRAWN:
            effect["reason"] = REASONS[row.reason]
        elif kind == EFFECT_CONTACT_REJECTED:
            effect["queue"] = self.queue_names[row.queue]
            effect["reason"] = REASONS[row.reason]
        elif kind == EFFECT_CONTACT_EXPIRED:
            effect["to"] = self.queue_names[row.queue] if row.queue >= 0 else None
        return effect

    cdef object contact(self, int32_t slot, int64_t id):
        return self.names[slot] if id < 0 else id

    cdef dict why(self, const Effect_C* row):
        """Both sides of a decision: the agent among those for this contact, the contact among those for the agent."""
        strategy, key = self.keys[row.queue]
        order, order_key = self.order
        return {
            "eligible": row.eligible_agents,
            "strategy": strategy,
            "key": PREFERRED[row.preferred] or key,
            "value": row.value,
            "runner_up": None if row.runner_agent < 0 else self.agent_names[row.runner_agent],
            "runner_up_value": None if row.runner_agent < 0 else row.runner_value,
            "tier": row.tier,
            "contacts": {
                "eligible": row.eligible_contacts,
                "order": order,
                "key": order_key,
                "value": row.contact_value,
                "runner_up": None if row.runner_slot < 0 else self.contact(row.runner_slot, row.runner_contact),
                "runner_up_value": None if row.runner_slot < 0 else row.runner_contact_value,
            },
        }

    def forget(self):
        """Let go of the names of contacts that are gone."""
        cdef Engine* e = self.engine
        cdef int32_t i, slot
        for i in range(e.n_freed):
            slot = e.freed[i]
            if self.brought and slot in self.brought:
                self.leaves(*self.brought.pop(slot))
            name = self.names[slot] if slot < len(self.names) else None
            if name is not None:
                self.names[slot] = None
                del self.slots[name]
                self.remember(name)
        e.n_freed = 0

    cdef int remember(self, str name) except -1:
        self.gone[name] = None
        if len(self.gone) > GONE_MAX:
            self.gone.popitem(last=False)
        return 0
