# From what Python hands in (a center, a contact's wishes) to the engine's numbers.
from libc.math cimport llrint
from libc.stdint cimport int32_t, int64_t
from libc.stdlib cimport free, malloc

from cordboard._core.acd_bits cimport bit_set
from cordboard._core.acd_build cimport engine_arrays, group_members, pool_arrays, reserve_arrays
from cordboard._core.acd_classes cimport ordered
from cordboard._core.acd_intern cimport intern_drop, intern_get
from cordboard._core.acd_types cimport *

cdef inline int64_t ticks_of(double t) noexcept:
    return llrint(t * 1e6)

cdef inline int store(InternTable* table, list numbers) except -1:
    """Intern numbers; the reference is the caller's."""
    cdef int32_t n = len(numbers)
    cdef int32_t i, found
    cdef int64_t* data = <int64_t*>malloc((n + 1) * sizeof(int64_t))
    if data == NULL:
        raise MemoryError
    try:
        for i in range(n):
            data[i] = numbers[i]
        found = intern_get(table, data, n)
    finally:
        free(data)
    if found < 0:
        raise MemoryError
    return found

cdef inline int32_t plan_store(Engine* e, dict skills, steps) except -1:
    """Intern a plan of requirements; see Router.plan. A new plan keeps the references to its requirements."""
    cdef int64_t until = 0
    if isinstance(steps, dict):
        steps = [(None, steps)]
    numbers = []
    for length, requires in steps:
        until = NEVER if length is None else until + ticks_of(length)
        needs = sorted([(skills.get(s, e.n_skills) << 8) | level for s, level in requires.items() if level > 0])
        numbers += [until, store(&e.requirements, needs)]
        if length is None:
            break
    known = e.plans.live
    cdef int32_t found = store(&e.plans, numbers)
    if e.plans.live == known:  # it was there already, and has its own references
        for requirement in numbers[1::2]:
            intern_drop(&e.requirements, requirement)
    return found

cdef inline list window_numbers(tiers):
    low, high, rules = tiers
    numbers = [-1 if low is None else low, -1 if high is None else high]
    ordered_rules = sorted([(rule[0], i) for i, rule in enumerate(rules)])  # of two at one time the later in the list wins
    for after, i in ordered_rules:
        _, rule_low, rule_high = rules[i]
        numbers += [ticks_of(after), -1 if rule_low is None else rule_low, -1 if rule_high is None else rule_high]
    return numbers

cdef inline int build(Engine* e, dict skills_of, center, tuple channel_names, tuple strategy_names) except -1:
    """Number the skills and the groups, and fill in the arrays."""
    queues, agents = list(center.queues), list(center.agents)
    skills_of.update({name: i for i, name in enumerate(sorted({s for a in agents for s in a.skills}))})
    queue_index = {q.name: i for i, q in enumerate(queues)}
    by_channel = {c: [i for i, q in enumerate(queues) if q.channel == c] for c in channel_names}
    profiles = {}  # what makes agents alike -> (group, their indexes)
    for i, agent in enumerate(agents):
        channels = tuple([c for c in channel_names if agent.capacity.get(c, 0) > 0])
        named = None if agent.queues is None else tuple(sorted(agent.queues.items()))
        profiles.setdefault((tuple(sorted(agent.skills.items())), named, channels), []).append(i)
    memberships = []  # (queue, tier, group)
    for g, (_, named, channels) in enumerate(profiles):
        places = {q: 1 for c in channels for q in by_channel[c]} if named is None else {
            queue_index[name]: tier for name, tier in named if queues[queue_index[name]].channel in channels
        }
        memberships += [(q, tier, g) for q, tier in places.items()]
    memberships.sort()
    if engine_arrays(e, len(agents), len(queues), len(profiles), len(skills_of), len(memberships),
                     len(center.reserves)) < 0:
        raise MemoryError
    for i, (q, tier, g) in enumerate(memberships):
        e.by_queue[i].group = g
        e.by_queue[i].tier = tier
    build_queues(e, skills_of, queues, queue_index, memberships, channel_names, strategy_names)
    build_groups(e, skills_of, profiles, center.reserves, queue_index)
    build_agents(e, agents, profiles, channel_names)
    build_pools(e, memberships)
    return 0

cdef inline int build_queues(Engine* e, dict skills_of, list queues, dict queue_index, list memberships,
                             tuple channel_names, tuple strategy_names) except -1:
    cdef Queue* q
    cdef int32_t place = 0
    for i, queue in enumerate(queues):
        q = &e.queues[i]
        q.weight = ordered(-<double>queue.weight)
        q.channel = channel_names.index(queue.channel)
        q.strategy = strategy_names.index(queue.strategy)
        q.within = ticks_of(queue.target_within)
        q.delay = ticks_of(queue.delay)
        q.tier_wait = ticks_of(queue.tier_wait)
        q.tier_wait_multiplies = queue.tier_wait_multiplies
        q.offer_timeout = ticks_of(queue.offer_timeout)
        q.retry_delay = ticks_of(queue.retry_delay)
        q.max_no_answer = queue.max_no_answer
        q.wrap_up = ticks_of(queue.wrap_up)
        q.max_waiting = queue.max_waiting
        q.max_wait = ticks_of(queue.max_wait)
        q.overflow = -1 if queue.overflow is None else queue_index[queue.overflow]
        steps = [(s.seconds, s.requires) for s in queue.steps] or [(None, queue.requires)]
        q.steps = plan_store(e, skills_of, steps)
        q.plain = steps[0][0] is None and q.delay == 0 and q.tier_wait == 0
        q.sticky = queue.sticky
        q.plain_class = q.classes = q.last_agent = -1
        q.groups_from = place
        while place < len(memberships) and memberships[place][0] == i:
            place += 1
        q.groups_to = place
        w = queue.weights
        if w is not None:
            q.w_wait, q.w_idle, q.w_priority = w.wait, w.idle, w.priority
            q.w_proficiency, q.w_value, q.w_tier = w.proficiency, w.value, w.tier
    return 0

cdef inline int build_groups(Engine* e, dict skills_of, dict profiles, reserves, dict queue_index) except -1:
    cdef Reserve* rule
    for r, reserve in enumerate(reserves):
        if reserve_arrays(e, r) < 0:
            raise MemoryError
        e.reserves[r].agents = reserve.agents
        for name in reserve.queues:
            bit_set(e.reserves[r].queues, queue_index[name])
    for g, ((skills, _, _), members) in enumerate(profiles.items()):
        if group_members(e, g, len(members), len(reserves)) < 0:
            raise MemoryError
        e.groups[g].n = len(members)
        for i, agent in enumerate(members):
            e.groups[g].members[i] = agent
        for name, level in skills:
            e.levels[<size_t>g * e.n_skills + <size_t>skills_of[name]] = level
        for r, reserve in enumerate(reserves):
            if dict(skills).get(reserve.skill, 0) >= reserve.level:
                rule = &e.reserves[r]
                rule.groups[rule.n_groups] = g
                rule.n_groups += 1
                e.groups[g].reserves[e.groups[g].n_reserves] = r
                e.groups[g].n_reserves += 1
    return 0

cdef inline int build_agents(Engine* e, list agents, dict profiles, tuple channel_names) except -1:
    cdef Agent* a
    for g, members in enumerate(profiles.values()):
        for rank, i in enumerate(members):
            a = &e.agents[i]
            agent = agents[i]
            a.group = g
            a.rank = rank
            a.busy_from = -1
            a.links = a.tm_wrap_up = a.tm_retry = -1
            a.wrap_up = -1 if agent.wrap_up is None else ticks_of(agent.wrap_up)
            a.blend = agent.blend
            for c, name in enumerate(channel_names):
                a.capacity[c] = agent.capacity.get(name, 0)
    return 0

cdef inline int build_pools(Engine* e, list memberships) except -1:
    """Keep each pool in the orders that the strategies of its queues need."""
    keep = {}
    for i, _, g in memberships:
        at = (e.queues[i].channel, g)
        keep[at] = keep.get(at, 0) | kept_for(&e.queues[i])
    for (channel, g), flags in keep.items():
        if pool_arrays(e, channel, g, flags) < 0:
            raise MemoryError
    return 0

cdef inline int kept_for(const Queue* q) noexcept:
    if q.strategy == FEWEST_CONTACTS:
        return 1 << HEAP_HANDLED
    if q.strategy == LEAST_OCCUPIED:
        return KEEP_OCCUPANCY
    if q.strategy == WEIGHTED and q.w_idle != 0:
        return 1 << (HEAP_IDLE if q.w_idle > 0 else HEAP_LATEST)
    if q.strategy in (LONGEST_IDLE, MOST_SKILLED, LEAST_SKILLED):
        return 1 << HEAP_IDLE
    return KEEP_BITS
