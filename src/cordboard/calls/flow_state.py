"""What is known of a call in a flow, as plain data that can be dumped and loaded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class FlowState:
    """``step``: where it is; ``values``: what was collected and looked up; ``typed``: keys of the present step, ``?``
    for secret ones. ``says``: what is played to the caller now, ``said`` counts, which makes its token. ``due``: when
    something is to be done if nothing happens before, seconds.

    ``waits``: the caller is in the queue of the present step, ``since`` then. ``position``, ``minutes``: the least that
    the caller was told; ``promised``: by when the wait would be over. ``fields``: of the contact, for the next one that
    takes its place; ``talked``: contact, agent and queue of the last conversation. ``back``: the call-back that was
    agreed."""

    flow: str
    step: str
    language: str
    values: dict[str, str] = field(default_factory=dict)
    typed: str = ""
    tries: int = 0
    says: tuple[str, ...] = ()
    said: int = 0
    due: float | None = None
    waits: bool = False
    since: float = 0.0
    position: int = 0
    minutes: int = 0
    promised: float = 0.0
    fields: dict[str, Any] = field(default_factory=dict)
    talked: dict[str, str] = field(default_factory=dict)
    back: Back | None = None

    @classmethod
    def of(cls, record: dict[str, Any]) -> FlowState:
        """The state of such a record."""
        state = cls(**record)
        state.says = tuple(state.says)
        state.back = None if record["back"] is None else Back(**record["back"])
        return state


@dataclass(slots=True)
class Back:
    """A call-back. ``since``: when the caller began to wait, which is the place that is kept; ``asked``: when it was
    asked for; ``tries``: so often the number was dialed."""

    number: str
    since: float
    asked: float
    tries: int = 0
