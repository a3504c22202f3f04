"""``cordboard explain``: why a contact got its agent, or nobody."""

from __future__ import annotations

import argparse
import json
import sys

from cordboard import words
from cordboard.center import load_center
from cordboard.cli.replay import add_journal_arguments, in_seconds, moment, open_journal
from cordboard.explain import explain, records
from cordboard.telling import tell

HELP = ("why a contact got its agent, or nobody", "解释某个联系为何分给某座席，或为何无人接")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    lang = parser.get_default("lang")
    add_journal_arguments(parser, lang)
    parser.add_argument("--contact", required=True, metavar="ID", help=words.pick(lang, "the contact", "联系编号"))
    parser.add_argument(
        "--at", type=moment, metavar="T", help=words.pick(lang, "only how things stood at T", "只看时刻 T 的情形")
    )


def run(options: argparse.Namespace) -> int:
    """Status 0: told; 1: told, but lines of the journal were skipped; 2: no such contact, or a file can't be used."""
    from cordboard.acd import Acd  # the compiled core, only when something is explained

    center = load_center(options.center)
    name = "<stdin>" if options.journal == "-" else options.journal
    at = in_seconds(options.at, center)
    with open_journal(options.journal) as stream:
        story = explain(Acd(center, seed=options.seed), center, stream, options.contact, name, at)
    if options.json:
        entries = list(records(story))
        told = entries if at is None else entries[-1:]
        record = {"contact": story.contact, "ended_at": story.ended_at, "skipped": story.skipped, "story": told}
        print(json.dumps(record, ensure_ascii=False))
    else:
        print("\n".join(tell(story, options.lang, at)))
    if story.skipped:
        text = words.pick(
            options.lang,
            f"{story.skipped} lines of the journal were skipped; cordboard replay says why",
            f"日志中有 {story.skipped} 行被跳过；cordboard replay 会说明原因",
        )
        print(text, file=sys.stderr)
        return 1
    return 0
