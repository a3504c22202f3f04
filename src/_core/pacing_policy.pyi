from typing import Any

class Policy:
    """A policy that never dials; real ones override its methods at C level."""

class PythonPolicy(Policy):
    """Lets a Python object with ``agent``, ``call``, ``decide`` (and ``beat``) pace the world."""

    def __init__(self, policy: Any) -> None: ...
