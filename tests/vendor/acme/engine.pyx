from libc.stdint cimport int32_t

from cordboard._core.api cimport (
    API_VERSION, ApiEffect, api_agent_ready, api_contact_ended, api_contact_queued, api_drain, api_engine, api_erlang_b,
    api_erlang_c, api_measures, api_minimum_agents, api_new_router, api_next_timer, api_offer_accepted, api_version)

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
