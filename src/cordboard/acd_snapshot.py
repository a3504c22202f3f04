"""The state of an :class:`~cordboard.acd.Acd` as bytes, and back: what ``Acd.dump`` and ``Acd.load`` do.

A dump is logical. It holds what can't be worked out (agents, contacts, open offers, who refused whom, idle times,
counts, the state of the random numbers) and not what follows from it (heaps, classes, timers), so it does not depend on
the build that wrote it, and a dump of a loaded dump is the same bytes. Its parts, all little-endian:

====================  ==========================================================================================
``MAGIC``, ``HEAD``    what it is, its version, length and CRC-32 of the rest
JSON                   names of agents and queues, clock, and the length of each part below
rows                   agents, contacts (in the order in which they came), who holds whom, sets of excluded agents
text                   names of contacts, of contacts that are gone, of customers, and what contacts ask for: lines
waits                  what the estimated waits have learned, if they are on
====================  ==========================================================================================
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from cordboard._core.acd import AGENT_ROW, CONTACT_ROW, LINK_ROW
from cordboard.center import Center
from cordboard.errors import SnapshotError

MAGIC = b"cordboard.acd\r\n\x00"
VERSION = 1
HEAD = struct.Struct("<16sIIQ")  # magic, version, CRC-32 and length of what follows
WAITING, OFFERED, CONNECTED = 1, 2, 3
TICKS_MAX = 1 << 53

Rows = npt.NDArray[Any]
_NUMBERS = np.dtype("<i4")
_ROWS: dict[str, np.dtype[Any]] = {
    "agents": AGENT_ROW.newbyteorder("<"),
    "contacts": CONTACT_ROW.newbyteorder("<"),
    "links": LINK_ROW.newbyteorder("<"),
    "set_sizes": _NUMBERS,  # of the sets of excluded agents; the first one is empty
    "set_members": _NUMBERS,
    "served_last": _NUMBERS,  # customer -> agent
    "offered_last": _NUMBERS,  # queue -> agent
}
_TEXTS = ("names", "gone", "customers", "wishes")


@dataclass(slots=True)
class Snapshot:
    """The parts of a dump. Rows name agents, queues, sets, wishes and customers by their place in these lists."""

    center: str  # digest: see center_digest
    clock: tuple[int, ...]  # now, seq, entered, ended, four words of random numbers
    agents: list[str]
    queues: list[dict[str, Any]]  # name, channel, wrap_up, overflow
    rows: dict[str, Rows]
    texts: dict[str, list[str]] = field(default_factory=dict)
    waits: dict[str, Any] | None = None
    waits_data: bytes = b""


def center_digest(center: Center) -> str:
    """The same for two centers only if they route alike."""
    return hashlib.sha256(repr(replace(center, warnings=())).encode("utf-8", "surrogatepass")).hexdigest()


# ---- bytes


def encode(snapshot: Snapshot) -> bytes:
    arrays = {key: np.ascontiguousarray(snapshot.rows[key], dtype=dtype) for key, dtype in _ROWS.items()}
    texts = {key: "\n".join(snapshot.texts[key]).encode() for key in _TEXTS}
    meta = {
        "center": snapshot.center,
        "clock": list(snapshot.clock),
        "agents": snapshot.agents,
        "queues": snapshot.queues,
        "rows": {key: len(array) for key, array in arrays.items()},
        "texts": {key: [len(snapshot.texts[key]), len(text)] for key, text in texts.items()},
        "waits": snapshot.waits,
        "waits_bytes": len(snapshot.waits_data),
    }
    told = json.dumps(meta, separators=(",", ":")).encode()
    parts = [len(told).to_bytes(8, "little"), told, *(array.tobytes() for array in arrays.values()), *texts.values()]
    body = b"".join([*parts, snapshot.waits_data])
    return HEAD.pack(MAGIC, VERSION, zlib.crc32(body), len(body)) + body


def decode(dump: bytes) -> Snapshot:
    """Raises SnapshotError for anything that :func:`encode` did not make."""
    view = memoryview(dump)
    if len(view) < HEAD.size:
        raise SnapshotError(f"{len(view)} bytes are no dump of an engine", hint="Is the file complete?")
    magic, version, crc, length = HEAD.unpack_from(view)
    if magic.rstrip(b"\0") != MAGIC.rstrip(b"\0"):
        raise SnapshotError("this is not a dump of an engine", hint="Acd.dump makes one")
    if version != VERSION:
        what = f"the dump has version {version}, this is cordboard for version {VERSION}"
        raise SnapshotError(what, hint="Replay the journal from its beginning, or use the version that wrote it")
    body = view[HEAD.size :]
    if len(body) != length:
        raise SnapshotError(f"the dump has {len(body)} bytes of {length}", hint="It was cut off: take an earlier one")
    if zlib.crc32(body) != crc:
        raise SnapshotError("the dump is damaged: its checksum is wrong", hint="Take an earlier one")
    try:
        snapshot = _parts(body)
    except (KeyError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _damaged(f"{type(error).__name__}: {error}") from error
    _check(snapshot)
    return snapshot


def _damaged(what: str) -> SnapshotError:
    return SnapshotError(f"the dump does not make sense: {what}", hint="Take an earlier one")


def _parts(body: memoryview) -> Snapshot:
    at = 8 + int.from_bytes(body[:8], "little")
    meta = json.loads(bytes(body[8:at]))
    rows: dict[str, Rows] = {}
    for key, dtype in _ROWS.items():
        count = int(meta["rows"][key])
        # native and a copy: the rows are changed where the center has changed
        rows[key] = np.frombuffer(body, dtype=dtype, count=count, offset=at).astype(dtype.newbyteorder("="))
        at += count * dtype.itemsize
    texts = {}
    for key in _TEXTS:
        count, size = meta["texts"][key]
        lines = str(body[at : at + size], "utf-8").split("\n") if count else []
        if len(lines) != count or size < 0:
            raise ValueError(f"{len(lines)} {key} of {count}")
        texts[key] = lines
        at += size
    waits = bytes(body[at : at + int(meta["waits_bytes"])])
    if at + len(waits) != len(body):
        raise ValueError("the lengths of the parts don't add up")
    clock = tuple(int(number) for number in meta["clock"])
    agents = [str(name) for name in meta["agents"]]
    queues = [{key: queue[key] for key in ("name", "channel", "wrap_up", "overflow")} for queue in meta["queues"]]
    return Snapshot(meta["center"], clock, agents, queues, rows, texts, meta["waits"], waits)


# ---- sense: what the core relies on


def _check(snapshot: Snapshot) -> None:
    """A dump that was made by somebody else must not be able to break the engine."""
    rows, clock = snapshot.rows, snapshot.clock
    if len(clock) != 8 or not all(0 <= n < 1 << 64 for n in clock) or clock[0] > TICKS_MAX or clock[1] >= 1 << 40:
        raise _damaged("its clock")
    for names, what in (
        (snapshot.agents, "agents"),
        ([queue["name"] for queue in snapshot.queues], "queues"),
        (snapshot.texts["customers"], "customers"),
        (snapshot.texts["wishes"], "wishes"),
    ):
        if len(set(names)) != len(names):
            raise _damaged(f"two {what} of one name")
    if len(rows["agents"]) != len(snapshot.agents) or len(rows["offered_last"]) > len(snapshot.queues):
        raise _damaged("the number of its agents or queues")
    if len(rows["served_last"]) != len(snapshot.texts["customers"]):
        raise _damaged("the number of its customers")
    _check_agents(rows["agents"], clock[0])
    _check_sets(rows["set_sizes"], rows["set_members"], len(snapshot.agents))
    _check_contacts(snapshot)
    _check_links(rows["links"], rows["contacts"], len(snapshot.agents), clock[0])
    for key in ("served_last", "offered_last"):
        _within(rows[key], -1, len(snapshot.agents), key)
    if clock[2] != clock[3] + len(rows["contacts"]):
        raise _damaged("contacts that came and contacts that are here or gone")


def _within(values: Rows, low: int, end: int, what: str) -> None:
    if len(values) and not (low <= int(values.min()) and int(values.max()) < end):
        raise _damaged(what)


def _check_agents(agents: Rows, now: int) -> None:
    _within(agents["presence"], 0, 7, "the presence of an agent")  # 4 is added for one who is engaged
    _within(agents["presence"] & 3, 0, 3, "the presence of an agent")
    _within(agents["misses"], 0, 1 << 31, "the missed offers of an agent")
    for key in ("wrap_until", "retry_until"):
        times = agents[key]
        if not ((times == -1) | ((times > now) & (times <= TICKS_MAX))).all():
            raise _damaged(f"{key} of an agent")
    for key in ("idle_since", "since", "busy_from"):
        _within(agents[key], -1, now + 1, f"{key} of an agent")
    for key in ("handled", "logged_in", "busy_before"):
        _within(agents[key], 0, TICKS_MAX, f"{key} of an agent")
    _within(agents["login"], -TICKS_MAX, now + 1, "login of an agent")


def _check_sets(sizes: Rows, members: Rows, agents: int) -> None:
    if len(sizes) == 0 or sizes[0] != 0 or (len(sizes) > 1 and int(sizes[1:].min()) < 1):
        raise _damaged("sets of excluded agents")
    if int(sizes.sum(dtype=np.int64)) != len(members):
        raise _damaged("the members of sets of excluded agents")
    _within(members, 0, agents, "an excluded agent")
    last_of_set = np.cumsum(sizes[1:])[:-1] - 1
    rising = np.diff(members.astype(np.int64)) > 0
    rising[last_of_set] = True
    if not rising.all():
        raise _damaged("the order of excluded agents")


def _check_contacts(snapshot: Snapshot) -> None:
    contacts, now = snapshot.rows["contacts"], snapshot.clock[0]
    if len(contacts) == 0:
        return
    bounds: dict[str, tuple[int, int]] = {
        "id": (-1, 1 << 63),
        "arrival": (0, now + 1),
        "entered": (0, now + 1),
        "seq": (0, snapshot.clock[1]),
        "state": (WAITING, CONNECTED + 1),
        "queue": (0, len(snapshot.queues)),
        "excluded": (0, len(snapshot.rows["set_sizes"])),
        "wish": (-1, len(snapshot.texts["wishes"])),
        "preferred": (-1, len(snapshot.agents)),
        "customer": (-1, len(snapshot.texts["customers"])),
    }
    for key, (low, end) in bounds.items():
        _within(contacts[key], low, end, f"{key} of a contact")
    if not (np.diff(contacts["seq"]) > 0).all():
        raise _damaged("the order of its contacts")
    if not (np.abs(contacts["priority"]) <= 1e12).all():
        raise _damaged("the priority of a contact")
    ids = contacts["id"][contacts["id"] >= 0]
    if len(np.unique(ids)) != len(ids) or len(contacts) - len(ids) != len(snapshot.texts["names"]):
        raise _damaged("names of its contacts")


def _check_links(links: Rows, contacts: Rows, agents: int, now: int) -> None:
    _within(links["contact"], 0, len(contacts), "who is held")
    _within(links["agent"], 0, agents, "who holds a contact")
    _within(links["connected"], 0, 2, "who talks")
    pairs = links["contact"].astype(np.int64) * (agents + 1) + links["agent"]
    if not (np.diff(pairs) > 0).all():
        raise _damaged("the order of who holds whom")
    offers = np.bincount(links["contact"][links["connected"] == 0], minlength=len(contacts))
    talks = np.bincount(links["contact"][links["connected"] == 1], minlength=len(contacts))
    state = contacts["state"]
    right = np.where(state == WAITING, (offers == 0) & (talks == 0), (offers >= 1) & (talks == 0))
    right = np.where(state == CONNECTED, (offers == 0) & (talks == 1), right)
    due = links["due"]
    if not right.all() or not ((due == -1) | ((due > now) & (due <= TICKS_MAX) & (links["connected"] == 0))).all():
        raise _damaged("offers and conversations")


# ---- numbering


def renumbered(values: Rows, to: Rows) -> Rows:
    """Each value replaced by ``to[value]``; -1 stays."""
    padded = np.append(to, -1).astype(np.int32)  # index -1 is the last
    found: Rows = padded[values]
    return found


def numbered_by_first(values: Rows) -> tuple[Rows, list[int]]:
    """Numbers 0, 1, ... in the order of first appearance, and what they stand for."""
    known, first, inverse = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty(len(order), dtype=np.int32)
    rank[order] = np.arange(len(order), dtype=np.int32)
    return rank[inverse], [int(known[i]) for i in order]


def sets_of(sizes: Rows, members: Rows, agent: Callable[[int], int]) -> list[list[int]]:
    """The sets of excluded agents, each member renamed by ``agent`` and left out if that is -1."""
    listed = members.tolist()
    found, at = [], 0
    for size in sizes.tolist():
        found.append(sorted(a for a in map(agent, listed[at : at + size]) if a >= 0))
        at += size
    return found
