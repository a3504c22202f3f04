"""How the interpreter of a process is set in which a live engine answers many."""

from __future__ import annotations

import gc
import sys

SWITCH_S = 0.001  # after a sync of the journal the writer waits so long at most for the interpreter's lock
GARBAGE = (1_000, 3, 500)  # objects until the young are searched for garbage, such searches until the next age is


def tune() -> None:
    """Set it, once everything is loaded and opened. What there is by now is never searched for garbage again; what
    comes after it seldom as a whole, since everybody waits for that: the last entries alone take tens of
    milliseconds."""
    sys.setswitchinterval(SWITCH_S)
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE)
