import numpy as np
from numpy.typing import NDArray

_Floats = NDArray[np.float64]
_Ints = NDArray[np.int64]
_Measures = tuple[float, float, float, float, float, float, float, float]

def blocking(agents: int, load: float) -> float: ...
def waiting(agents: int, load: float) -> float: ...
def blocking_many(agents: _Ints, load: _Floats, out: _Floats) -> None: ...
def waiting_many(agents: _Ints, load: _Floats, out: _Floats) -> None: ...
def measures(agents: int, rate: float, handle: float, patience: float, within: float) -> _Measures: ...
def measures_many(
    agents: _Ints, rate: _Floats, handle: _Floats, patience: _Floats, within: _Floats, out: _Floats
) -> None: ...
def law_measures(
    kind: int,
    a: _Floats,
    b: _Floats,
    area: _Floats,
    p0: float,
    p1: float,
    mean: float,
    agents: int,
    rate: float,
    handle: float,
    within: float,
) -> _Measures: ...
def minimum_agents(
    rate: float,
    handle: float,
    patience: float,
    service_level: float,
    within: float,
    abandonment: float,
    mean_wait: float,
    limit: int,
) -> int: ...
def limited(agents: int, places: int, load: float) -> tuple[float, float, float, float]: ...
