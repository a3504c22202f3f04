"""The center file: what a contact center is made of.

``load_center(path)`` and ``parse_center(text)`` read the TOML that docs/reference/center-file.md
describes and return a :class:`Center`. Everything in it is plain data, frozen, in the order of the file;
the engine and the simulator take it as it is. A center can be made in Python as well, from the classes
below; they have the defaults of the file, but nothing checks them.

Times are seconds (float), levels 1 to 10, tiers 1 and up (1 is first).
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass, field

from cordboard.errors import CenterError, Where

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
UNFIT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")  # what no name may have
LEVEL_MAX = 10
TIER_MAX = 1000
CAPACITY_MAX = 1000
WEIGHT_MAX = 1_000_000_000
STEPS_MAX = 100
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

    ``wait`` a second that the contact has waited, ``idle`` a second that the agent has been idle,
    ``priority`` a point of the contact's priority, ``proficiency`` a level of the required skills,
    ``value`` the value given for the pair, ``tier`` a tier of the agent in the queue.
    """

    wait: float = 0.0
    idle: float = 0.0
    priority: float = 0.0
    proficiency: float = 0.0
    value: float = 0.0
    tier: float = 0.0


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue; times in seconds. 0 is no limit for the timeout, ``max_wait`` and the other maxima."""

    name: str
    channel: str = "voice"
    requires: dict[str, int] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()
    strategy: str = "longest_idle"
    weight: float = 0
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
    """An agent. ``queues``: queue -> tier, None: all of its channels. ``wrap_up`` None: the queue's."""

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
    warnings: tuple[CenterError, ...] = field(default=(), compare=False)


def load_center(path: str | os.PathLike[str]) -> Center:
    """Read a center file. Raises CenterError for the first thing wrong; its ``errors`` holds all of them."""
    file = os.fspath(path)
    try:
        with open(file, "rb") as stream:
            raw = stream.read(CENTER_BYTES_MAX + 1)
    except OSError as error:
        raise CenterError(
            f"the center file can't be read: {error.strerror}", Where(file), "Check the path"
        ) from error
    if len(raw) > CENTER_BYTES_MAX:
        raise CenterError(
            f"the center file is longer than {CENTER_BYTES_MAX} bytes",
            Where(file),
            "Is it a journal, perhaps?",
        )
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise CenterError("not valid UTF-8", Where(file, line), "Save the file as UTF-8") from error
    return parse_center(text, file)


def parse_center(text: str, file: str = "<string>") -> Center:
    """Read a center from TOML text; ``file`` is the name that errors give. Raises as load_center does."""
    if len(text) > CENTER_BYTES_MAX:
        raise CenterError(
            f"the center is longer than {CENTER_BYTES_MAX} characters", Where(file), "Make it shorter"
        )
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax_error(str(error), text, file) from error
    except RecursionError as error:
        raise CenterError("nested too deeply", Where(file), "A center needs four levels at most") from error
    except ValueError as error:  # e.g. an integer of more digits than Python converts
        raise CenterError(f"not valid TOML: {error}", Where(file), "Write numbers as 30 or 0.5") from error
    from cordboard.center_reader import read_center  # it needs the classes above

    return read_center(data, text, file)


def _syntax_error(message: str, text: str, file: str) -> CenterError:
    match = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    line = text.count("\n") + 1
    if match:
        message = message[: match.start()]
        line = int(match.group(1)) if match.group(1) else line
    return CenterError(
        f"not valid TOML: {message}", Where(file, line), "See https://toml.io for the notation"
    )


def serves(agent: Agent, queue: Queue) -> bool:
    """Whether the agent is in the queue and has any capacity for its channel."""
    return agent.capacity.get(queue.channel, 0) > 0 and (agent.queues is None or queue.name in agent.queues)
