from typing import Any

import numpy as np
import numpy.typing as npt

from cordboard._core.pacing_policy import Policy

COLUMN_NAMES: tuple[str, ...]

class DialWorld:
    """The simulation itself; use :func:`cordboard.pacing.world.run`."""

    trace: list[tuple[float, int, int, int, int]]
    def __init__(self, policy: Policy, world: dict[str, Any], seed: int) -> None: ...
    def run(self) -> npt.NDArray[np.float64]: ...
