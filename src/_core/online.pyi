from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

LANES: int
SLOTS: tuple[str, ...]
RECENT_MAX: int
LEVELS_MAX: int
STATE: tuple[str, ...]

def kernel_level() -> int: ...
def exp_log_check(
    x: NDArray[np.float64],
    exp_out: NDArray[np.float64],
    log_out: NDArray[np.float64],
    rsqrt_out: NDArray[np.float64],
) -> None: ...

class OnlineLearner:
    labels: int
    n_weights: int
    n_cells: int
    def __init__(
        self,
        n_numbers: int,
        n_codes: int,
        n_weights: int,
        n_levels: int,
        n_cells: int,
        lanes: ArrayLike,
        recent: Sequence[float] = (),
        *,
        prior: float = 0.1,
        window: float = 5000.0,
        strength: float = 20.0,
        cell_decay: float = 0.9995,
        pool_rate: float = 0.2,
        pool_decay: float = 0.9999,
        pool_share: float = 0.001,
        platt_rate: float = 0.01,
        platt_decay: float = 0.999,
        platt_pull: float = 0.001,
        level: int = -1,
    ) -> None: ...
    def state(self) -> dict[str, NDArray[Any]]: ...
    def restore(self, state: Mapping[str, NDArray[Any]]) -> None: ...
    def trace_size(self) -> int: ...
    def use_extra(self, used: bool) -> None: ...
    def predict(
        self,
        numbers: NDArray[np.float64],
        codes: NDArray[np.int32],
        cells: NDArray[np.int32],
        extra: NDArray[np.float64],
        out: NDArray[np.float64],
        trace: NDArray[np.float64],
    ) -> None: ...
    def observe(self, numbers: NDArray[np.float64]) -> None: ...
    def learn(
        self,
        numbers: NDArray[np.float64],
        codes: NDArray[np.int32],
        cells: NDArray[np.int32],
        trace: NDArray[np.float64],
        y: NDArray[np.float64],
    ) -> None: ...
    def run(
        self,
        numbers: NDArray[np.float64],
        codes: NDArray[np.int32],
        cells: NDArray[np.int32],
        extra: NDArray[np.float64],
        y: NDArray[np.float64],
        delay: int,
        out: NDArray[np.float64],
    ) -> None: ...
    def rate(self, cells: NDArray[np.int32]) -> tuple[float, float]: ...
    def weights(self) -> NDArray[np.float64]: ...
    def pool(self) -> NDArray[np.float64]: ...
    def losses(self) -> NDArray[np.float64]: ...
    def calibration(self) -> tuple[float, float, bool]: ...
