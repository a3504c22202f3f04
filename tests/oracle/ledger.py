"""A ledger kept from events and effects alone, which holds the rules that must be true at every instant.

A contact is in exactly one place; an agent never holds more than its capacity; a contact that ends is accounted for
once: entered = waiting + offered + connected + ended.
"""

from __future__ import annotations

from typing import Any

from cordboard.center import Center


class Ledger:
    def __init__(self, center: Center) -> None:
        self.channel = {queue.name: queue.channel for queue in center.queues}
        self.agents = {agent.name: agent for agent in center.agents}
        self.queue: dict[str, str] = {}  # contact -> queue, for all that are inside
        self.rings: dict[str, set[str]] = {}  # contact -> agents that it is offered to
        self.talks: dict[str, str] = {}  # contact -> agent
        self.entered = 0
        self.ended = 0

    def take(self, event: dict[str, Any] | None, effects: list[dict[str, Any]]) -> None:
        """Book one event (None: none) and then its effects, and look at the whole."""
        if event is not None:
            self._event(event)
        for effect in effects:
            self._effect(effect)
        self._check()

    def _event(self, event: dict[str, Any]) -> None:
        kind, contact = event["event"], event.get("contact", "")
        if kind == "contact_queued":
            assert contact not in self.queue
            self.queue[contact] = event["queue"]
            self.rings[contact] = set()
            self.entered += 1
        elif kind == "contact_left":
            assert contact not in self.talks
            # its open offers are withdrawn by effects, which come now
            self.queue[contact] = ""
            self.ended += 1
        elif kind == "offer_accepted":
            assert contact not in self.talks
            self.rings[contact].remove(event["agent"])
            self.talks[contact] = event["agent"]
        elif kind == "offer_declined":
            self.rings[contact].remove(event["agent"])
        elif kind == "contact_ended":
            del self.talks[contact], self.queue[contact], self.rings[contact]
            self.ended += 1

    def _effect(self, effect: dict[str, Any]) -> None:
        kind, contact = effect["effect"], effect.get("contact", "")
        if kind == "offer":
            assert contact not in self.talks and self.queue[contact]
            assert effect["agent"] not in self.rings[contact]
            self.rings[contact].add(effect["agent"])
        elif kind in ("offer_withdrawn", "offer_expired"):
            self.rings[contact].remove(effect["agent"])
        elif kind == "contact_rejected":
            self._out(contact)
        elif kind == "contact_expired":
            assert contact not in self.talks and not self.rings[contact]
            if effect["to"] is None:
                self._out(contact)
            else:
                self.queue[contact] = effect["to"]

    def _out(self, contact: str) -> None:
        assert not self.rings.pop(contact)
        del self.queue[contact]
        self.ended += 1

    def _check(self) -> None:
        for contact in [name for name, queue in self.queue.items() if not queue]:
            assert not self.rings.pop(contact), f"{contact} left, and still rings"
            del self.queue[contact]
        assert all(not self.rings[contact] for contact in self.talks), "connected, and still rings elsewhere"
        assert self.entered == len(self.queue) + self.ended
        held: dict[str, dict[str, int]] = {}
        pairs = [*self.talks.items(), *((c, a) for c, ring in self.rings.items() for a in sorted(ring))]
        for contact, agent in pairs:
            channel = self.channel[self.queue[contact]]
            held.setdefault(agent, {}).setdefault(channel, 0)
            held[agent][channel] += 1
        for agent, load in held.items():
            capacity = self.agents[agent].capacity
            assert all(count <= capacity.get(channel, 0) for channel, count in load.items()), (agent, load)
            assert self.agents[agent].blend or len(load) == 1, (agent, load)

    @property
    def waiting(self) -> int:
        return len(self.queue) - len(self.talks) - self.offered

    @property
    def offered(self) -> int:
        return sum(bool(ring) for ring in self.rings.values())
