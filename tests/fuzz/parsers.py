"""Fuzz the parsers of center files and journals: ``python -m tests.fuzz.parsers --seconds 60``.

With atheris installed it steers by coverage; without, it mutates the examples of the documentation at random. Whatever
the bytes, the parsers may raise CordboardError and nothing else, and a journal's reader goes on to the next line.
"""

from __future__ import annotations

import argparse
import io
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cordboard.center import parse_center
from cordboard.errors import CordboardError, JournalError
from cordboard.journal import check_event, read_journal

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs" / "examples"
CORPUS = ROOT / "build" / "fuzz"  # what atheris finds, kept from run to run
NOISE = (
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b"\\",
    b"\n",
    b"=",
    b",",
    b"\xff",
    b"\x00",
    b"1e999",
    b"nan",
    b"-1",
    b"'''",
    b"\\ud800",
)


def one_input(data: bytes) -> None:
    """Feed the bytes to both parsers; anything but a CordboardError comes out as it is."""
    try:
        parse_center(data.decode("utf-8", "replace"))
    except CordboardError as error:
        assert str(error)
    for number, item in read_journal(io.BytesIO(data)):
        if isinstance(item, JournalError):
            assert item.where.line == number
        else:
            check_event(item)


def mutated(source: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One of the seeds with a few cuts, repeats and bits of noise."""
    data = bytearray(source.choice(seeds))
    for _ in range(source.randint(1, 8)):
        place = source.randint(0, len(data))
        length = source.randint(0, 30)
        change = source.randint(0, 3)
        if change == 0:
            del data[place : place + length]
        elif change == 1:
            data[place:place] = source.choice(NOISE)
        elif change == 2:
            data[place:place] = data[place : place + length] * source.randint(1, 3)
        elif data:
            data[place % len(data)] = source.randint(0, 255)
    return bytes(data)


def by_mutation(seconds: float, seed: int) -> int:
    """Mutate the examples for so many seconds; returns how many inputs there were."""
    source = random.Random(seed)
    whole = [path.read_bytes() for path in sorted(EXAMPLES.iterdir()) if path.is_file()]
    seeds = whole + [line + b"\n" for data in whole for line in data.splitlines()]
    end = time.monotonic() + seconds
    count = 0
    while time.monotonic() < end:
        data = mutated(source, seeds)
        try:
            one_input(data)
        except BaseException:
            print(f"seed {seed}, input {count}: {data!r}", file=sys.stderr)
            raise
        count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        import atheris
    except ImportError:
        count = by_mutation(options.seconds, options.seed)
        print(f"{count} inputs by mutation (atheris is not installed): nothing but CordboardError")
        return
    CORPUS.mkdir(parents=True, exist_ok=True)
    atheris.instrument_all()
    limits = [f"-max_total_time={int(options.seconds)}", f"-seed={options.seed}"]
    atheris.Setup([sys.argv[0], *limits, str(CORPUS), str(EXAMPLES)], one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
