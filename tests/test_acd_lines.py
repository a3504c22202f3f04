"""Lines of the engine: contacts of a class and agents of a pool who come and go anywhere, against a sorted list."""

from __future__ import annotations

import random

import pytest

from cordboard._core.acd import Router
from cordboard.center import Agent, Center, Queue, Weights


def check(router: Router, expected: list[tuple[float, float, int, int]]) -> None:
    """Sorted (-priority, arrival, line, slot): the whole order, and what a wallboard sees of it."""
    slots = [slot for *_, slot in expected]
    assert router.waiting(0) == slots
    assert [router.rank(slot) for slot in slots[::7]] == list(range(len(slots)))[::7]
    oldest = min((arrival for _, arrival, *_ in expected), default=None)
    assert router.queue(0)["oldest"] == oldest


@pytest.mark.parametrize("late", [0.0, 0.02, 0.5])
@pytest.mark.parametrize("leaving", [0.1, 0.5, 0.8])
def test_contacts_who_come_and_go_anywhere_wait_in_the_centers_order(late: float, leaving: float) -> None:
    # given: some come back with an older place or more priority, and some leave from anywhere
    rng = random.Random(f"{late} {leaving}")
    router = Router(Center((Queue("a"),), ()))
    expected: list[tuple[float, float, int, int]] = []
    for n in range(3_000):
        t = float(n)
        if expected and rng.random() < leaving:
            gone = expected[rng.choice([0, -1, rng.randrange(len(expected))])]
            expected.remove(gone)
            # when
            assert router.contact_left(t, gone[3]) == 0
        else:
            stepping_in = rng.random() < late
            arrival = float(rng.randrange(n + 1)) if stepping_in else t
            priority = float(rng.randrange(3)) if stepping_in else 0.0
            code, slot = router.contact_queued(t, 0, priority=priority, queued_at=arrival)
            assert code == 0
            expected.append((-priority, arrival, n, slot))
            expected.sort()
        # then
        if n % 50 == 0:
            check(router, expected)
    check(router, expected)


@pytest.mark.parametrize(("strategy", "descending"), [("longest_idle", False), ("fewest_contacts", False), ("weighted", True)])
def test_agents_who_come_and_go_anywhere_are_taken_in_the_order_of_their_strategy(strategy: str, descending: bool) -> None:
    # given: agents of one profile, free, talking or away
    rng = random.Random(strategy)
    weights = Weights(idle=-1.0) if descending else None
    queue = Queue("a", strategy=strategy, wrap_up=0.0, offer_timeout=0.0, weights=weights)
    agents = 60
    router = Router(Center((queue,), tuple(Agent(f"x{i}", {}) for i in range(agents))))
    free: dict[int, float] = {}  # agent -> idle since
    handled = [0] * agents
    talking: dict[int, int] = {}  # agent -> slot

    def best() -> int:
        if strategy == "fewest_contacts":
            return min(free, key=lambda a: (handled[a], a))
        return min(free, key=lambda a: (-free[a] if descending else free[a], a))

    for n in range(6_000):
        t = float(n // 2)  # two at one instant, so that the file decides between some
        what = rng.random()
        if what < 0.3 and free:
            # when
            chosen = best()
            _, slot = router.contact_queued(t, 0)
            # then
            assert router.agent(chosen)["offered"] == [slot], n
            assert router.offer_accepted(t, slot, chosen) == 0
            del free[chosen]
            talking[chosen] = slot
        elif what < 0.6 and talking:
            agent = rng.choice(sorted(talking))
            assert router.contact_ended(t, talking.pop(agent)) == 0
            handled[agent] += 1
            free[agent] = t
        elif what < 0.7 and free:
            agent = rng.choice(sorted(free))
            assert router.agent_away(t, agent) == 0
            del free[agent]
        else:
            agent = rng.randrange(agents)
            if agent not in talking:
                assert router.agent_ready(t, agent) == 0
                free[agent] = t
