"""The center file: what a contact center is made of.

``load_center(path)`` and ``parse_center(text)`` read the TOML that docs/reference/center-file.md describes and return a
:class:`Center`. Everything in it is plain data, frozen, in the order of the file; the engine and the simulator take it
as it is. A center can be made in Python as well, from the classes below; they have the defaults of the file.

Times are seconds (float), levels 1 to 10, tiers 1 and up (1 is first).
"""

from __future__ import annotations

from dataclasses import dataclass, field

CHANNELS = ("voice", "chat", "email", "sms", "social", "task")
ORDERS = ("priority", "score", "ratio")
STRATEGIES = (
    "longest_idle",
    "fewest_contacts",
    "least_occupied",
    "most_skilled",
    "least_skilled",
    "round_robin",
    "linear",
    "random",
    "ring_all",
    "weighted",
)
LEVEL_MAX = 10
TIER_MAX = 1000
CAPACITY_MAX = 1000
WEIGHT_MAX = 1_000_000_000
DURATION_MAX_S = 1e9
CENTER_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Step:
    """The levels that a contact asks for ``seconds`` long; ``seconds`` None: for ever."""

    seconds: float | None = None
    requires: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Weights:
    """The factors of the strategy ``weighted``: the agent with the greatest sum gets the contact.

    ``wait`` a second that the contact has waited, ``idle`` a second that the agent has been idle, ``priority`` a point of the
    contact's priority, ``proficiency`` a level of the required skills, ``value`` the value given for the pair,
    ``tier`` a tier of the agent in the queue.
    """

    wait: float = 0.0
    idle: float = 0.0
    priority: float = 0.0
    proficiency: float = 0.0
    value: float = 0.0
    tier: float = 0.0


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue. Times in seconds; 0 means no limit for ``offer_timeout``, ``max_wait``, ``max_waiting``, ``max_no_answer``."""

    name: str
    channel: str = "voice"
    requires: dict[str, int] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    strategy: str = "longest_idle"
    weight: int = 0
    target_share: float = 0.80
    target_within: float = 20.0
    delay: float = 0.0
    tier_wait: float = 0.0
    tier_wait_multiplies: bool = True
    offer_timeout: float = 15.0
    retry_delay: float = 0.0
    max_no_answer: int = 0
    wrap_up: float = 0.0
    max_waiting: int = 0
    max_wait: float = 0.0
    overflow: str | None = None
    sticky: bool = False
    weights: Weights | None = None


@dataclass(frozen=True, slots=True)
class Agent:
    """An agent. ``queues``: queue -> tier, None for every queue of a channel that it has. ``wrap_up`` None: the queue's."""

    name: str
    skills: dict[str, int] = field(default_factory=dict)
    queues: dict[str, int] | None = None
    capacity: dict[str, int] = field(default_factory=lambda: {"voice": 1})
    blend: bool = False
    wrap_up: float | None = None


@dataclass(frozen=True, slots=True)
class Reserve:
    """Keep ``agents`` idle agents with ``skill`` at ``level`` or more for the contacts of ``queues``.

    Such an agent is given to a contact of another queue only while more than ``agents`` of them are idle.
    """

    skill: str
    level: int
    agents: int
    queues: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Center:
    """A contact center, as its file says. ``warnings`` are what looked odd in the file but is allowed."""

    queues: tuple[Queue, ...] = ()
    agents: tuple[Agent, ...] = ()
    order: str = "priority"
    time_zone: str = "UTC"
    reserves: tuple[Reserve, ...] = ()
    warnings: tuple[str, ...] = ()

