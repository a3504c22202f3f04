"""What contacts bring to an :class:`~cordboard.acd.Acd`: requirements of their own, and who they are.

Both are kept once, however many contacts bring them, and for as long as they are needed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from cordboard._core.acd import Router

_KEYS = ("requires", "steps", "min_tier", "max_tier", "tier_rules", "values")
_NONE: Mapping[str, Any] = {}


class Wish:
    """Fields of contact_queued that decide who may get a contact. ``ids`` are the router's, ``count`` its contacts."""

    __slots__ = ("count", "fields", "ids", "key")

    def __init__(self, key: str, fields: dict[str, Any], ids: tuple[int, int, int]) -> None:
        self.key, self.fields, self.ids, self.count = key, fields, ids, 0


class Wishes:
    """The wishes of the contacts in the center."""

    def __init__(self, router: Router, agents: Mapping[str, int]) -> None:
        self._router, self._agents = router, agents
        self._known: dict[str, Wish] = {}
        self.of: dict[int, Wish] = {}  # slot -> what it asked for

    def find(self, event: Mapping[str, Any]) -> Wish | None:
        """What this contact_queued asks for, new or known; None for nothing special."""
        fields = {key: event[key] for key in _KEYS if key in event}
        if not fields:
            return None
        key = repr(fields)
        wish = self._known.get(key)
        if wish is None:
            wish = self._known[key] = Wish(key, fields, self._router.wish(*self._parts(fields)))
        return wish

    def enters(self, slot: int, wish: Wish) -> None:
        self.of[slot] = wish
        wish.count += 1

    def leaves(self, slot: int) -> None:
        wish = self.of.pop(slot, None)
        if wish is not None:
            wish.count -= 1
            self.release(wish)

    def release(self, wish: Wish) -> None:
        """Forget it, unless a contact has it."""
        if wish.count == 0:
            del self._known[wish.key]
            self._router.unwish(wish.ids)

    def fields(self, slot: int) -> Mapping[str, Any]:
        wish = self.of.get(slot)
        return _NONE if wish is None else wish.fields

    def _parts(self, fields: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """Steps, tiers and values as the router wants them. Agents that the center no longer has get no value."""
        steps, requires = fields.get("steps"), fields.get("requires")
        plan: Any = None
        if steps is not None:
            plan = [(step.get("for"), step.get("requires", {})) for step in steps]
        elif requires is not None:
            plan = [(None, requires)]
        tiers = None
        if "min_tier" in fields or "max_tier" in fields or "tier_rules" in fields:
            rules = [(r["after"], r.get("min_tier"), r.get("max_tier")) for r in fields.get("tier_rules", ())]
            tiers = (fields.get("min_tier"), fields.get("max_tier"), rules)
        values = fields.get("values")
        if values is not None:
            values = {self._agents[agent]: value for agent, value in values.items() if agent in self._agents}
        return plan, tiers, values


class Customers:
    """Numbers for customers, so that the router can remember who served them last. Bounded: of those without a contact
    in the center, the one seen longest ago is forgotten first."""

    def __init__(self, router: Router, limit: int) -> None:
        self._router, self.limit = router, limit
        self._numbers: dict[str, int] = {}
        self._here: dict[str, int] = {}  # customer -> contacts in the center
        self._away: OrderedDict[str, None] = OrderedDict()  # the others, the one seen longest ago first
        self._of: dict[int, str] = {}  # slot -> customer
        self._free: list[int] = []

    def __len__(self) -> int:
        return len(self._numbers)

    def index(self, customer: str | None) -> int:
        if customer is None:
            return -1
        number = self._numbers.get(customer)
        if number is None:
            while len(self._numbers) >= self.limit and self._away:
                self._forget_one()
            number = self._free.pop() if self._free else len(self._numbers)
            self._numbers[customer] = number
            self._router.customers(_power_of_two_above(number))
        if customer not in self._here:
            self._away[customer] = None
            self._away.move_to_end(customer)
        return number

    def enters(self, slot: int, customer: str | None) -> None:
        if customer is not None:
            self._of[slot] = customer
            self._here[customer] = self._here.get(customer, 0) + 1
            self._away.pop(customer, None)

    def leaves(self, slot: int) -> None:
        customer = self._of.pop(slot, None)
        if customer is not None:
            self._here[customer] -= 1
            if self._here[customer] == 0:
                del self._here[customer]
                self._away[customer] = None

    def listed(self, slots: Iterable[int]) -> tuple[list[str], npt.NDArray[np.int32]]:
        """Everyone remembered, and their numbers: those of the contacts in these slots, and before them the others, the
        one seen longest ago first."""
        of = self._of
        names = [*self._away, *dict.fromkeys(of[slot] for slot in slots if slot in of)]
        return names, np.array([self._numbers[name] for name in names], dtype=np.int32)

    def restore(self, names: Iterable[str], of: Mapping[int, str]) -> None:
        """``names`` as of :meth:`listed`, numbered anew from 0 on; ``of``: slot -> customer."""
        self._numbers = {name: number for number, name in enumerate(names)}
        self._away = OrderedDict.fromkeys(self._numbers)
        if self._numbers:
            self._router.customers(_power_of_two_above(len(self._numbers) - 1))
        for slot, customer in of.items():
            self.enters(slot, customer)

    def _forget_one(self) -> None:
        customer, _ = self._away.popitem(last=False)
        number = self._numbers.pop(customer)
        self._router.forget_customer(number)
        self._free.append(number)


def _power_of_two_above(number: int) -> int:
    return 1 << max(int(number).bit_length(), 6)
