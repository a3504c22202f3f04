"""Calls: what connects contacts, queues and agents with legs and their audio."""

from cordboard.calls.config import Calls, load_calls, parse_calls
from cordboard.calls.switchboard import Switchboard

__all__ = ["Calls", "Switchboard", "load_calls", "parse_calls"]
