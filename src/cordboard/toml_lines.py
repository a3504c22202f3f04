"""Where the keys of a TOML text stand.

The standard library reads TOML but forgets the lines. ``key_lines`` walks over a text that tomllib has
accepted (so it may assume that the text is right) and notes the line of every table and key; ``line_of``
finds the line of a path, or of the nearest thing around it.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

Path = tuple[str | int, ...]

_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?""""{0,2}'
    r"|'''.*?''''{0,2}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"|\#[^\n]*"
    r"|\n"
    r"|[\[\]{}=,.]"
    r"|[^\s\[\]{}=,.\#\"']+",
    re.DOTALL,
)


class _Tokens:
    """The tokens of the text with their lines, one ahead; comments are left out."""

    def __init__(self, text: str) -> None:
        self._stream = self._read(text)
        self.token, self.line, self.start = next(self._stream)

    @staticmethod
    def _read(text: str) -> Iterator[tuple[str, int, int]]:
        line = 1
        for match in _TOKEN.finditer(text):
            token = match.group()
            if not token.startswith("#"):
                yield token, line, match.start()
            line += token.count("\n")
        yield "", line, len(text)

    def take(self) -> str:
        """The present token; goes on to the next."""
        token = self.token
        if token:
            self.token, self.line, self.start = next(self._stream)
        return token

    def skip_newlines(self) -> None:
        while self.token == "\n":
            self.take()


def key_lines(text: str) -> dict[Path, int]:
    """Path of every table, key and array element of a valid TOML text -> its line, counted from 1."""
    tokens = _Tokens(text)
    lines: dict[Path, int] = {}
    lengths: dict[Path, int] = {}  # arrays of tables: how many elements so far
    table: Path = ()
    while True:
        tokens.skip_newlines()
        if not tokens.token:
            return lines
        line = tokens.line
        if tokens.token == "[":
            table = _header(tokens, lengths)
            _note(lines, table, line)
        else:
            _pair(tokens, table, lines)


def line_of(lines: dict[Path, int], path: Path) -> int | None:
    """The line of the path, else of the nearest table or key around it."""
    for end in range(len(path), 0, -1):
        if path[:end] in lines:
            return lines[path[:end]]
    return None


def _note(lines: dict[Path, int], path: Path, line: int) -> None:
    for end in range(1, len(path) + 1):
        lines.setdefault(path[:end], line)


def _header(tokens: _Tokens, lengths: dict[Path, int]) -> Path:
    """``[a.b]`` or ``[[a.b]]``; a name that is an array of tables means its last element."""
    start = tokens.start
    tokens.take()
    is_array = tokens.token == "[" and tokens.start == start + 1
    if is_array:
        tokens.take()
    names = _key(tokens)
    while tokens.token not in ("\n", ""):
        tokens.take()
    path: Path = ()
    for name in names[:-1]:
        path = (*path, name)
        if path in lengths:
            path = (*path, lengths[path] - 1)
    path = (*path, names[-1])
    if is_array:
        lengths[path] = lengths.get(path, 0) + 1
        path = (*path, lengths[path] - 1)
    return path


def _key(tokens: _Tokens) -> Path:
    """A dotted key, up to the ``=`` or ``]`` that ends it."""
    names: list[str] = []
    while tokens.token not in ("=", "]", "\n", ""):
        token = tokens.take()
        if token != ".":
            names.append(next(iter(tomllib.loads(f"{token} = 0"))))
    return tuple(names)


def _pair(tokens: _Tokens, table: Path, lines: dict[Path, int]) -> None:
    line = tokens.line
    path = (*table, *_key(tokens))
    _note(lines, path, line)
    tokens.take()  # the "="
    _value(tokens, path, lines)


def _value(tokens: _Tokens, path: Path, lines: dict[Path, int]) -> None:
    if tokens.token == "[":
        tokens.take()
        index = 0
        while True:
            tokens.skip_newlines()
            if tokens.token in ("]", ""):
                tokens.take()
                return
            if tokens.token == ",":
                tokens.take()
                continue
            _note(lines, (*path, index), tokens.line)
            _value(tokens, (*path, index), lines)
            index += 1
    if tokens.token == "{":
        tokens.take()
        while True:
            tokens.skip_newlines()
            if tokens.token in ("}", ""):
                tokens.take()
                return
            if tokens.token == ",":
                tokens.take()
                continue
            _pair(tokens, path, lines)
    while tokens.token not in ("\n", ",", "]", "}", ""):
        tokens.take()
