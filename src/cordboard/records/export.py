"""One row a contact: what became of it, how long it waited, who had it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any

from cordboard.records.database import Records

Stored = Mapping[str, Any]
COLUMNS = (
    "revision", "contact", "customer", "queue", "last_queue", "priority", "queued_at", "arrived_at", "outcome", "agent",
    "answered_at", "ended_at", "wait_s", "talk_s", "wrap_up_s", "queues", "offers", "missed", "ended_revision",
)  # fmt: skip


def contact_rows(records: Records) -> Iterator[dict[str, Any]]:
    """A dict of ``COLUMNS`` for every contact, in the order in which they arrived.

    ``wait_s``: seconds from entering the first queue to the answer or the end, as the speed of answer is counted;
    ``talk_s`` and ``wrap_up_s``: of the agent's leg; each only of what is over. ``outcome`` is ``open`` until then.
    """
    legs = groupby(records.rows("legs"), lambda leg: leg["contact_revision"])
    outcomes = records.rows("outcomes")
    outcome = next(outcomes, None)
    for contact in records.rows("contacts"):
        _, its_legs = next(legs)
        if outcome is not None and outcome["contact_revision"] == contact["revision"]:
            yield _row(contact, list(its_legs), outcome)
            outcome = next(outcomes, None)
        else:
            yield _row(contact, list(its_legs), None)


def _row(contact: Stored, legs: list[Stored], outcome: Stored | None) -> dict[str, Any]:
    waits = [leg for leg in legs if leg["agent"] is None]
    talk = next((leg for leg in legs if leg["agent"] is not None), None)
    last = waits[-1]
    wrap_up = talk is not None and talk["wrap_up_ended_at"] is not None
    return {
        **{key: contact[key] for key in ("revision", "contact", "customer", "queue")},
        "last_queue": last["queue"],
        **{key: contact[key] for key in ("priority", "queued_at", "arrived_at")},
        "outcome": "open" if outcome is None else outcome["outcome"],
        "agent": None if talk is None else talk["agent"],
        "answered_at": None if talk is None else talk["began_at"],
        "ended_at": contact["ended_at"],
        "wait_s": _seconds(contact["arrived_at"], last["ended_at"]),
        "talk_s": None if talk is None else _seconds(talk["began_at"], talk["ended_at"]),
        "wrap_up_s": _seconds(talk["ended_at"], talk["wrap_up_ended_at"]) if talk is not None and wrap_up else None,
        "queues": len(waits),
        "offers": None if outcome is None else outcome["offers"],
        "missed": None if outcome is None else outcome["missed"],
        "ended_revision": contact["ended_revision"],
    }


def _seconds(began: float, ended: float | None) -> float | None:
    return None if ended is None else round(ended - began, 6)


def json_lines(records: Records) -> Iterator[str]:
    """A JSON object a contact."""
    for row in contact_rows(records):
        yield json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n"


def csv_lines(records: Records) -> Iterator[str]:
    """CSV as RFC 4180 has it, with a header; what is not known is empty.

    A text that a spreadsheet would take for a formula gets an apostrophe in front.
    """
    line = io.StringIO(newline="")
    writer = csv.writer(line)
    writer.writerow(COLUMNS)
    for row in contact_rows(records):
        writer.writerow([_harmless(row[column]) for column in COLUMNS])
        yield line.getvalue()
        line.seek(0)
        line.truncate()
    yield line.getvalue()


def _harmless(value: Any) -> Any:
    return "'" + value if isinstance(value, str) and value[0] in "=+-@\t\r" else value
