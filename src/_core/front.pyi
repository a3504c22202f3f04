from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from cordboard._core.acd import Router

class Front:
    agents: dict[str, int]
    queues: dict[str, int]
    slots: dict[str, int]
    names: list[str | None]
    gone: OrderedDict[str, None]
    arriving: str
    brought: dict[int, tuple[Any, int]]
    def __init__(
        self,
        router: Router,
        agents: dict[str, int],
        queues: dict[str, int],
        agent_names: tuple[str, ...],
        queue_names: tuple[str, ...],
        keys: tuple[tuple[str, str], ...],
        order: tuple[str, str],
        leaves: Callable[[Any, int], None],
    ) -> None: ...
    def apply(self, event: dict[str, Any]) -> list[dict[str, Any]] | None: ...
    def entered(self, name: str, slot: int) -> None: ...
    def fill(self, names: list[str], slots: list[int]) -> None: ...
    def name(self, slot: int) -> str | int: ...
    def take_fired(self) -> list[dict[str, Any]]: ...
    def effects(self) -> list[dict[str, Any]]: ...
    def forget(self) -> None: ...
