"""Checks an audit log: every hash, every number, every signature."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidSignature

from cordboard.errors import InputError, Where
from cordboard.live.audit import BODY_BYTES_MAX, body_of, chained, files_of, start_of
from cordboard.live.tokens import Key

PROBLEMS_MAX = 100
LINE_BYTES_MAX = 2 * BODY_BYTES_MAX


@dataclass(frozen=True, slots=True)
class Problem:
    """Something in a log that is not as it was written."""

    file: str
    line: int
    what: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found.

    ``records``: lines read. ``signed``: the number of the last checkpoint whose signature holds (0: none). ``head``:
    number and hash of the last line, to keep elsewhere. ``problems``: at most PROBLEMS_MAX.
    """

    records: int
    signed: int
    head: tuple[int, str]
    problems: tuple[Problem, ...]

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


def lines_of(source: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, of a bounded length each."""
    while line := source.readline(LINE_BYTES_MAX):
        yield line


class _Check:
    def __init__(self, tenant: str, keys: Sequence[Key], heads: Sequence[tuple[int, str]]) -> None:
        self.tenant, self.keys = tenant, {key.kid: key for key in keys}
        self.hash, self.n, self.count, self.signed = start_of(tenant), 0, 0, 0
        self.heads = dict(heads)
        self.problems: list[Problem] = []

    def line(self, file: str, number: int, line: bytes) -> None:
        self.count += 1
        match = re.fullmatch(rb"([0-9a-f]{64}) (\{.*\})\n", line, re.S)
        if match is None:
            what = "not a line of an audit log" if line.endswith(b"\n") else "the line is cut off"
            self.wrong(file, number, what)
            return
        stated, body = match.group(1).decode(), match.group(2)
        fields = self.fields_of(body)
        n = fields.get("n")
        if chained(self.hash, body) != stated:
            self.wrong(file, number, "its hash does not follow from the line before: changed, dropped or moved")
        elif n != self.n + 1 or isinstance(n, bool):
            self.wrong(file, number, f"record {n!r} stands where {self.n + 1} should")
        elif self.n == 0 and (fields.get("kind"), fields.get("tenant")) != ("opened", self.tenant):
            self.wrong(file, number, f"the log does not begin as one of tenant {self.tenant} does")
        elif fields.get("kind") == "checkpoint":
            self.checkpoint(file, number, fields)
        # Go on from what the line says, so that one change is one problem.
        self.hash, self.n = stated, n if isinstance(n, int) else self.n + 1
        if self.heads.get(self.n, stated) != stated:
            self.wrong(file, number, f"line {self.n} had another hash when its head was noted")
        self.heads.pop(self.n, None)

    def fields_of(self, body: bytes) -> dict[str, Any]:
        try:
            fields = json.loads(body)
        except (ValueError, RecursionError):
            return {}
        return fields if isinstance(fields, dict) else {}

    def checkpoint(self, file: str, number: int, fields: dict[str, Any]) -> None:
        key = self.keys.get(str(fields.get("kid")))
        unsigned = {name: value for name, value in fields.items() if name != "signature"}
        try:
            if key is None:
                raise ValueError
            key.public.verify(b64decode(str(fields.get("signature")), validate=True), body_of(unsigned))
        except (InvalidSignature, ValueError):
            what = "signed by a key that is not given" if key is None else "the signature does not hold"
            self.wrong(file, number, f"checkpoint {fields.get('n')}: {what}")
            return
        if (fields.get("head"), fields.get("tenant")) != (self.hash, self.tenant):
            self.wrong(file, number, f"checkpoint {fields.get('n')}: signed for another chain")
            return
        self.signed = self.n + 1

    def wrong(self, file: str, line: int, what: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems.append(Problem(file, line, what))


def verify(
    folder: Path, keys: Sequence[Key], *, tenant: str = "default", heads: Sequence[tuple[int, str]] = ()
) -> Verdict:
    """Check all files of a log. ``keys``: the public keys of its checkpoints. ``heads``: lines that must be there."""
    files = files_of(folder)
    if not files:
        raise InputError("there is no audit log", Where(str(folder)), "Give the folder that has audit-00000001.log")
    check = _Check(tenant, keys, heads)
    for index, file in enumerate(files, 1):
        if file.name != f"audit-{index:08}.log":
            check.wrong(file.name, 0, f"audit-{index:08}.log should stand here: a file is missing or too many")
        with open(file, "rb") as source:
            for number, line in enumerate(lines_of(source), 1):
                check.line(file.name, number, line)
    for n in check.heads:
        check.wrong(files[-1].name, 0, f"line {n} was there when its head was noted: the log was cut")
    return Verdict(check.count, check.signed, (check.n, check.hash), tuple(check.problems))
