from collections.abc import Sequence

from cordboard._core.pacing_learn import AnswerLearner, DurationLearner
from cordboard._core.pacing_policy import Policy

REASONS: tuple[str, ...]

class PacingCore(Policy):
    """The pacing of one group of agents: see the module's docstring."""

    talk: DurationLearner
    wrap: DurationLearner
    ring: AnswerLearner
    target: float
    connect_within: float
    min_ring: float
    stale_after: float
    window_end: float
    budget: float
    answers_left: float
    price_scale: float
    @property
    def answers(self) -> float: ...
    @property
    def drops(self) -> float: ...
    @property
    def price(self) -> float: ...
    @property
    def expected_drops(self) -> float: ...
    @property
    def reason(self) -> int: ...
    def __init__(
        self, target: float = 0.03, prior_p: float = 0.2, prior_talk: float = 150.0, prior_wrap: float = 30.0
    ) -> None: ...
    def agent(self, agent: int, state: int, now: float, leaving: bool = False) -> None: ...
    def call(self, call: int, event: int, now: float, bucket: int = 0, p: float = ...) -> None: ...
    def beat(self, now: float) -> None: ...
    def plan(
        self, now: float, buckets: Sequence[tuple[float, int]] = ..., lines: int = ...
    ) -> tuple[list[int], list[int], float, str]: ...
    def learned(self) -> dict[str, float | list[float]]: ...
