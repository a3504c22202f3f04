"""Feature schemas: what a feature is, what values it takes, and when it is known.

A schema is data (TOML). Its hash stands in every model file, so a model is never fed other features than it learned
from. A head that predicts before dialing can't use what is known only at the answer or after the call: such leaks
make a model look brilliant in tests and useless on the phone.
"""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from cordboard.errors import DataError, Where

Known = Literal["before_dial", "at_answer", "after_call"]
KNOWN: tuple[Known, ...] = get_args(Known)
Kind = Literal["number", "category"]

# Names of things that exist only once a call is over, whatever a schema says about them. Case, signs and spaces do not
# count, nor does a unit at the end or `call` before (``exists_after_call``).
# fmt: off
_AFTER_CALL = frozenset([
    "duration", "talktime", "talk", "bill", "handletime", "holdtime", "wrapup", "wrapuptime", "dispo", "disposition",
    "outcome", "result", "hangupcause", "endtime", "endedat", "answeredat", "recording", "y", "label", "target",
    "success", "sale", "converted", "通话时长", "通话结果", "结果",
])
# fmt: on
_UNITS = frozenset(["s", "sec", "secs", "second", "seconds", "ms", "min", "minutes", "秒"])
HASHED_MAX = 20  # bits


def exists_after_call(name: str) -> bool:
    """Whether a column so named holds what exists only once the call is over: ``Duration (s)``, ``talkTime``."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    parts = re.sub(r"[\W_]+", " ", spaced).lower().split()
    if len(parts) > 1 and parts[-1] in _UNITS:
        parts = parts[:-1]
    if len(parts) > 1 and parts[0] == "call":
        parts = parts[1:]
    whole = "".join(parts)
    return whole in _AFTER_CALL or any(whole.removesuffix(unit) in _AFTER_CALL for unit in ("sec", "seconds"))


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature. ``known``: when its value is known.

    A ``number`` may have ``edges``: it then also gets one weight for each interval between them, and can be crossed.
    A ``category`` has its ``values``, or ``hash_bits``: 2^bits weights shared by whatever values come. ``missing``:
    an empty or NaN value is allowed, and is a value of its own. ``other``: so are values that are not listed.
    ``role``: ``hour`` (0 to 23) or ``weekday`` (0 = Monday) of the lead's local time, which the best time to call
    varies.
    """

    name: str
    kind: Kind
    known: Known
    edges: tuple[float, ...] = ()
    values: tuple[str, ...] = ()
    hash_bits: int = 0
    missing: bool = False
    other: bool = False
    role: str = ""

    @property
    def codes(self) -> int:
        """How many codes it has: intervals or values, then one for `missing`, one for `other`; 0 if it has none."""
        if self.kind == "number":
            return len(self.edges) + 1 + self.missing if self.edges else int(self.missing) * 2
        return (1 << self.hash_bits if self.hash_bits else len(self.values)) + self.missing + self.other


@dataclass(frozen=True, slots=True)
class Schema:
    """A versioned set of features.

    ``crosses``: tuples of features that together get weights of their own. ``shrink``: the levels of the shrunk rate
    from the outside in, e.g. (("campaign",), ("hour",), ("segment",)); each is a cell inside the one before, all
    inside the global rate.
    """

    name: str
    version: int
    features: tuple[Feature, ...]
    crosses: tuple[tuple[str, ...], ...] = ()
    shrink: tuple[tuple[str, ...], ...] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for feature in self.features:
            _check_feature(feature)
            if feature.name in seen:
                raise _bad(feature.name, "is declared twice", "Remove one.")
            seen.add(feature.name)
        for group in (*self.crosses, *self.shrink):
            for name in group:
                if self.feature(name).codes == 0:
                    raise _bad(name, "is crossed but has no intervals", "Give it edges.")

    def feature(self, name: str) -> Feature:
        """The feature of that name; DataError if there is none."""
        for feature in self.features:
            if feature.name == name:
                return feature
        raise _bad(name, "is not in the schema", f"It has: {', '.join(f.name for f in self.features)}.")

    def at(self, known: Known, names: tuple[str, ...] | None = None) -> Schema:
        """The part that is known by then; of it ``names`` alone, if given. DataError if one of them is known only
        later."""
        limit = KNOWN.index(known)
        for name in names or ():
            if KNOWN.index(self.feature(name).known) > limit:
                raise _bad(
                    name,
                    f"is known {self.feature(name).known}, the prediction is made {known}: it would leak the outcome",
                    "Leave it out of this head.",
                )
        chosen = {f.name for f in self.features if KNOWN.index(f.known) <= limit and (names is None or f.name in names)}
        return Schema(
            self.name,
            self.version,
            tuple(f for f in self.features if f.name in chosen),
            tuple(c for c in self.crosses if chosen.issuperset(c)),
            tuple(c for c in self.shrink if chosen.issuperset(c)),
        )

    def to_dict(self) -> dict[str, Any]:
        """The schema as plain data; ``from_dict`` reads it back."""
        features = {}
        for f in self.features:
            entry: dict[str, Any] = {"kind": f.kind, "known": f.known}
            for key in ("edges", "values", "hash_bits", "missing", "other", "role"):
                value = getattr(f, key)
                if value:
                    entry[key] = list(value) if isinstance(value, tuple) else value
            features[f.name] = entry
        return {
            "name": self.name,
            "version": self.version,
            "crosses": [list(c) for c in self.crosses],
            "shrink": [list(c) for c in self.shrink],
            "features": features,
        }

    @property
    def hash(self) -> str:
        """64 hexadecimal digits that differ as soon as anything in the schema does, the features' order included."""
        text = json.dumps(self.to_dict(), separators=(",", ":"), ensure_ascii=True)  # unsorted: the order counts
        return hashlib.sha256(text.encode()).hexdigest()

    @staticmethod
    def from_dict(data: dict[str, Any], file: str | None = None) -> Schema:
        """A schema from plain data, as in the TOML file. DataError, naming the key, if it can't be used."""
        try:
            return _from_dict(data)
        except DataError as error:
            raise error.at(Where(file)) from None

    @staticmethod
    def load(path: str | Path) -> Schema:
        """A schema from a TOML file, or, for a name without a folder or ending, one that comes with cordboard."""
        text, where = _read(path)
        try:
            data = tomllib.loads(text)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            raise DataError(f"not TOML: {error}", Where(where), "See docs/reference/answer-model.md.") from None
        return Schema.from_dict(data, where)


def ready_schemas() -> list[str]:
    """Names of the schemas that come with cordboard."""
    folder = resources.files("cordboard.learning") / "schemas"
    return sorted(entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml"))


def _read(path: str | Path) -> tuple[str, str]:
    name = str(path)
    if name in ready_schemas():
        return (resources.files("cordboard.learning") / "schemas" / f"{name}.toml").read_text("utf-8"), name
    try:
        return Path(path).read_text("utf-8"), name
    except (OSError, UnicodeDecodeError) as error:
        hint = f"Give a TOML file, or one of: {', '.join(ready_schemas())}."
        raise DataError(f"the schema can't be read: {error}", Where(name), hint) from None


def _bad(feature: str, what: str, hint: str) -> DataError:
    return DataError(f"feature {feature!r} {what}", Where(key=f"features.{feature}"), hint)


def _check_feature(f: Feature) -> None:
    if f.kind not in get_args(Kind) or f.known not in KNOWN:
        raise _bad(
            f.name,
            f"has kind {f.kind!r}, known {f.known!r}",
            f"Kinds are {', '.join(get_args(Kind))}; known is one of {', '.join(KNOWN)}.",
        )
    if f.known != "after_call" and exists_after_call(f.name):
        raise _bad(
            f.name,
            f"is declared as known {f.known}, but it exists only after the call: it would leak the outcome",
            "Declare it as after_call, or, if it really is something else, give it a name that says so.",
        )
    if f.kind == "number":
        if f.values or f.hash_bits or f.other:
            raise _bad(f.name, "is a number with values of a category", "Use edges, or make it a category.")
        if any(a >= b for a, b in zip(f.edges, f.edges[1:], strict=False)):
            raise _bad(f.name, "has edges that do not ascend", "Give them in ascending order.")
    elif bool(f.values) == bool(f.hash_bits) or f.edges or not 0 <= f.hash_bits <= HASHED_MAX:
        raise _bad(f.name, "is a category without values", f"Give values, or hash_bits up to {HASHED_MAX}; not both.")
    elif len(set(f.values)) != len(f.values):
        raise _bad(f.name, "lists a value twice", "Remove one.")
    if f.hash_bits and f.other:
        raise _bad(f.name, "is hashed, so nothing is other", "Remove `other`.")


def _from_dict(data: dict[str, Any]) -> Schema:
    known_keys = {"name", "version", "features", "crosses", "shrink"}
    for key in data:
        if key not in known_keys:
            raise DataError(f"unknown key {key!r}", Where(key=key), f"Keys are {', '.join(sorted(known_keys))}.")
    if not isinstance(data.get("name"), str) or not isinstance(data.get("version"), int):
        raise DataError(
            "a schema needs a name and a version", Where(key="name"), 'For example name = "leads", version = 1.'
        )
    table = data.get("features")
    if not isinstance(table, dict) or not table:
        raise DataError("a schema needs features", Where(key="features"), "Add a table [features.NAME] for each.")
    features = tuple(_feature(name, entry) for name, entry in table.items())
    return Schema(data["name"], data["version"], features, _groups(data, "crosses"), _groups(data, "shrink"))


def _feature(name: str, entry: Any) -> Feature:
    allowed = {
        "kind": str,
        "known": str,
        "edges": list,
        "values": list,
        "hash_bits": int,
        "missing": bool,
        "other": bool,
        "role": str,
    }
    if not isinstance(entry, dict):
        raise _bad(name, "is not a table", f"Write [features.{name}].")
    for key, value in entry.items():
        if key not in allowed or not isinstance(value, allowed[key]):
            raise _bad(
                name, f"has a key {key!r} that is unknown or of the wrong type", f"Keys are {', '.join(allowed)}."
            )
    if "kind" not in entry or "known" not in entry:
        raise _bad(
            name, "does not say its kind, or when it is known", 'For example kind = "number", known = "before_dial".'
        )
    if any(isinstance(e, bool) or not isinstance(e, int | float) or not abs(e) < 1e300 for e in entry.get("edges", [])):
        raise _bad(name, "has an edge that is no number, or not finite", "Give numbers.")
    if any(not isinstance(v, str) for v in entry.get("values", [])):
        raise _bad(name, "has a value that is no text", "Write values in quotes.")
    if entry.get("role", "") not in ("", "hour", "weekday"):
        raise _bad(name, f"has role {entry['role']!r}", "Roles are hour and weekday.")
    fields = dict(entry)
    fields["edges"] = tuple(float(e) for e in entry.get("edges", []))
    fields["values"] = tuple(entry.get("values", []))
    return Feature(name, **fields)


def _groups(data: dict[str, Any], key: str) -> tuple[tuple[str, ...], ...]:
    groups = data.get(key, [])
    if not isinstance(groups, list) or any(
        not isinstance(g, list) or not g or any(not isinstance(name, str) for name in g) for g in groups
    ):
        raise DataError(
            f"{key} is not a list of lists of names", Where(key=key), f'For example {key} = [["hour", "line"]].'
        )
    return tuple(tuple(g) for g in groups)
