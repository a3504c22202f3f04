"""Commands that have actions of their own, e.g. ``cordboard token issue``."""

from __future__ import annotations

import argparse
from typing import Any

from cordboard import words


class Actions:
    """The actions of a command; each takes ``--lang`` and ``--json`` as the command itself does."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.lang: words.Lang = parser.get_default("lang")
        self._sub = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    def add(self, name: str, en: str, zh: str) -> Action:
        """One more action."""
        text = words.pick(self.lang, en, zh)
        parser = self._sub.add_parser(name, help=text, description=text)
        # SUPPRESS: without the option here, what was given before the action's name stays.
        parser.add_argument("--lang", choices=words.LANGS, default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        parser.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
        return Action(self.lang, parser)


class Action:
    """The arguments of one action, each with its help in both languages."""

    def __init__(self, lang: words.Lang, parser: argparse.ArgumentParser) -> None:
        self._lang, self._parser = lang, parser

    def value(self, flag: str, metavar: str, en: str, zh: str, **more: Any) -> None:
        """An argument with a value; ``more`` as argparse takes it."""
        self._parser.add_argument(flag, metavar=metavar, help=words.pick(self._lang, en, zh), **more)

    def switch(self, flag: str, en: str, zh: str) -> None:
        """An argument that is there or not."""
        self._parser.add_argument(flag, action="store_true", help=words.pick(self._lang, en, zh))
