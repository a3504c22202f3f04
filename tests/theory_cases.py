"""Systems whose figures are known exactly (or were published), as centers and scenarios for the simulator.

Times are in mean service times unless said otherwise; offers are accepted at once and have no time-out.
"""

from __future__ import annotations

from collections.abc import Sequence

from cordboard.center import Agent, Center, Queue, Reserve
from cordboard.simulation import (
    Deterministic,
    Erlang,
    Exponential,
    Law,
    LogNormal,
    Never,
    Scenario,
    Source,
    Uniform,
    hyperexponential,
    poisson,
)

UNIT = Exponential(1.0)
HOUR = 3600.0


def pool(
    n: int, lam: float, patience: Law, *, threshold: float = 0.1, service: Law = UNIT, calls: float = 1e6, warm_up: float = 50.0
) -> tuple[Center, Scenario]:
    """M/G/n+G: one queue, n agents, ``calls`` after the warm-up."""
    center = Center(
        queues=(Queue("q", offer_timeout=0, target_within=threshold),), agents=tuple(Agent(f"a{i}") for i in range(n))
    )
    source = Source("q", poisson(lam * HOUR), service, patience)
    return center, Scenario((source,), duration=warm_up + calls / lam, warm_up=warm_up)


# n, lambda, theta, threshold -> P(wait), P(abandon), E[W], E[W | served], service level, occupancy
ERLANG_A = [
    (10, 10.0, 1.0, 0.1, 0.542070285528, 0.125110035721, 0.125110035721, 0.114943122771, 0.575126903721, 0.874889964279),
    (20, 18.0, 0.5, 0.1, 0.397795152159, 0.0378359795336, 0.0756719590671, 0.0721771159077, 0.731064717541, 0.86594761842),
    (50, 50.0, 0.5, 0.1, 0.601167651751, 0.0466845859148, 0.0933691718295, 0.0918093669615, 0.617593586121, 0.953315414085),
    (100, 95.0, 0.5, 0.1, 0.364474464839, 0.0151410416271, 0.0302820832542, 0.0296564065787, 0.870431961849, 0.935616010454),
    (100, 100.0, 1.0, 0.1, 0.513298798279, 0.0398609968091, 0.0398609968091, 0.038916533116, 0.81365453493, 0.960139003191),
    (100, 110.0, 0.2, 0.1, 0.989106720404, 0.09147911905, 0.45739559525, 0.474895636034, 0.0387619284997, 0.999372969045),
    (100, 140.0, 1.0, 0.1, 0.999838942825, 0.285717865123, 0.285717865123, 0.331487347346, 0.00587852813989, 0.999994988828),
    (500, 510.0, 0.5, 0.05, 0.781082538357, 0.0260524258867, 0.0521048517734, 0.0521881811737, 0.53172646784, 0.993426525596),
    (1000, 1020.0, 0.25, 0.05, 0.925350353317, 0.0210425160248, 0.0841700640993, 0.0846679410384, 0.296573345703, 0.998536633655),
]  # fmt: skip

PATIENCE: dict[str, Law] = {
    "exponential": Exponential(2.0),
    "deterministic": Deterministic(2.0),
    "uniform": Uniform(0.0, 4.0),
    "hyperexponential": hyperexponential([0.5, 0.5], [0.4, 3.6]),
    "erlang": Erlang(2, 2.0),
}
# n = 100; patience, lambda -> P(wait), P(abandon), E[W], service level (0.1), E[Q]   (Mandelbaum & Zeltyn's M/M/n+G)
GENERAL_PATIENCE = [
    ("exponential", 95.0, 0.3644744648, 0.01514104163, 0.03028208325, 0.8704319618, 2.876797909),
    ("deterministic", 95.0, 0.506446073, 1.149680393e-06, 0.1012452968, 0.6928335242, 9.618303197),
    ("uniform", 95.0, 0.4051184252, 0.01080675834, 0.04223238463, 0.8244001453, 4.01207654),
    ("hyperexponential", 95.0, 0.2968535167, 0.02235215842, 0.01680874037, 0.9303083792, 1.596830335),
    ("erlang", 95.0, 0.4537885932, 0.005616558036, 0.05966819961, 0.7657325103, 5.668478963),
    ("exponential", 100.0, 0.596703138, 0.03303015253, 0.06606030506, 0.7011095604, 6.606030506),
    ("deterministic", 100.0, 0.9427326913, 0.004690212395, 0.9474229037, 0.1041694326, 94.74229037),
    ("uniform", 100.0, 0.67244659, 0.02682673761, 0.1039447175, 0.5818977436, 10.39447175),
    ("hyperexponential", 100.0, 0.4786733244, 0.0426968351, 0.03231642063, 0.8502389203, 3.231642063),
    ("erlang", 100.0, 0.7543063899, 0.02012239167, 0.1596763199, 0.4457988748, 15.96763199),
    ("exponential", 120.0, 0.9966343704, 0.166790631, 0.3335812619, 0.02539513515, 40.02975143),
    ("deterministic", 120.0, 1.0, 0.1666666667, 1.958333333, 0.0, 235.0),
    ("uniform", 120.0, 0.9998861226, 0.166670861, 0.6069602983, 0.0009256158992, 72.8352358),
    ("hyperexponential", 120.0, 0.9524014945, 0.1684198349, 0.1322496551, 0.2858947528, 15.86995862),
    ("erlang", 120.0, 0.9999885281, 0.1666670892, 0.6769558233, 0.0001000611833, 81.23469879),
]

LAWS: dict[str, Law] = {
    "E2": Erlang(2, 1.0), "D": Deterministic(1.0), "M": UNIT, "LN(1,1)": LogNormal(1.0, 1.0), "LN(1,4)": LogNormal(1.0, 4.0),
    "E2(4)": Erlang(2, 4.0),
}  # fmt: skip
# n = 100, lambda = 102, r = 200; service, patience -> P(W=0), +-, P(A), +-, E[Q], +-  (simulated: Whitt, Mgmt Sci 51:221, 2005)
GENERAL_SERVICE = [
    ("E2", "E2", 0.217, 0.0021, 0.0351, 0.0003, 11.52, 0.075),
    ("D", "E2", 0.180, 0.0013, 0.0309, 0.0002, 11.08, 0.042),
    ("M", "E2", 0.246, 0.0020, 0.0378, 0.0003, 11.75, 0.075),
    ("LN(1,1)", "E2", 0.233, 0.0021, 0.0370, 0.0003, 11.74, 0.063),
    ("E2", "LN(1,1)", 0.211, 0.0013, 0.0348, 0.0002, 11.40, 0.039),
    ("M", "LN(1,1)", 0.242, 0.0026, 0.0376, 0.0003, 11.42, 0.071),
    ("LN(1,1)", "LN(1,1)", 0.229, 0.0015, 0.0366, 0.0002, 11.44, 0.051),
    ("LN(1,4)", "LN(1,1)", 0.286, 0.0020, 0.0425, 0.0002, 11.55, 0.048),
    ("E2", "E2(4)", 0.056, 0.0016, 0.0236, 0.0004, 41.6, 0.44),
]

# n, lambda of each class (first = highest priority) -> E[W] of each  (Cobham 1954; Kella & Yechiali 1985)
PRIORITIES = [
    (5, (1.0, 1.5, 2.0), (0.190623305183234, 0.381246610366468, 3.04997288293174)),
    (20, (4.0, 6.0, 8.0), (0.0344230628010073, 0.0688461256020147, 0.550769004816118)),
    (50, (9.0,) * 5, (0.00887474310260947, 0.0138667860978273, 0.0247190534787356, 0.0565006936656814, 0.259903190862135)),
]  # fmt: skip


def priorities(n: int, lams: Sequence[float], calls: float) -> tuple[Center, Scenario]:
    """Non-preemptive priorities: a queue a class, its weight its rank."""
    queues = tuple(Queue(f"c{k}", offer_timeout=0, weight=len(lams) - k) for k in range(len(lams)))
    center = Center(queues=queues, agents=tuple(Agent(f"a{i}") for i in range(n)))
    sources = tuple(Source(f"c{k}", poisson(lam * HOUR), UNIT) for k, lam in enumerate(lams))
    return center, Scenario(sources, duration=200 + calls / sum(lams), warm_up=200)


# classes' lambda, classes of each agent -> E[W] of each class, P(busy) of each agent  (Adan & Weiss, FCFS-ALIS)
PRODUCT_FORM = {
    "W": ((1.2, 0.9), ((0,), (0, 1), (1,)), (0.9594308055, 0.6945072611), (0.704399958, 0.79026014, 0.605339902)),
    "N": ((0.5, 0.9), ((0,), (0, 1)), (0.7455048409, 9.691562932), (0.46473029, 0.93526971)),
    "ring": ((0.8,) * 4, ((0, 1), (1, 2), (2, 3), (0, 3)), (1.075863243,) * 4, (0.8,) * 4),
}  # fmt: skip


def product_form(name: str, calls: float) -> tuple[Center, Scenario]:
    """First come first served over all queues, longest idle agent first."""
    lams, skills, _, _ = PRODUCT_FORM[name]
    queues = tuple(Queue(f"c{k}", offer_timeout=0) for k in range(len(lams)))
    agents = tuple(Agent(f"a{i}", queues={f"c{k}": 1 for k in served}) for i, served in enumerate(skills))
    sources = tuple(Source(f"c{k}", poisson(lam * HOUR), UNIT) for k, lam in enumerate(lams))
    return Center(queues=queues, agents=agents), Scenario(sources, duration=1000 + calls / sum(lams), warm_up=1000)


# reserved idle agents of pool 2 -> E[W1], E[W2], P(abandon 1), P(abandon 2), occupancy of pool 2
N_MODEL_RESERVE = {
    0: (0.117124602, 0.243591096, 0.0585623011, 0.121795548, 0.860385626),
    1: (0.15859628, 0.203866984, 0.0792981402, 0.101933492, 0.835976865),
    2: (0.207332229, 0.178392958, 0.103666114, 0.0891964791, 0.801266686),
    5: (0.292263142, 0.155937351, 0.146131571, 0.0779686753, 0.73762506),
}
N_MODEL_PRIORITY_1 = (0.0501813311, 0.376245487, 0.0250906655, 0.188122743, 0.8684176)


def n_model(reserve: int, calls: float, *, first: int = 2) -> tuple[Center, Scenario]:
    """Pool 1 serves class 1, pool 2 serves both; class 1 tries pool 1 first; class ``first`` goes before the other."""
    queues = (
        Queue("c1", offer_timeout=0, weight=int(first == 1)),
        Queue("c2", offer_timeout=0, weight=int(first == 2)),
    )
    one = tuple(Agent(f"one{i}", queues={"c1": 1}) for i in range(5))
    both = tuple(Agent(f"two{i}", skills={"two": 5}, queues={"c1": 2, "c2": 1}) for i in range(5))
    reserves = (Reserve("two", 1, reserve, ("c2",)),) if reserve else ()
    center = Center(queues=queues, agents=one + both, reserves=reserves)
    sources = tuple(Source(q, poisson(lam * HOUR), UNIT, Exponential(2.0)) for q, lam in (("c1", 5.0), ("c2", 4.0)))
    return center, Scenario(sources, duration=100 + calls / 9, warm_up=100)


# offered Erlang, skills an agent -> blocking, ASA min, P(delay), each with its half width. Service 10 min. m = 6: exact
# M/M/90/120; m = 1: simulated elsewhere with 1e7 calls; m = 2 and 3: six runs of 1e7 calls of benchmarks/baselines/six_types.c
# under the rule that the router has, first come first served over an agent's types (the rule "own type first" gives other waits).
SIX_TYPES = {
    (77.4, 1): ((0.0095, 1e-3), (1.704, 0.02), (0.439, 4e-3)),
    (77.4, 2): ((0.0002045, 2.4e-5), (8.657959 / 60, 2.2e-3), (0.1624065, 1.4e-3)),
    (77.4, 3): ((0.0001717, 1.1e-5), (5.7150803 / 60, 2.0e-3), (0.1232508, 1.9e-3)),
    (77.4, 6): ((0.000167662624269, 0.0), (0.0827683212513, 0.0), (0.109318806969, 0.0)),
    (84.0, 1): ((0.0388, 1e-3), (2.458, 0.025), (0.555, 4e-3)),
    (84.0, 2): ((0.0041121, 1.2e-4), (34.2702762 / 60, 4.9e-3), (0.4335912, 1.4e-3)),
    (84.0, 3): ((0.0037152, 1.1e-4), (28.5896395 / 60, 4.3e-3), (0.3954362, 2.5e-3)),
    (84.0, 6): ((0.00364307607096, 0.0), (0.450022760964, 0.0), (0.379705554636, 0.0)),
    (90.0, 1): ((0.0772, 1e-3), (2.821, 0.03), (0.613, 4e-3)),
    (90.0, 2): ((0.0246469, 3e-4), (81.3277057 / 60, 5.5e-3), (0.7387067, 1.7e-3)),
    (90.0, 3): ((0.0240591, 3e-4), (76.7612602 / 60, 8e-3), (0.730832, 2.4e-3)),
    (90.0, 6): ((0.0234921924, 0.0), (1.24296320475, 0.0), (0.721720570502, 0.0)),
}


def six_types(erlang: float, skills: int, calls: float) -> tuple[Center, Scenario]:
    """Wallace & Whitt's setting: 6 types, 90 agents, 15 of each type first, 30 places to wait; ``skills`` types an agent, spread evenly.

    The router orders contacts by wait over all types (first come first served); an arrival takes the best skill level.
    """
    queues = tuple(
        Queue(f"t{k}", requires={f"s{k}": 1}, strategy="most_skilled", offer_timeout=0, target_within=30) for k in range(6)
    )
    agents = []
    for i in range(90):
        primary, round_ = i % 6, i // 6
        levels = {f"s{primary}": 10}
        for j in range(1, skills):
            levels[f"s{(primary + 1 + (round_ + j - 1) % 5) % 6}"] = 10 - j
        agents.append(Agent(f"a{i}", skills=levels))
    lam = erlang / 600.0
    sources = tuple(Source(f"t{k}", poisson(lam / 6 * HOUR), Exponential(600.0), Never()) for k in range(6))
    return Center(queues=queues, agents=tuple(agents)), Scenario(sources, duration=20_000 + calls / lam, warm_up=20_000, waiting_places=30)
