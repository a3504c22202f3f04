"""Checks what tomllib read from the file of a flow, and makes a Flow of it."""

from __future__ import annotations

import datetime
import re
import tomllib
from collections.abc import Callable, Iterable
from typing import Any

from cordboard.calls.flow import Announce, Callback, Flow, Hours, Language, Prompts, Span, Step
from cordboard.center import CENTER_BYTES_MAX, DURATION_MAX_S, LEVEL_MAX, UNFIT, WEIGHT_MAX, Center
from cordboard.errors import CallsError, Where
from cordboard.media.backend import TEXT_MAX
from cordboard.toml_lines import Path
from cordboard.toml_reader import Check, Reader, Wrong, flag, mapping, name_of, nearest, number, seconds, shown, whole

STEPS_MAX = 1_000
PROMPTS_MAX = 100
TESTS_MAX = 1_000
WORDS_MAX = 1_000
KEYS = "0123456789*#"
SAYS = "say "  # in the keys of a test: words
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_SPAN = re.compile(r"(\d\d):(\d\d)-(\d\d):(\d\d)")
_WEEK = re.compile(r"(?:([a-z]{3})(?:-([a-z]{3}))? +)?(\S+)")
VALUE = re.compile(r"\{(number|digits) ([\w-]+)\}")  # among prompts


def flow_text(file: str) -> str:
    """The text of a file. OSError, UnicodeDecodeError as they come."""
    with open(file, "rb") as stream:
        return stream.read(CENTER_BYTES_MAX + 1).decode("utf-8-sig")


def parse_flow(
    text: str, file: str = "<string>", center: Center | None = None, trunks: Iterable[str] | None = None
) -> Flow:
    """The flow of TOML text. ``center``, ``trunks``: what it may name; None: anything. Raises CallsError, which holds
    all that is wrong with it."""
    if len(text) > CENTER_BYTES_MAX:
        raise CallsError(f"the file is longer than {CENTER_BYTES_MAX} characters", Where(file), "Make it shorter")
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise CallsError(f"not valid TOML: {error}", Where(file), "See https://toml.io for the notation") from error
    return read_flow(data, text, file, center, trunks)


def read_flow(
    data: dict[str, Any],
    text: str = "",
    file: str = "<journal>",
    center: Center | None = None,
    trunks: Iterable[str] | None = None,
) -> Flow:
    """The flow of tables, from a file or a journal. Raises CallsError."""
    return _FlowReader(text, file).flow(data, center, trunks)


def line_text(_: Reader, path: Path, value: Any) -> str:
    if not isinstance(value, str) or len(value) > TEXT_MAX or UNFIT.search(value):
        raise Wrong(path, f"{shown(value)} is not a text of a line", "Give a text in quotes")
    return value


def prompts(reader: Reader, path: Path, value: Any) -> Prompts:
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, list) or len(value) > PROMPTS_MAX:
        raise Wrong(path, f"{shown(value)} is not a list of at most {PROMPTS_MAX} prompts", 'Write it as ["welcome"]')
    for index, name in enumerate(value):
        line_text(reader, (*path, index), name_of(reader, (*path, index), name))
        if "{" in name and not VALUE.fullmatch(name):
            hint = 'Write "{number balance}" or "{digits account}"'
            raise Wrong((*path, index), f"{shown(name)} is neither a prompt nor a value", hint)
    return tuple(value)


def _names(reader: Reader, path: Path, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise Wrong(path, f"{shown(value)} is not a list of names", 'Write ["account"]')
    return tuple(name_of(reader, (*path, index), name) for index, name in enumerate(value))


def _key(_: Reader, path: Path, value: Any) -> str:
    if not isinstance(value, str) or len(value) != 1 or value not in KEYS:
        raise Wrong(path, f"{shown(value)} is not a key of a telephone", 'Give one of 0 to 9, "*" and "#"')
    return value


def _keys(reader: Reader, path: Path, value: Any) -> dict[str, str]:
    for key in value if isinstance(value, dict) else ():
        _key(reader, (*path, key), key)
    found: dict[str, str] = mapping(name_of)(reader, path, value)
    return found


def _words(reader: Reader, path: Path, value: Any) -> dict[str, str]:
    found: dict[str, str] = mapping(_key)(reader, path, value)
    if len(found) > WORDS_MAX:
        raise Wrong(path, f"{len(found)} words", f"The limit is {WORDS_MAX}")
    return found


def _span(path: Path, text: Any) -> Span:
    found = _SPAN.fullmatch(text) if isinstance(text, str) else None
    begin, end = (int(found[1]) * 60 + int(found[2]), int(found[3]) * 60 + int(found[4])) if found else (0, 0)
    if found is None or not begin < end <= 1440 or int(found[2]) > 59 or int(found[4]) > 59:
        raise Wrong(path, f"{shown(text)} is not a time of a day", 'Write "09:00-18:00"')
    return begin, end


def _week(_: Reader, path: Path, value: Any) -> tuple[tuple[Span, ...], ...]:
    week: list[list[Span]] = [[] for _ in DAYS]
    for index, text in enumerate(value if isinstance(value, list) else [value]):
        found = _WEEK.fullmatch(text) if isinstance(text, str) else None
        days = [day for day in (found[1], found[2]) if day] if found else []
        if found is None or any(day not in DAYS for day in days):
            raise Wrong((*path, index), f"{shown(text)} is not a time of a week", 'Write "mon-fri 09:00-18:00"')
        first, last = (DAYS.index(days[0]), DAYS.index(days[-1])) if days else (0, 6)
        for day in range(first, last + 1 if last >= first else last + 8):
            week[day % 7].append(_span((*path, index), found[3]))
    return tuple(tuple(sorted(spans)) for spans in week)


def _date(path: Path, text: Any) -> int:
    try:
        return (text if isinstance(text, datetime.date) else datetime.date.fromisoformat(text)).toordinal()
    except (TypeError, ValueError):
        raise Wrong(path, f"{shown(text)} is not a date", 'Write "2027-10-01"') from None


def _holidays(_: Reader, path: Path, value: Any) -> dict[int, tuple[Span, ...]]:
    if not isinstance(value, list):
        raise Wrong(path, f"{shown(value)} is not a list of dates", 'Write ["2027-10-01"]')
    return {_date((*path, index), text): () for index, text in enumerate(value)}


def _special(_: Reader, path: Path, value: Any) -> dict[int, tuple[Span, ...]]:
    if not isinstance(value, dict):
        raise Wrong(path, f"{shown(value)} is not a table", 'Write { "2027-02-14" = "09:00-18:00" }')
    return {_date((*path, day), day): (_span((*path, day), text),) for day, text in value.items()}


def _table(make: Callable[..., Any], checks: dict[str, Check], required: str = "") -> Check:
    def check(reader: Reader, path: Path, value: Any) -> Any:
        got = reader.table(path, value, checks)
        if required and required not in value:
            raise Wrong(path, f'"{required}" is missing', "Add it")
        return make(**({required: ""} if required else {}) | got)  # what is wrong with it is noted

    return check


def _presses(_: Reader, path: Path, value: Any) -> tuple[str, ...]:
    fit = isinstance(value, list) and all(
        isinstance(keys, str) and (keys.startswith(SAYS) or set(keys) <= set(KEYS)) for keys in value
    )
    if not fit:
        hint = 'Write ["1", "1234#", "say billing"]; "" is nothing pressed'
        raise Wrong(path, f"{shown(value)} is not a list of keys", hint)
    return tuple(value)


_levels = mapping(whole(1, LEVEL_MAX))
_time = number(0.1, DURATION_MAX_S, is_seconds=True)
_tries = whole(0, 20)
_ANNOUNCE: dict[str, Check] = {
    "first": _time, "every": _time, "position": flag, "wait": flag, "comfort": prompts, "late": prompts,
}  # fmt: skip
_CALLBACK: dict[str, Check] = {
    "key": _key, "offer": prompts, "accepted": prompts, "after": seconds, "retries": _tries, "every": _time,
    "within": _time, "number": name_of,
}  # fmt: skip
_ASKING: dict[str, Check] = {"timeout": _time, "retries": _tries, "invalid": prompts, "otherwise": name_of}

# kind -> whether its value is prompts (or else a name), and the other keys it may have
KINDS: dict[str, tuple[bool, dict[str, Check]]] = {
    "play": (True, {"next": name_of}),
    "menu": (True, _ASKING | {"keys": _keys, "words": _words, "sure": number(0, 1), "barge_in": flag}),
    "collect": (
        True,
        _ASKING
        | {"min": whole(1, 32), "max": whole(1, 32), "end": _key, "secret": flag, "as": name_of, "next": name_of},
    ),
    "rate": (True, _ASKING | {"scale": whole(2, 9), "as": name_of, "next": name_of}),
    "language": (False, {"next": name_of}),
    "hours": (False, {"open": name_of, "closed": name_of}),
    "lookup": (False, {"send": _names, "timeout": _time, "answers": mapping(name_of), "otherwise": name_of}),
    "queue": (
        False,
        {
            "priority": number(-WEIGHT_MAX, WEIGHT_MAX),
            "requires": _levels,
            "agent": name_of,
            "announce": _table(Announce, _ANNOUNCE),
            "callback": _table(Callback, _CALLBACK, "key"),
            "after": name_of,
            "otherwise": name_of,
        },
    ),
    "number": (False, {"otherwise": name_of}),
    "voicemail": (True, {"to_queue": name_of, "seconds": number(1, 3600, is_seconds=True), "next": name_of}),
    "hang_up": (True, {}),
}
_REQUIRED = {  # without which a step makes no sense
    "menu": ("keys",), "collect": ("as",), "rate": ("as",), "hours": ("open", "closed"), "lookup": ("otherwise",),
}  # fmt: skip
_HOURS: dict[str, Check] = {"open": _week, "holidays": _holidays, "special": _special}
_TEST: dict[str, Check] = {
    "name": name_of,
    "at": line_text,
    "caller": line_text,
    "keys": _presses,
    "answers": mapping(line_text),
    "path": _names,
    "queue": name_of,
    "language": name_of,
    "requires": _levels,
    "number": line_text,
    "ends": line_text,
}
_TOP = ("start", "languages", "prompts", "hours", "steps", "tests")
_DECIDING = ("start", "languages", "hours", "steps")


def _step(reader: Reader, path: Path, value: Any) -> Step:
    if not isinstance(value, dict):
        raise Wrong(path, f"{shown(value)} is not a table", "Write [steps.NAME]")
    kinds = [key for key in value if key in KINDS]
    if len(kinds) != 1:
        hint = "Give exactly one of " + ", ".join(KINDS) if kinds or not value else nearest(next(iter(value)), KINDS)
        raise Wrong(path, "a step does exactly one thing", hint)
    [kind] = kinds
    says, checks = KINDS[kind]
    for key in _REQUIRED.get(kind, ()):
        if key not in value:
            raise Wrong(path, f'"{key}" is missing', "Add it")
    got = reader.table(path, value, checks | {kind: prompts if says else name_of})
    if got.get("min", 1) > got.get("max", 32):
        raise Wrong((*path, "min"), "min is more than max", "Let max be as much as min at least")
    own = got.pop(kind, () if says else "")
    if "as" in got:
        got["into"] = got.pop("as")
    return Step(kind, **({"prompts": own} if says else {"value": own}), **got)


class _FlowReader(Reader):
    """Reads one flow."""

    kind = CallsError

    def flow(self, data: dict[str, Any], center: Center | None, trunks: Iterable[str] | None) -> Flow:
        for key in data:
            if key not in _TOP:
                self.wrong.append(Wrong((key,), f'unknown key "{key}"', nearest(key, _TOP)))
        languages = self.section(data, "languages", {"requires": _levels}) or {"en": {}}
        texts = self.section(data, "prompts", dict.fromkeys(languages, line_text))
        named = data.get("steps")
        steps: dict[str, Step] = {}
        if not isinstance(named, dict) or not 0 < len(named) <= STEPS_MAX:
            hint = f"Write [steps.NAME], {STEPS_MAX} at most"
            self.wrong.append(Wrong(("steps",), "a flow has steps", hint))
        else:
            steps = self.each(("steps",), named, dict.fromkeys(named, _step))
        hours = {name: _hours(got) for name, got in self.section(data, "hours", _HOURS).items()}
        flow = Flow(
            self.each((), {"start": data.get("start", next(iter(steps), ""))}, {"start": name_of}).get("start", ""),
            steps,
            {name: Language(**got) for name, got in languages.items()},
            hours,
            texts,
            self.tests(data.get("tests", [])),
            {key: _plain(data[key]) for key in _DECIDING if key in data},
        )
        if not self.wrong:
            self.references(flow, center, trunks)
        self.raise_wrong()
        return flow

    def tests(self, tests: Any) -> tuple[dict[str, Any], ...]:
        if not isinstance(tests, list) or len(tests) > TESTS_MAX:
            self.wrong.append(Wrong(("tests",), f"{shown(tests)} is not a list of tests", "Write [[tests]]"))
            return ()
        found = []
        for index, test in enumerate(tests):
            try:
                found.append(self.table(("tests", index), test, _TEST))
            except Wrong as wrong:
                self.wrong.append(wrong)
        return tuple(found)

    def references(self, flow: Flow, center: Center | None, trunks: Iterable[str] | None) -> None:
        """Every step, language, queue ... that is named exists."""
        self.known(("start",), flow.start, flow.steps, "step")
        queues = None if center is None else {queue.name: queue for queue in center.queues}
        for name, step in flow.steps.items():
            here = ("steps", name)
            for keys, target in step.targets():
                self.known((*here, *keys), target, flow.steps, "step")
            for key in step.words.values():
                self.known((*here, "words"), key, step.keys, "key")
            if step.kind == "language":
                self.known((*here, "language"), step.value, flow.languages, "language")
            elif step.kind == "hours":
                self.known((*here, "hours"), step.value, flow.hours, "hours")
            elif step.kind == "queue" and queues is not None:
                self.known((*here, "queue"), step.value, queues, "queue")
                if step.value in queues and queues[step.value].channel != "voice":
                    what = f'"{step.value}" is a queue for {queues[step.value].channel}, not for voice'
                    self.wrong.append(Wrong((*here, "queue"), what, "Give a queue of the channel voice"))
            if step.to_queue and queues is not None:
                self.known((*here, "to_queue"), step.to_queue, queues, "queue")
            if step.agent and center is not None:
                self.known((*here, "agent"), step.agent, [agent.name for agent in center.agents], "agent")
            if trunks is not None and not trunks and (step.kind == "number" or step.callback is not None):
                key = "number" if step.kind == "number" else "callback"
                self.wrong.append(Wrong((*here, key), "there is no trunk", "Put one into the file of calls"))

    def known(self, path: Path, name: str, names: Iterable[str], what: str) -> None:
        names = list(names)
        if name not in names:
            self.wrong.append(Wrong(path, f'there is no {what} "{name}"', nearest(name, names)))


def _hours(got: dict[str, Any]) -> Hours:
    return Hours(got.get("open", ((),) * 7), got.get("holidays", {}) | got.get("special", {}))


def _plain(value: Any) -> Any:
    """As JSON has it."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.isoformat() if isinstance(value, datetime.date) else value
