"""What needs Node: the lint of the contract with buf, and a program of another language against a live server."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.npm import installed
from tests.serving import served

pytestmark = [pytest.mark.sources, pytest.mark.xdist_group("node")]

ROOT = Path(__file__).resolve().parents[1]
PROTO = ROOT / "services" / "proto"
SHARED = Path(str(distribution("googleapis-common-protos").locate_file("")))
CENTER = "[queues.billing]\n[agents.li]\nwrap_up = 1\n"


def workspace(folder: Path, proto: Path) -> Path:
    """The contract with the files of Google that it imports, as buf wants them: a module of its own, not linted."""
    shutil.copytree(proto, folder / "contract", ignore=shutil.ignore_patterns("buf.yaml"))
    for part in ("rpc", "longrunning", "api"):
        for file in (SHARED / "google" / part).glob("*.proto"):
            target = folder / "shared" / "google" / part / file.name.replace("operations_proto.", "operations.")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, target)
    rules = (PROTO / "buf.yaml").read_text().replace("  - path: .\n", "  - path: contract\n  - path: shared\n    lint:\n      ignore: [shared]\n    breaking:\n      ignore: [shared]\n")
    (folder / "buf.yaml").write_text(rules)
    return folder


def buf(*arguments, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run the pinned buf. Its own launcher needs no install script; nothing is fetched."""
    launcher = installed(ROOT / "tests" / "node") / ".bin" / "buf"
    env = {**os.environ, "BUF_CACHE_DIR": str(cwd / "cache")}
    return subprocess.run([str(launcher), *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=120, env=env)


def git(*arguments) -> str | None:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def test_the_contract_keeps_the_rules_of_buf_and_everything_in_it_has_a_comment(tmp_path):
    done = buf("lint", cwd=workspace(tmp_path, PROTO))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_lint_finds_what_is_wrong(tmp_path):
    folder = workspace(tmp_path, PROTO)
    (folder / "contract" / "cordboard" / "v1" / "bad.proto").write_text(
        'syntax = "proto3";\npackage cordboard.v1;\nservice Bad { rpc do(Thing) returns (Thing); }\nmessage Thing { string Name = 1; }\n'
    )
    done = buf("lint", cwd=folder)
    assert done.returncode != 0 and "SERVICE_SUFFIX" not in done.stderr
    for rule in ("Service name", "RPC name", "Field name", "comment"):
        assert rule in done.stdout, done.stdout


def test_no_program_breaks_that_was_written_for_the_last_release(tmp_path):
    released = git("describe", "--tags", "--abbrev=0", "--match", "v*")
    if not released and not git("status", "--porcelain", "services/proto"):
        pytest.skip("no release of the contract yet, and no change since the last commit: nothing to compare with")
    before = released or git("rev-parse", "HEAD")
    old = tmp_path / "old-proto"
    for name in git("ls-tree", "-r", "--name-only", before, "services/proto").splitlines():
        file = old / Path(name).relative_to("services/proto")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(git("show", f"{before}:{name}") + "\n")
    now, then = workspace(tmp_path / "now", PROTO), workspace(tmp_path / "then", old)
    done = buf("breaking", "--against", then, cwd=now)
    assert done.returncode == 0, f"against {before}:\n{done.stdout}{done.stderr}"


def test_a_field_that_is_taken_away_is_found(tmp_path):
    now, then = workspace(tmp_path / "now", PROTO), workspace(tmp_path / "then", PROTO)
    file = now / "contract" / "cordboard" / "v1" / "routing_service.proto"
    field = "  int64 seed = 3;\n"
    text = file.read_text()
    assert field in text
    file.write_text(text.replace(field, ""))
    done = buf("breaking", "--against", then, cwd=now)
    assert done.returncode != 0 and '"seed"' in done.stdout, done.stdout + done.stderr


def test_the_program_in_node_takes_a_contact_from_a_live_server(tmp_path):
    folder = ROOT / "services" / "examples" / "node"
    installed(folder)
    with served(tmp_path, CENTER) as live:
        env = {**os.environ, "GOOGLEAPIS": str(SHARED)}
        done = subprocess.run(
            ["node", "agent.mjs", live.address, "li", "billing"], cwd=folder, capture_output=True, text=True, timeout=60, env=env
        )
        assert done.returncode == 0, done.stdout + done.stderr
        counts = live.engine.read(lambda acd: acd.counts()).result(5)
    steps = [json.loads(line) for line in done.stdout.splitlines()]
    names = [step["step"] for step in steps]
    assert names[0] == "connected" and {"enqueued", "offered", "applied", "refused"} <= set(names)
    assert next(step for step in steps if step["step"] == "offered") == {"step": "offered", "mine": True, "eligible": 1}
    assert next(step for step in steps if step["step"] == "refused") == {"step": "refused", "code": "FAILED_PRECONDITION", "details": True}
    revisions = steps[-1]["revisions"]
    assert revisions == list(range(1, len(revisions) + 1)) and len(revisions) >= 5
    assert counts["entered"] == counts["ended"] == 1
