from collections.abc import Sequence

from cordboard._core.pacing_policy import Policy

class Drive:
    """A policy, callable from Python."""

    policy: Policy
    def __init__(self, policy: Policy) -> None: ...
    def agent(self, agent: int, state: int, leaving: bool, now: float) -> None: ...
    def call(self, call: int, event: int, bucket: int, p: float, now: float) -> None: ...
    def ask(
        self,
        now: float,
        groups: Sequence[tuple[float, int, int]],
        lines: int,
        choose: bool,
        ahead: Sequence[int] = (),
    ) -> tuple[list[int], list[int], float]: ...
