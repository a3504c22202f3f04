"""Campaigns with a name: what they were told is on disk, and is told to them again after a crash."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from cordboard.errors import ConflictError, CordboardError, InputError, LimitError, StaleEventError, Where
from cordboard.live.notebook import Notebook
from cordboard.v1 import pacing_service_pb2 as pb

CAMPAIGNS_MAX = 100  # that are at work in one tenant
PLANS_KEPT = 100
NOTES_MAX = 5_000_000  # messages that one campaign may be told in all, half a gigabyte or so
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


class Machine(Protocol):
    """What is told messages, and answers some; the same messages give the same answers."""

    def take(self, request: pb.PaceRequest) -> pb.PaceResponse | None: ...


Make = Callable[[pb.PacingPlanConfig], Machine]


class Campaign:
    """One campaign. A message is noted on disk before it is taken; so a plan that was given is given again."""

    def __init__(self, path: Path, config: pb.PacingPlanConfig, make: Make) -> None:
        self._machine = make(config)
        self._config = config
        self._lock = threading.Lock()
        self._plans: OrderedDict[int, pb.PaceResponse] = OrderedDict()
        self._stream = 0
        self.sequence = 0
        self._notebook = Notebook(path, power_cut=True)
        try:
            self._read()
        except BaseException:
            self._notebook.close()
            raise

    def _read(self) -> None:
        notes = self._notebook.read()
        begun = next(notes, None)
        if begun is None:
            self._notebook.add(self._config.SerializeToString(deterministic=True))
            return
        self.check(pb.PacingPlanConfig.FromString(begun))
        for note in notes:
            try:
                self._take(pb.PaceRequest.FromString(note))
            except CordboardError:  # it was refused then, and is now
                continue

    def check(self, config: pb.PacingPlanConfig) -> None:
        """ConflictError if this is not the configuration that it was begun with."""
        if config != self._config:
            raise ConflictError("the campaign was begun with another configuration", "Begin one of another name")

    def take_over(self) -> int:
        """A new stream has it; the older one is told so when it says something."""
        with self._lock:
            self._stream += 1
            return self._stream

    def tell(self, stream: int, request: pb.PaceRequest) -> pb.PaceResponse | None:
        """Take a message of a stream; the plan that it asks for, if it does."""
        with self._lock:
            if stream != self._stream:
                raise ConflictError("another stream has opened the campaign", "Close the one that is not used")
            if not 0 < request.sequence <= self.sequence + 1:
                what = f"message {request.sequence} after {self.sequence}"
                raise InputError(what, Where(key="sequence"), "Number them 1, 2, 3, ... in all streams of the campaign")
            if request.sequence == self.sequence + 1:
                if self._notebook.count >= NOTES_MAX:
                    raise LimitError("the campaign was told too much", NOTES_MAX, "Go on with one of another name")
                self._notebook.add(request.SerializeToString())
                return self._take(request)
            if not request.HasField("question"):
                return None
            plan = self._plans.get(request.sequence)
            if plan is None:
                raise StaleEventError("that plan is not kept any more", Where(key="sequence"), "Ask for a new one")
            return plan

    def _take(self, request: pb.PaceRequest) -> pb.PaceResponse | None:
        self.sequence = request.sequence
        plan = self._machine.take(request)
        if plan is not None:
            plan.sequence = request.sequence
            self._plans[request.sequence] = plan
            if len(self._plans) > PLANS_KEPT:
                self._plans.popitem(last=False)
        return plan

    def close(self) -> None:
        with self._lock:
            self._notebook.close()


class Campaigns:
    """The campaigns of one tenant, in a folder: a file each, which whoever wants a campaign forgotten deletes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._held: dict[str, Campaign] = {}

    def get(self, name: str, config: pb.PacingPlanConfig, make: Make) -> Campaign:
        """A campaign by its name, begun or gone on with. ConflictError for another configuration than it began with."""
        with self._lock:
            found = self._held.get(name)
            if found is not None:
                found.check(config)
                return found
            if not _NAME.fullmatch(name):
                hint = "Use letters, digits, '_', '-' and '.', 63 at most, a letter or digit first"
                raise InputError(f"{name[:80]!r} can't be a name of a campaign", Where(key="open.campaign"), hint)
            if len(self._held) >= CAMPAIGNS_MAX:
                raise LimitError("too many campaigns are at work", CAMPAIGNS_MAX, "Use fewer")
            self._held[name] = Campaign(self._folder / f"{name}.db", config, make)
            return self._held[name]

    def close(self) -> None:
        with self._lock:
            for campaign in self._held.values():
                campaign.close()
            self._held.clear()
