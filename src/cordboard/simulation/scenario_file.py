"""Scenarios in TOML: ``load_scenario(path)`` and ``parse_scenario(text)``; the keys are those of
docs/reference/simulation.md."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from cordboard.errors import DataError, InputError, Where
from cordboard.pacing.modes import Limits
from cordboard.pacing.rules import rule
from cordboard.simulation.campaigns import Campaign, LeadGroup, Redial
from cordboard.simulation.laws import Deterministic, Law, Never, parse_law
from cordboard.simulation.scenario import Rates, Retry, Scenario, ServiceBy, Shift, Source, Trace

SCENARIO_BYTES_MAX = 64 * 1024 * 1024

_TOP = {"scenario", "arrivals", "shifts", "campaigns"}
_SCENARIO = {"duration", "warm_up", "drain", "lines", "waiting_places", "max_alive"}
_ARRIVALS = {
    "queue", "name", "per_hour", "rates", "period", "day_scv", "interval_scv", "trace", "service", "service_by",
    "patience", "priority", "requires", "ring", "no_answer", "wrap_up", "retry",
}  # fmt: skip
_SHIFT = {"agents", "work", "period"}
_CAMPAIGN = {
    "queue", "name", "leads", "service", "mode", "target", "rules", "limits", "from", "to", "wrap_up", "connect_within",
    "post_dial", "answer_after", "ring_until", "fails", "fails_after", "machine_missed", "false_positives", "redial",
    "weight", "inbound", "choose",
}  # fmt: skip
_LEADS = {"count", "answer", "machine", "told", "valid"}


def load_scenario(path: str | Path) -> Scenario:
    """Read a scenario file. Raises DataError, with the file, the line where it is known, and the key."""
    path = Path(path)
    try:
        if path.stat().st_size > SCENARIO_BYTES_MAX:
            raise DataError("the file is too large", Where(str(path)), f"At most {SCENARIO_BYTES_MAX} bytes.")
        text = path.read_text("utf-8")
    except OSError as error:
        raise DataError(
            f"can't be read: {error.strerror}", Where(str(path)), "Check the path and the rights."
        ) from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"is not UTF-8 at byte {error.start}", Where(str(path)), "Save the file as UTF-8."
        ) from None
    return parse_scenario(text, str(path))


def parse_scenario(text: str, file: str = "<string>") -> Scenario:
    """The scenario of a TOML text; ``file`` is for messages."""
    try:
        return _Reader(tomllib.loads(text)).scenario()
    except tomllib.TOMLDecodeError as error:
        line = re.search(r"at line (\d+)", str(error))
        raise DataError(
            f"is not TOML: {error}", Where(file, int(line[1]) if line else None), "Correct the syntax."
        ) from None
    except RecursionError:
        raise DataError("brackets are nested too deeply", Where(file), "Take some of them out.") from None
    except InputError as error:  # of the scenario, or of a campaign's rules and limits
        raise DataError(error.what, Where(file, key=error.where.key), error.hint) from None


class _Reader:
    def __init__(self, data: Mapping[str, Any]) -> None:
        self.data = data

    def scenario(self) -> Scenario:
        self._keys(self.data, _TOP, "")
        top = self._table(self.data.get("scenario"), "scenario")
        self._keys(top, _SCENARIO, "scenario")
        if "duration" not in top:
            raise DataError("no duration", Where(key="scenario.duration"), "Give the seconds of arrivals.")
        return Scenario(
            sources=tuple(self._source(t, k) for t, k in self._tables("arrivals")),
            shifts=tuple(self._shift(t, k) for t, k in self._tables("shifts")),
            duration=self._float(top["duration"], "scenario.duration"),
            warm_up=self._float(top.get("warm_up", 0), "scenario.warm_up"),
            drain=self._float(top.get("drain", 86400), "scenario.drain"),
            lines=self._int(top.get("lines", 0), "scenario.lines"),
            waiting_places=self._int(top.get("waiting_places", 0), "scenario.waiting_places"),
            max_alive=self._int(top.get("max_alive", 1_000_000), "scenario.max_alive"),
            campaigns=tuple(self._campaign(t, k) for t, k in self._tables("campaigns")),
        )

    def _source(self, table: Mapping[str, Any], key: str) -> Source:
        self._keys(table, _ARRIVALS, key)
        for wanted in ("queue", "service"):
            if wanted not in table:
                raise DataError(f"no {wanted}", Where(key=f"{key}.{wanted}"), "Every stream of arrivals needs it.")
        return Source(
            queue=self._text(table["queue"], f"{key}.queue"),
            name=self._text(table.get("name", ""), f"{key}.name"),
            arrivals=self._arrivals(table, key),
            service=parse_law(table["service"], Where(key=f"{key}.service")),
            patience=self._law(table, key, "patience", Never()),
            ring=self._law(table, key, "ring", Deterministic(0.0)),
            wrap_up=self._law(table, key, "wrap_up", Never()) if "wrap_up" in table else None,
            priority=self._int(table.get("priority", 0), f"{key}.priority"),
            requires=self._requires(table["requires"], f"{key}.requires") if "requires" in table else None,
            no_answer=self._float(table.get("no_answer", 0), f"{key}.no_answer"),
            retry=self._retry(table["retry"], f"{key}.retry") if "retry" in table else None,
            service_by=tuple(
                self._service_by(rule, f"{key}.service_by")
                for rule in self._list(table.get("service_by", []), f"{key}.service_by")
            ),
        )

    def _arrivals(self, table: Mapping[str, Any], key: str) -> Rates | Trace:
        given = [name for name in ("per_hour", "rates", "trace") if name in table]
        if len(given) != 1:
            raise DataError(
                f"arrivals are given by {' and '.join(given) or 'nothing'}",
                Where(key=key),
                "Give one of per_hour, rates = [[second, contacts an hour], ...] or trace = [seconds, ...].",
            )
        if given == ["trace"]:
            times = self._list(table["trace"], f"{key}.trace")
            return Trace(tuple(self._float(t, f"{key}.trace") for t in times))
        pieces = [(0.0, self._float(table["per_hour"], f"{key}.per_hour"))] if given == ["per_hour"] else [
            self._pair(pair, f"{key}.rates") for pair in self._list(table["rates"], f"{key}.rates")
        ]  # fmt: skip
        return Rates(
            tuple(pieces),
            period=self._float(table["period"], f"{key}.period") if "period" in table else None,
            day_scv=self._float(table.get("day_scv", 0), f"{key}.day_scv"),
            interval_scv=self._float(table.get("interval_scv", 0), f"{key}.interval_scv"),
        )

    def _retry(self, value: Any, key: str) -> Retry:
        table = self._table(value, key)
        self._keys(table, {"probability", "delay", "attempts"}, key)
        return Retry(
            self._float(table.get("probability", 1), f"{key}.probability"),
            parse_law(table.get("delay"), Where(key=f"{key}.delay")),
            self._int(table.get("attempts", 1), f"{key}.attempts"),
        )

    def _service_by(self, value: Any, key: str) -> ServiceBy:
        table = self._table(value, key)
        self._keys(table, {"agents", "service"}, key)
        names = self._list(table.get("agents", []), f"{key}.agents")
        agents = tuple(self._text(name, f"{key}.agents") for name in names)
        return ServiceBy(agents, parse_law(table.get("service"), Where(key=f"{key}.service")))

    def _shift(self, table: Mapping[str, Any], key: str) -> Shift:
        self._keys(table, _SHIFT, key)
        return Shift(
            work=tuple(self._pair(pair, f"{key}.work") for pair in self._list(table.get("work", []), f"{key}.work")),
            agents=tuple(self._text(a, f"{key}.agents") for a in self._list(table.get("agents", []), f"{key}.agents")),
            period=self._float(table["period"], f"{key}.period") if "period" in table else None,
        )

    def _campaign(self, table: Mapping[str, Any], key: str) -> Campaign:
        self._keys(table, _CAMPAIGN, key)
        for wanted in ("queue", "service", "leads"):
            if wanted not in table:
                raise DataError(f"no {wanted}", Where(key=f"{key}.{wanted}"), "Every campaign needs it.")
        given: dict[str, Any] = {}
        for name in ("target", "connect_within", "ring_until", "fails", "fails_after", "machine_missed",
                     "false_positives", "weight"):  # fmt: skip
            if name in table:
                given[name] = self._float(table[name], f"{key}.{name}")
        for name in ("post_dial", "answer_after", "wrap_up"):
            if name in table:
                given[name] = parse_law(table[name], Where(key=f"{key}.{name}"))
        for name, field in (("from", "start"), ("to", "end")):
            if name in table:
                given[field] = self._float(table[name], f"{key}.{name}")
        for name in ("name", "mode"):
            if name in table:
                given[name] = self._text(table[name], f"{key}.{name}")
        if "inbound" in table:
            given["inbound"] = self._pair(table["inbound"], f"{key}.inbound")
        if "choose" in table:
            given["choose"] = self._flag(table["choose"], f"{key}.choose")
        if "redial" in table:
            redial = self._table(table["redial"], f"{key}.redial")
            self._keys(redial, {"after", "attempts"}, f"{key}.redial")
            after = parse_law(redial.get("after"), Where(key=f"{key}.redial.after"))
            given["redial"] = Redial(after, self._int(redial.get("attempts", 1), f"{key}.redial.attempts"))
        if "rules" in table:
            names = self._list(table["rules"], f"{key}.rules")
            given["rules"] = tuple(rule(self._text(name, f"{key}.rules")) for name in names)
        return Campaign(
            queue=self._text(table["queue"], f"{key}.queue"),
            service=parse_law(table["service"], Where(key=f"{key}.service")),
            leads=tuple(self._leads(t, f"{key}.leads") for t in self._list(table["leads"], f"{key}.leads")),
            limits=self._limits(table.get("limits", {}), f"{key}.limits"),
            **given,
        )

    def _leads(self, value: Any, key: str) -> LeadGroup:
        table = self._table(value, key)
        self._keys(table, _LEADS, key)
        answer = table.get("answer")
        return LeadGroup(
            count=self._int(table.get("count"), f"{key}.count"),
            answer=tuple(self._pair(pair, f"{key}.answer") for pair in answer)
            if isinstance(answer, list)
            else self._float(answer, f"{key}.answer"),
            machine=self._float(table.get("machine", 0), f"{key}.machine"),
            told=self._flag(table.get("told", False), f"{key}.told"),
            valid=self._float(table.get("valid", 1), f"{key}.valid"),
        )

    def _limits(self, value: Any, key: str) -> Limits:
        table = self._table(value, key)
        whole = {one.name for one in fields(Limits) if "int" in str(one.type)}
        self._keys(table, {one.name for one in fields(Limits)}, key)
        given: dict[str, Any] = {}
        for name, v in table.items():
            given[name] = (self._int if name in whole else self._float)(v, f"{key}.{name}")
        return Limits(**given)

    def _requires(self, value: Any, key: str) -> tuple[tuple[str, int], ...]:
        return tuple((skill, self._int(level, key)) for skill, level in self._table(value, key).items())

    def _law(self, table: Mapping[str, Any], key: str, name: str, default: Law) -> Law:
        return parse_law(table[name], Where(key=f"{key}.{name}")) if name in table else default

    def _tables(self, name: str) -> list[tuple[Mapping[str, Any], str]]:
        found = self._list(self.data.get(name, []), name)
        return [(self._table(value, f"{name}[{i}]"), f"{name}[{i}]") for i, value in enumerate(found)]

    @staticmethod
    def _keys(table: Mapping[str, Any], known: set[str], key: str) -> None:
        for name in table:
            if name not in known:
                place = f"{key}.{name}" if key else name
                raise DataError(f"unknown key {name!r}", Where(key=place), f"Known: {', '.join(sorted(known))}.")

    @staticmethod
    def _table(value: Any, key: str) -> Mapping[str, Any]:
        if not isinstance(value, dict):
            raise DataError("a table is missing here", Where(key=key), "Write a [table] or { ... }.")
        return value

    @staticmethod
    def _list(value: Any, key: str) -> list[Any]:
        if not isinstance(value, list):
            raise DataError(f"{value!r} is no list", Where(key=key), "Write [ ... ], or [[name]] for tables.")
        return value

    @staticmethod
    def _float(value: Any, key: str) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
            raise DataError(f"{value!r} is no finite number", Where(key=key), "Write a number.")
        return float(value)

    @staticmethod
    def _int(value: Any, key: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise DataError(f"{value!r} is no whole number", Where(key=key), "Write a whole number.")
        return value

    @staticmethod
    def _flag(value: Any, key: str) -> bool:
        if not isinstance(value, bool):
            raise DataError(f"{value!r} is neither true nor false", Where(key=key), "Write true or false.")
        return value

    @staticmethod
    def _text(value: Any, key: str) -> str:
        if not isinstance(value, str):
            raise DataError(f"{value!r} is no text", Where(key=key), 'Write "text".')
        return value

    def _pair(self, value: Any, key: str) -> tuple[float, float]:
        pair = self._list(value, key)
        if len(pair) != 2:
            raise DataError(f"{value!r} is no pair", Where(key=key), "Write [number, number].")
        return self._float(pair[0], key), self._float(pair[1], key)
