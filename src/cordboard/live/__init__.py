"""The live engine: one writer, a durable journal, and who may do what. No gRPC in here."""

from cordboard.live.engine import Engine as Engine
from cordboard.live.entry import EngineState as EngineState
from cordboard.live.entry import Entry as Entry
from cordboard.live.entry import Outcome as Outcome
from cordboard.live.hub import Subscription as Subscription
from cordboard.live.settings import Settings as Settings

__all__ = ["Engine", "EngineState", "Entry", "Outcome", "Settings", "Subscription"]
