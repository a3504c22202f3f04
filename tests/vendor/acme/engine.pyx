from libc.stdint cimport int32_t
from libc.stdlib cimport free, malloc

from cordboard._core.api cimport (
    API_VERSION, ApiEffect, api_agent_ready, api_contact_ended, api_contact_queued, api_drain, api_engine, api_erlang_b,
    api_erlang_c, api_learner, api_learner_room, api_learner_score, api_measures, api_minimum_agents, api_new_router,
    api_next_timer, api_offer_accepted, api_priority_changed, api_trees, api_trees_score, api_version)

if api_version() < API_VERSION:
    raise ImportError("acme was compiled with a newer cordboard than the one installed")


def formulas(long agents, double load):
    """(Erlang B, Erlang C, service level in 20 s of calls of 180 s, fewest agents for 80 % in 20 s)."""
    cdef double[8] out
    api_measures(agents, load / 180.0, 180.0, 120.0, 20.0, out)
    fewest = api_minimum_agents(load / 180.0, 180.0, float("inf"), 0.8, 20.0)
    return api_erlang_b(agents, load), api_erlang_c(agents, load), out[5], fewest


def serve(center, int contacts):
    """Serve contacts of queue 0 one a second, each for half a second; returns how many offers were accepted, in C."""
    router = api_new_router(center, 1)
    cdef void* engine = api_engine(router)
    cdef ApiEffect[16] effects
    cdef int32_t slot
    cdef int i, k, n, accepted = 0
    with nogil:
        api_agent_ready(engine, 0.0, 0)
        for i in range(contacts):
            if api_contact_queued(engine, 1.0 + i, i, 0, 0.0, &slot) < 0:
                break
            n = api_drain(engine, effects, 16)
            for k in range(n):
                if effects[k].effect == 1 and api_offer_accepted(engine, 1.25 + i, effects[k].slot, effects[k].agent) == 0:
                    accepted += 1
                    api_contact_ended(engine, 1.5 + i, effects[k].slot)
    return accepted, api_next_timer(engine), api_contact_queued(engine, float("nan"), 1, 0, 0.0, &slot)


def first_of_two(center):
    """Two contacts wait; the second is given the greater priority, then an agent comes: the id of who is offered."""
    router = api_new_router(center, 1)
    cdef void* engine = api_engine(router)
    cdef ApiEffect effect
    cdef int32_t first, second
    with nogil:
        api_contact_queued(engine, 1.0, 71, 0, 0.0, &first)
        api_contact_queued(engine, 2.0, 72, 0, 0.0, &second)
        api_priority_changed(engine, 3.0, second, 5.0)
        api_agent_ready(engine, 4.0, 0)
        api_drain(engine, &effect, 1)
    return effect.contact


def score_trees(compiled, const double[:, ::1] rows, double[::1] out):
    """Probabilities of rows by compiled trees, without the GIL."""
    cdef void* trees = api_trees(compiled)
    cdef Py_ssize_t i
    with nogil:
        for i in range(rows.shape[0]):
            out[i] = api_trees_score(trees, &rows[i, 0])


def score_learner(learner, const double[:, ::1] numbers, const int32_t[:, ::1] codes, const int32_t[:, ::1] cells,
                  const double[::1] extra, double[::1] out):
    """Probabilities of encoded rows by a head's learner, without the GIL; the last of a code that it does not have."""
    cdef void* handle = api_learner(learner)
    cdef double* trace = <double*>malloc(api_learner_room(handle) * sizeof(double))
    cdef int32_t[64] wrong
    cdef Py_ssize_t i
    with nogil:
        for i in range(numbers.shape[0]):
            out[i] = api_learner_score(handle, &numbers[i, 0], &codes[i, 0], &cells[i, 0], extra[i], trace)
        for i in range(64):
            wrong[i] = 1 << 30
        out[numbers.shape[0]] = api_learner_score(handle, &numbers[0, 0], wrong, &cells[0, 0], extra[0], trace)
    free(trace)
