"""What operators are given: every name in it exists, every expression parses, every command line is one."""

from __future__ import annotations

import configparser
import itertools
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("yaml")
pytest.importorskip("promql_parser")
pytest.importorskip("prometheus_client")
pytest.importorskip("sqlalchemy")
pytest.importorskip("grpc")

import promql_parser
import yaml
from prometheus_client.parser import text_string_to_metric_families

from cordboard.cli import build_parser
from cordboard.live.metrics import Metrics
from cordboard.live.webhooks import Webhooks
from cordboard.records import Follower
from tests.debian import unpacked
from tests.test_live_metrics import Site
from tests.test_live_webhooks import SECRET, Endpoint

pytestmark = pytest.mark.sources
ROOT = Path(__file__).resolve().parents[1]
DEPLOY = ROOT / "services" / "deploy"
REFERENCE = ROOT / "docs" / "reference" / "metrics.md"
ENDS = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
NAME = re.compile(r"\b(?:cordboard|process)_\w+\b")


def rules() -> list[dict]:
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text("utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict:
    found: dict = json.loads((ROOT / "services" / "grafana" / "cordboard.json").read_text("utf-8"))
    return found


def expressions() -> list[str]:
    panels = [target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]]
    return [*(rule["expr"] for rule in rules()), *panels]


@pytest.fixture(scope="module")
def families(tmp_path_factory) -> dict[str, set[str]]:
    """The metrics of a server with everything: each family's name and kind -> the names of its samples."""
    folder = tmp_path_factory.mktemp("site")
    site = Site(folder)
    follower = Follower(site.engine, folder / "records.db").start()
    webhooks = Webhooks(site.engine, [Endpoint("e", "http://127.0.0.1:9/", (SECRET,))], folder / "hooks.db")
    everything = Metrics()
    everything.watch("default", site.engine, follower, webhooks)
    found = {
        family.name: {family.name + end for end in ENDS[family.type]}
        for family in text_string_to_metric_families(everything.page().decode())
    }
    everything.close()
    follower.close()
    site.close()
    return found


def test_every_expression_parses_and_names_only_metrics_that_there_are(families):
    known = {name for names in families.values() for name in names}
    for expression in expressions():
        promql_parser.parse(expression.replace("$tenant", ".*"))
        assert set(NAME.findall(expression)) <= known, (expression, set(NAME.findall(expression)) - known)


def test_the_reference_lists_every_metric_and_every_alert_and_no_other(families):
    text = REFERENCE.read_text("utf-8")
    listed = {name.removesuffix("_total") for name in re.findall(r"`(cordboard_\w+)`", text)}
    assert listed == {name for name in families if name.startswith("cordboard_")}
    assert set(re.findall(r"`(Cordboard\w+)`", text)) == {rule["alert"] for rule in rules()}


def test_every_alert_says_what_it_is_in_both_languages_and_how_bad():
    for rule in rules():
        assert rule["annotations"]["summary"] and rule["annotations"]["zh"], rule["alert"]
        assert rule["labels"]["severity"] in ("page", "warn"), rule["alert"]


def promtool(*arguments: str | Path) -> str:
    program = unpacked("prometheus") / "usr" / "bin" / "promtool"
    done = subprocess.run([program, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_finds_nothing_wrong():
    assert "11 rules found" in promtool("check", "config", DEPLOY / "prometheus.yml")


def test_every_alert_is_raised_when_it_should_be_and_not_before(tmp_path):
    for file in (DEPLOY / "alerts.yml", ROOT / "tests" / "alerts_test.yml"):
        shutil.copy(file, tmp_path)
    promtool("test", "rules", tmp_path / "alerts_test.yml")
    tested = set(re.findall(r"alertname: (\w+)", (tmp_path / "alerts_test.yml").read_text("utf-8")))
    assert tested == {rule["alert"] for rule in rules()}


def test_the_panels_of_the_dashboard_do_not_overlap_and_have_titles_in_both_languages():
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for one, other in itertools.combinations([panel["gridPos"] for panel in panels], 2):
        apart = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        assert apart or one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"], (one, other)
    assert all(" / " in panel["title"] for panel in panels)


def accepted(words: list[str]) -> None:
    """The command line is one that the command takes; the parser ends the process otherwise."""
    assert Path(words[0]).name == "cordboard"
    build_parser("en", words[1]).parse_args(words[1:])


@pytest.mark.parametrize("unit", sorted(DEPLOY.glob("*.service")), ids=lambda path: path.name)
def test_the_commands_of_a_unit_are_ours_and_it_runs_as_nobody_special(unit):
    parser = configparser.RawConfigParser(strict=False)
    parser.optionxform = str
    parser.read(unit, "utf-8")
    lines = re.findall(r"^Exec\w+=(.+)$", unit.read_text("utf-8"), re.M)
    assert lines
    for line in lines:
        accepted(shlex.split(line))
    assert parser["Service"]["User"] == "cordboard" and parser["Service"]["UMask"] == "0077"


def test_the_unit_waits_longer_for_the_end_than_a_drain_takes():
    text = (DEPLOY / "cordboard.service").read_text("utf-8")
    drain, patience = re.search(r"--drain (\d+)", text), re.search(r"TimeoutStopSec=(\d+)", text)
    assert drain and patience and int(drain[1]) < int(patience[1])


def test_the_container_file_starts_the_server_without_being_root():
    text = re.sub(r"\\\n", " ", (DEPLOY / "Containerfile").read_text("utf-8"))
    steps = [(line.split()[0], line.split(maxsplit=1)[1]) for line in text.splitlines() if line and not line.startswith("#")]
    assert {name for name, _ in steps} <= set("FROM RUN WORKDIR COPY USER ENV VOLUME EXPOSE STOPSIGNAL HEALTHCHECK ENTRYPOINT CMD".split())  # noqa: SIM905
    last = dict(steps)
    accepted([*json.loads(last["ENTRYPOINT"]), *json.loads(last["CMD"])])
    assert last["USER"] not in ("0", "root") and last["STOPSIGNAL"] == "SIGTERM"
