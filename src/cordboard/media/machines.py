"""The model of answering machines: how probable one is, from the timing of what is heard (``_core/listening.h``).

The file beside this module was trained on synthetic speech by ``python -m benchmarks.study_machines --write``, which
says how good it is. It is a model file as the registry has them, checked before it is believed, with trees alone.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordboard._core import listening
from cordboard._core.trees import Trees
from cordboard.errors import ModelFileError, Where
from cordboard.learning.registry import file_parts, pack

KIND = "answering machines"
FILE = Path(__file__).with_name("machines.model")


def to_bytes(trees: Mapping[str, NDArray[Any]], notes: Mapping[str, Any]) -> bytes:
    """The arrays of an ensemble over ``listening.FEATURES`` as the bytes of a model file."""
    return pack({"kind": KIND, "features": list(listening.FEATURES), "notes": dict(notes)}, trees)


def from_bytes(data: bytes, file: str) -> Trees:
    """The ensemble in the bytes of a file. ModelFileError if it is damaged, or of something else."""
    header, arrays = file_parts(data, file)
    if header.get("kind") != KIND or header.get("features") != list(listening.FEATURES):
        what = "the model file is not of answering machines, or of other features"
        raise ModelFileError(what, Where(file), "Train it again.")
    try:
        return Trees({name: array.astype(array.dtype.newbyteorder("=")) for name, array in arrays.items()})
    except ValueError as error:
        raise ModelFileError(f"the model file holds no usable model: {error}", Where(file), "Train it again.") from None


@functools.cache
def model() -> Trees:
    """The model that comes with cordboard."""
    return from_bytes(FILE.read_bytes(), str(FILE))


def scaled(trees: Mapping[str, NDArray[Any]], slope: float, offset: float) -> dict[str, NDArray[Any]]:
    """The same ensemble with log-odds * slope + offset: a calibration (Platt's), made part of the leaves."""
    found = dict(trees)
    shift, baseline = trees["scalars"]
    found["leaves"] = np.rint(trees["leaves"] * slope).astype(np.int64)
    found["value"] = trees["value"] * slope
    found["scalars"] = np.array([shift, baseline * slope + offset])
    return found
