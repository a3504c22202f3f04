"""Queues as messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cordboard.center import Queue
from cordboard.services import names
from cordboard.services.translate import duration
from cordboard.v1 import queue_service_pb2 as pb


def queue_message(tenant: str, queue: Queue, state: Mapping[str, Any]) -> pb.Queue:
    """A queue as a message. ``state``: of Acd.queue_state."""
    return pb.Queue(
        name=names.resource(tenant, "queues", queue.name),
        channel=queue.channel,
        strategy=queue.strategy,
        waiting_count=state["waiting"],
        offered_count=state["offered"],
        connected_count=state["connected"],
        longest_wait=duration(state["longest_wait"]),
        target_share=queue.target_share,
        target_within=duration(queue.target_within),
    )
