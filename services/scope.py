"""What contacts belong to, for callers whose scope is not the whole of their tenant."""

from __future__ import annotations

from collections.abc import Iterable

from cordboard.acd import Acd
from cordboard.errors import CordboardError


def queues_of(acd: Acd, contacts: Iterable[str]) -> dict[str, str]:
    """The queues of those contacts that are in the center."""
    found = {}
    for contact in contacts:
        try:
            found[contact] = acd.queue_of(contact)
        except CordboardError:  # it has gone
            continue
    return found
