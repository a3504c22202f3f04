"""The state of the wait estimator as arrays, and back.

The arrays are the estimator's own, without padding; what follows from them (trees of lines, places, shares of agents) is
worked out again.
"""
import numpy as np
from numpy.lib.recfunctions import repack_fields

from libc.stdint cimport int32_t
from libc.string cimport memset

from cordboard._core.wait cimport Agent_C, Contact_C, FEATURES, Group_C, Kind_C, Order_C, WaitCore
from cordboard._core.waitline cimport line_count, line_init
from cordboard._core.waitrate cimport Rate_C

cdef enum:
    SAMPLES_MAX = 4096
    SAMPLE = FEATURES + 4
    WAITING = 1
    CONNECTED = 2

cdef dict views(WaitCore core):
    """The estimator's memory. (A view of nothing is not allowed: there is always room for one.)"""
    return {
        "kinds": np.asarray(<Kind_C[:core.max_kinds]>core.kind)[:core.kinds],
        "can": np.asarray(<int32_t[:core.max_kinds * (core.groups + 1)]>core.can)[:core.kinds * core.groups],
        "opens": np.asarray(<double[:core.max_kinds * (core.groups + 1)]>core.opens)[:core.kinds * core.groups],
        "groups": np.asarray(<Group_C[:core.groups + 1]>core.group)[:core.groups],
        "agents": np.asarray(<Agent_C[:core.agents + 1]>core.agent)[:core.agents],
        "lines": np.asarray(<Order_C[:core.max_lines]>core.place)[:core.lines],
        "prior": np.asarray(<double[:3 * FEATURES]>core.ridge.prior),
        "gram": np.asarray(<double[:FEATURES * FEATURES]>core.ridge.gram),
        "rhs": np.asarray(<double[:3 * FEATURES]>core.ridge.rhs),
        "weights": np.asarray(<double[:3 * FEATURES]>core.ridge.weights),
    }

cdef object contact_view(WaitCore core):
    return np.asarray(<Contact_C[:core.contacts_made]>core.contact)

cdef list learned_fields(WaitCore core):
    return [
        core.now, core.epoch, core.last_start, core.spread_mean, core.k50, core.k90, core.physics_square,
        core.correction_gain, core.correction_square, core.learned, core.solved_at, dict(core.handle), dict(core.patience),
    ]

cdef int set_learned(WaitCore core, list fields) except -1:
    core.now, core.epoch, core.last_start, core.spread_mean, core.k50, core.k90 = fields[:6]
    core.physics_square, core.correction_gain, core.correction_square, core.learned, core.solved_at = fields[6:11]
    core.handle = fields[11]
    core.patience = fields[12]
    return 0


cdef object copied(const int32_t* numbers, int n):
    cdef int i
    out = np.empty(n, dtype=np.int32)
    cdef int32_t[::1] target = out
    for i in range(n):
        target[i] = numbers[i]
    return out


def dump(WaitCore core):
    """(numbers that JSON can hold, arrays by name)."""
    cdef int i, j
    cdef Py_ssize_t n = 0
    arrays = {key: np.array(view, dtype=repack_fields(view.dtype, recurse=True) if view.dtype.names else view.dtype)
              for key, view in views(core).items()}
    for i in range(core.lines):
        n += core.line[i].used
    sizes = np.array([[core.line[i].used, core.line[i].capacity] for i in range(core.lines)], dtype=np.int32).reshape(-1, 2)
    arrival, owner = np.empty(n), np.empty(n, dtype=np.int32)
    cdef double[::1] arrivals = arrival
    cdef int32_t[::1] owners = owner
    n = 0
    for i in range(core.lines):
        for j in range(core.line[i].used):
            arrivals[n + j] = core.line[i].arrival[j]
            owners[n + j] = core.line[i].owner[j]
        n += core.line[i].used
    unused = copied(core.unused, core.unused_count)
    unused_samples = copied(core.unused_samples, core.unused_sample_count)
    contacts = np.zeros(0)
    if core.contacts_made > 0:
        view = contact_view(core)
        contacts = np.zeros(len(view), dtype=repack_fields(view.dtype, recurse=True))
        here = view["state"] != 0
        contacts[here] = view[here]
        contacts["load"][(contacts["state"] != CONNECTED) | (contacts["agent"] < 0)] = 0.0  # not set yet
    used = np.sort(contacts["sample"][(contacts["state"] == WAITING) & (contacts["sample"] >= 0)]) if len(contacts) else unused[:0]
    samples = np.asarray(<double[:SAMPLES_MAX * SAMPLE]>core.samples).reshape(SAMPLES_MAX, SAMPLE)[used]
    arrays |= {"line_sizes": sizes, "line_arrival": arrival, "line_owner": owner, "unused": unused,
               "unused_samples": unused_samples, "contacts": contacts, "used_samples": used, "samples": samples}
    return learned_fields(core), arrays


def restore(WaitCore core, list learned, dict arrays):
    """Into an estimator of the same center that has seen nothing and has no kinds or lines but those it began with.
    ValueError for arrays that are none of :func:`dump`; the estimator is then of no use any more."""
    cdef int i, j, at = 0
    cdef Py_ssize_t n = len(arrays["contacts"])
    core.kinds = len(arrays["kinds"])
    lines = len(arrays["line_sizes"])
    if core.kinds > core.max_kinds or lines > core.max_lines or len(arrays["lines"]) != lines:
        raise ValueError("too many kinds or lines")
    check(core, arrays, n)
    core.lines = 0
    for i in range(lines):
        if line_init(&core.line[i], max(1, arrays["line_sizes"][i, 1])) != 0:
            raise MemoryError("no memory for another line of waiting contacts")
        core.lines += 1
    for key, view in views(core).items():
        if view.shape != arrays[key].shape:
            raise ValueError(f"{key} has shape {arrays[key].shape}, not {view.shape}")
        view[...] = arrays[key]
    while core.contact_capacity < n:
        core._grow()
    core.contacts_made = n
    if n > 0:
        contact_view(core)[...] = arrays["contacts"]
    cdef int32_t[::1] unused = arrays["unused"]
    cdef int32_t[::1] unused_samples = arrays["unused_samples"]
    core.unused_count, core.unused_sample_count = len(unused), len(unused_samples)
    for i in range(core.unused_count):
        core.unused[i] = unused[i]
    for i in range(core.unused_sample_count):
        core.unused_samples[i] = unused_samples[i]
    np.asarray(<double[:SAMPLES_MAX * SAMPLE]>core.samples).reshape(SAMPLES_MAX, SAMPLE)[arrays["used_samples"]] = arrays["samples"]
    cdef double[::1] arrival = arrays["line_arrival"]
    cdef int32_t[::1] owner = arrays["line_owner"]
    for i in range(core.lines):
        core.line[i].used = arrays["line_sizes"][i, 0]
        for j in range(core.line[i].used):
            core.line[i].arrival[j] = arrival[at + j]
            core.line[i].owner[j] = owner[at + j]
            if owner[at + j] >= 0:
                core.line[i].alive += 1
                line_count(&core.line[i], j, 1)
                core.places[owner[at + j]] = j
        at += core.line[i].used
    set_learned(core, learned)
    core.staffing = 1
    memset(core.overlap_at, 0, core.max_kinds * sizeof(core.overlap_at[0]))


cdef int check(WaitCore core, dict arrays, Py_ssize_t n) except -1:
    """Every index in its bounds."""
    contacts, sizes = arrays["contacts"], arrays["line_sizes"]
    lines = len(sizes)
    bounds = [
        (arrays["line_owner"], -1, n), (arrays["unused"], 0, n), (arrays["unused_samples"], 0, SAMPLES_MAX),
        (arrays["used_samples"], 0, SAMPLES_MAX), (arrays["lines"]["kind"], 0, core.kinds),
        (arrays["agents"]["group"], 0, core.groups), (arrays["agents"]["wrap_kind"], 0, core.kinds),
        (sizes[:, 1] - sizes[:, 0], 0, 1 << 30),  (sizes[:, 0], 0, 1 << 30),
    ]
    if n > 0:
        here = contacts[contacts["state"] != 0]
        bounds += [(here["state"], 1, 3), (here["line"], 0, lines), (here["agent"], -1, core.agents),
                   (here["sample"], -1, SAMPLES_MAX)]
        if len(arrays["unused"]) + len(here) != n:
            raise ValueError("contacts and free places don't add up")
    for values, low, end in bounds:
        if len(values) and not (low <= values.min() and values.max() < end):
            raise ValueError("a number out of its bounds")
    if sizes[:, 0].sum() != len(arrays["line_owner"]) or len(arrays["line_owner"]) != len(arrays["line_arrival"]):
        raise ValueError("lines and their contacts don't add up")
    if len(arrays["unused_samples"]) + len(arrays["used_samples"]) != SAMPLES_MAX:
        raise ValueError("samples don't add up")
    return 0


cdef void hand_on(Rate_C* to, const Rate_C* old) noexcept nogil:
    to.events = old.events
    to.seconds = old.seconds
    to.closed = old.closed


def inherit(WaitCore core, list learned, dict arrays, list kinds):
    """What an estimator of another center has learned: the regression, the rates of all, and those of ``kinds``: pairs
    (kind here, kind there). Contacts that are open here stay as they are."""
    cdef Rate_C handle = learned[11], patience = learned[12]
    for key, view in views(core).items():
        if key in ("prior", "gram", "rhs", "weights"):
            view[...] = arrays[key]
    cdef double now = core.now
    cdef Rate_C mine = core.handle, theirs = core.patience
    set_learned(core, learned)
    core.now = max(now, core.now)
    hand_on(&mine, &handle)
    hand_on(&theirs, &patience)
    core.handle, core.patience = mine, theirs
    flows_begin(core)
    for here, there in kinds:
        old = arrays["kinds"][there]
        view = np.asarray(<Kind_C[:core.max_kinds]>core.kind)[here:here + 1]
        for rate in ("handle", "patience"):
            for part in ("events", "seconds", "closed"):
                view[rate][part] = old[rate][part]
        for flow in ("last_start", "starts", "arrivals", "lefts"):
            view[flow] = old[flow]


cdef void flows_begin(WaitCore core) noexcept nogil:
    # Contacts that were told of all at once are no rush.
    cdef int k
    for k in range(core.kinds):
        memset(core.kind[k].starts, 0, sizeof(core.kind[k].starts))
        memset(core.kind[k].arrivals, 0, sizeof(core.kind[k].arrivals))
        memset(core.kind[k].lefts, 0, sizeof(core.kind[k].lefts))
        core.kind[k].last_start = -1e9
    for k in range(core.lines):
        core.place[k].rate = 0.0


def begin_flows(WaitCore core):
    """Forget the arrivals and starts of the last minutes."""
    flows_begin(core)
    core.last_start = -1e9
