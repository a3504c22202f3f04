"""The Chinese of error messages.

Errors are raised with English sentences; ``messages.zh.txt`` beside this file holds each of them as a template, ``{}``
for what was put in, and below it the Chinese, ``{0}`` for the first of these. So raising costs nothing more, and a
sentence is translated when somebody asks for it, by the template that it fits. ``{0:zh}`` is a part that is itself a
message. A test reads every place that raises and fails where a sentence has no Chinese.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import resources

Template = tuple[tuple[str, ...], str]  # the English around what was put in, the Chinese


def chinese(text: str) -> str:
    """The text in Chinese; as it is where no template fits (it came from elsewhere)."""
    plain, templates = catalog()
    bare = text.removesuffix(".")
    if bare in plain:
        return plain[bare]
    for pieces, zh in templates:
        values = _values(bare, pieces)
        if values is not None:
            return _filled(zh, values)
    return text


def pairs(text: str) -> list[tuple[str, str]]:
    """(English, Chinese) of a catalog: lines by turns; empty lines and lines that start with # are for its readers."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return list(zip(lines[::2], lines[1::2], strict=True))


@cache
def catalog() -> tuple[dict[str, str], list[Template]]:
    """Sentences without parts, and templates, those that say most in their own words first."""
    text = (resources.files("cordboard") / "messages.zh.txt").read_text("utf-8")
    plain: dict[str, str] = {}
    templates: list[Template] = []
    for en, zh in pairs(text):
        if "{}" in en:
            templates.append((tuple(en.split("{}")), zh))
        else:
            plain[en] = zh
    templates.sort(key=lambda one: -sum(map(len, one[0])))
    return plain, templates


def _values(text: str, pieces: tuple[str, ...]) -> list[str] | None:
    """What stands between the pieces, each taken as early as it comes; None if the text does not consist of them."""
    first, *middle, last = pieces
    if not (text.startswith(first) and text.endswith(last)) or len(text) < len(first) + len(last):
        return None
    rest, values = text[len(first) : len(text) - len(last)], []
    for piece in middle:
        value, found, rest = rest.partition(piece)
        if not found:
            return None
        values.append(value)
    return [*values, rest]


def _filled(zh: str, values: list[str]) -> str:
    return re.sub(
        r"\{(\d)(:zh)?\}",
        lambda mark: chinese(values[int(mark[1])]) if mark[2] else values[int(mark[1])],
        zh,
    )
