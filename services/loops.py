"""The event loop of our processes: uvloop, where it is to be had."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


def run_in_loop(work: Coroutine[Any, Any, T]) -> T:
    """As ``asyncio.run``."""
    with asyncio.Runner(loop_factory=_maker()) as runner:
        return runner.run(work)


def _maker() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """What makes the loop; None: the standard library."""
    try:
        import uvloop
    except ImportError:  # there is none for Windows and PyPy
        return None
    return uvloop.new_event_loop
