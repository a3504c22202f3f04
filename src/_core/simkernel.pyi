from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cordboard._core.acd import Router

RECORD: np.dtype[Any]
COUNTERS: int
BINS: int

_Longs = npt.NDArray[np.int64]

class World:
    def __init__(
        self,
        router: Router,
        laws: tuple[Any, Any, Any, Any, Any],
        *,
        n_queues: int,
        n_agents: int,
        agent_kind: npt.NDArray[np.int32],
        within: _Longs,
        batch_at: _Longs,
        shifts: tuple[Any, Any, Any],
        stop: int,
        lines: int,
        places: int,
        back_after: int,
        short_us: int,
        records: bool,
    ) -> None: ...
    def add_source(
        self,
        *,
        queue: int,
        priority: float,
        steps: int,
        arrival_seed: int,
        key_seed: int,
        trace: _Longs | None,
        piece_end: Sequence[float] | npt.NDArray[np.float64],
        piece_rate: Sequence[float] | npt.NDArray[np.float64],
        service: Sequence[int],
        wrap_up: Sequence[int],
        patience: int,
        ring: int,
        p_no_answer: float,
        p_retry: float,
        retry_delay: int,
        attempts: int,
    ) -> None: ...
    def run(self) -> int: ...
    def halt(self) -> None: ...
    def results(self) -> tuple[_Longs, npt.NDArray[np.uint32], _Longs]: ...
    def work(self) -> tuple[int, int, int]: ...
    def records(self) -> npt.NDArray[Any]: ...
