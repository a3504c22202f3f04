import numpy as np
import numpy.typing as npt

_Ints = npt.NDArray[np.int32]
_Doubles = npt.NDArray[np.float64]

def draw(
    kinds: _Ints, counts: _Ints, parameters: _Doubles, offsets: _Ints, tables: _Doubles, law: int, n: int, seed: int
) -> _Doubles: ...
