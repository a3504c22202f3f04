"""What contacts bring to an :class:`~cordboard.acd.Acd`: requirements of their own, and who they are.

Both are kept once, however many contacts bring them, and for as long as they are needed; wishes as text, because a
dict takes ten times as much memory and is looked at only where somebody asks why.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from cordboard._core.acd import Router, Wish

_KEYS = ("requires", "steps", "min_tier", "max_tier", "tier_rules", "values")
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_decode = json.JSONDecoder().raw_decode


def fields_of(text: str) -> dict[str, Any]:
    """The JSON of a wish, as it was written: without a space before or after it."""
    fields: dict[str, Any]
    fields, end = _decode(text)
    if end != len(text):
        raise ValueError(f"more than a wish at character {end}")
    return fields


class Wishes:
    """The wishes of the contacts in the center."""

    def __init__(self, router: Router, agents: dict[str, int]) -> None:
        self._router, self._agents = router, agents
        self._known: dict[str, Wish] = {}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, event: Mapping[str, Any]) -> Wish | None:
        """What this contact_queued asks for, new or known; None for nothing special."""
        fields = {key: event[key] for key in _KEYS if key in event}
        if not fields:
            return None
        text = _encode(fields)
        wish = self._known.get(text)
        if wish is None:
            wish = self._known[text] = self._new(text, fields)
        return wish

    def load(self, texts: list[str]) -> list[Wish]:
        """Wishes of a dump, no two alike. KeyError, TypeError, ValueError or AttributeError if one is none."""
        plain = self._router.plain_wishes(texts, self._agents)
        found = [
            self._new(text, fields_of(text)) if wish is None else wish for wish, text in zip(plain, texts, strict=True)
        ]
        self._known.update(zip(texts, found, strict=True))
        return found

    def _new(self, text: str, fields: Mapping[str, Any]) -> Wish:
        steps, tiers, values = self._parts(fields)
        return Wish(text, self._router.wish(steps, tiers, values, self._agents))

    def release(self, wish: Wish, contacts: int = 0) -> None:
        """So many contacts less have it. Without any it is forgotten."""
        wish.count -= contacts
        if wish.count == 0:
            del self._known[wish.text]
            self._router.unwish(wish.ids)

    def _parts(self, fields: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """Steps, tiers and values as the router wants them."""
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
        return plan, tiers, fields.get("values")


class Customers:
    """Numbers for customers, so that the router can remember who served them last. Bounded: of those without a contact
    in the center, the one seen longest ago is forgotten first."""

    def __init__(self, router: Router, limit: int) -> None:
        self._router, self.limit = router, limit
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []  # by number
        self._here: list[int] = []  # by number: contacts in the center
        self._away: OrderedDict[int, None] = OrderedDict()  # those without, the one seen longest ago first
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
            number = self._numbers[customer] = self._new(customer)
        if self._here[number] == 0:
            self._away[number] = None
            self._away.move_to_end(number)
        return number

    def _new(self, customer: str) -> int:
        if self._free:
            number = self._free.pop()
            self._names[number] = customer
            return number
        self._names.append(customer)
        self._here.append(0)
        number = len(self._names) - 1
        self._router.customers(_power_of_two_above(number))
        return number

    def enters(self, number: int) -> None:
        if number >= 0:
            self._here[number] += 1
            self._away.pop(number, None)

    def leaves(self, number: int) -> None:
        if number >= 0:
            self._here[number] -= 1
            if self._here[number] == 0:
                self._away[number] = None

    def names(self) -> list[str]:
        """By number; some are nobody's."""
        return self._names.copy()

    def away(self) -> list[int]:
        """The numbers of those who are remembered without a contact, the one seen longest ago first."""
        return list(self._away)

    def restore(self, names: list[str], here: list[int]) -> None:
        """``names``: the one seen longest ago first, numbered anew from 0 on; ``here``: how many contacts each has."""
        self._numbers = {name: number for number, name in enumerate(names)}
        self._names, self._here = list(names), list(here)
        self._away = OrderedDict.fromkeys(number for number, count in enumerate(here) if count == 0)
        if names:
            self._router.customers(_power_of_two_above(len(names) - 1))

    def _forget_one(self) -> None:
        number, _ = self._away.popitem(last=False)
        del self._numbers[self._names[number]]
        self._router.forget_customer(number)
        self._free.append(number)


def _power_of_two_above(number: int) -> int:
    return 1 << max(int(number).bit_length(), 6)
