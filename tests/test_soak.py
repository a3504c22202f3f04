"""The soak in small: real servers, killed and cut off, and the same day without faults. See docs/background/soak.md."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import replace

import pytest

from benchmarks.soak_compare import compare
from benchmarks.soak_day import QUICK, Faults, live

pytestmark = pytest.mark.slow

PLAN = replace(QUICK, hours=0.15)
FAULTS = Faults(kill_s=2.0, deaf=0.0)  # the day takes four seconds, and the first kill comes within two


def lived(folder, name, faults, database=""):
    return asyncio.run(live(PLAN, folder / name, faults, 0.0, database))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("soak")
    return folder, lived(folder, "plain", None)


def test_a_day_with_faults_ends_with_the_records_of_the_day_without(plain):
    folder, without = plain
    told = lived(folder, "faulted", FAULTS)
    found = compare(PLAN, folder, told, without, "")
    assert not found["differences"]
    assert found["answered"] > 20 and told.done["kills"] and told.done["lost"] and found["refused"]
    # and it would tell: of an acknowledgment that is not in the journal, and of an event that was another one
    told.acknowledged["s0-r0"] = found["journal_rows"] + 1
    with sqlite3.connect(folder / "plain" / "data" / "default" / "journal.db") as journal:
        journal.execute("UPDATE journal SET ticks = ticks + 1 WHERE revision = 5")
    texts = compare(PLAN, folder, told, without, "")["differences"]
    assert any("s0-r0" in text for text in texts) and any(text.startswith("fact of site") for text in texts)
    with sqlite3.connect(folder / "plain" / "data" / "default" / "journal.db") as journal:
        journal.execute("UPDATE journal SET ticks = ticks - 1 WHERE revision = 5")


def test_so_it_is_with_a_journal_in_postgresql(plain, tmp_path, postgres_url):
    folder, without = plain
    (tmp_path / "plain").symlink_to(folder / "plain")
    told = lived(tmp_path, "faulted", FAULTS, postgres_url)
    assert not compare(PLAN, tmp_path, told, without, postgres_url)["differences"]
    assert told.done["kills"]
