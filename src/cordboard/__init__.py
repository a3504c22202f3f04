"""cordboard: a contact-center engine.

The names below are loaded when they are first used, so that ``import cordboard`` stays quick and needs NumPy alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# name -> the module that defines it
_HOMES: dict[str, str] = {
    "Acd": "cordboard.acd",
    "CordboardError": "cordboard.errors",
    "simulate": "cordboard.simulation",
    "Center": "cordboard.center",
    "load_center": "cordboard.center",
    "parse_center": "cordboard.center",
    "AnswerModel": "cordboard.learning.model",
    "Pacer": "cordboard.pacing.pacer",
    "PacerGroup": "cordboard.pacing.group",
    "Blend": "cordboard.pacing.blend",
}

# modules that are used by their own name: cordboard.queueing.erlang_c(...)
_MODULES = ("client", "errors", "kpi", "learning", "pacing", "queueing", "simulation", "staffing")

__all__ = ["__version__", *_HOMES]

if TYPE_CHECKING:
    from cordboard.acd import Acd as Acd
    from cordboard.center import Center as Center
    from cordboard.center import load_center as load_center
    from cordboard.center import parse_center as parse_center
    from cordboard.errors import CordboardError as CordboardError
    from cordboard.learning.model import AnswerModel as AnswerModel
    from cordboard.pacing.blend import Blend as Blend
    from cordboard.pacing.group import PacerGroup as PacerGroup
    from cordboard.pacing.pacer import Pacer as Pacer
    from cordboard.simulation import simulate as simulate


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"cordboard.{name}")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'cordboard' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
