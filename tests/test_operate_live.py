"""What operators are given, at work: Prometheus scrapes a live server, its rules and every panel find data there; the
units are checked by systemd's own tool and their lines run; the container's check of health tells the living from the dead."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("yaml")
pytest.importorskip("grpc")
pytest.importorskip("sqlalchemy")
pytest.importorskip("prometheus_client")

import pyrage

from cordboard.client import CallError, Client
from tests.clocks import until
from tests.debian import unpacked
from tests.postgres import free_port
from tests.test_live_webhooks import SECRET, Receiver
from tests.test_operate import DEPLOY, dashboard, rules
from tests.test_services_beside import serve

pytestmark = [pytest.mark.sources, pytest.mark.xdist_group("operate")]

CENTER = "[queues.billing]\nwrap_up = 0\n[agents.li]\nskills = {}\n"


@dataclass
class Watched:
    """A server with calls going on, and Prometheus that scrapes it every second."""

    server: subprocess.Popen[str]
    prometheus: str

    def ask(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"{self.prometheus}{path}?{urllib.parse.urlencode(query)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def values(self, expression: str) -> list[float]:
        """What an expression gives now; what is not a number is nothing to see."""
        found = [float(one["value"][1]) for one in self.ask("/api/v1/query", query=expression)["result"]]
        return [value for value in found if not math.isnan(value)]


def take_calls(address: str, stop: threading.Event) -> None:
    """An agent takes one call after the other; some callers hang up, and now and then a client is out of step."""
    with contextlib.suppress(CallError), Client(address) as client, client.connect("li") as line:  # until it is killed
        line.ready()
        client.enqueue("billing", "first")
        offers = (message.offer.contact for message in line if message.HasField("offer"))
        for number, contact in enumerate(offers):
            if stop.is_set():
                return
            line.accept(contact)
            line.end(contact)
            client.enqueue("billing", f"c{number}")
            client.enqueue("billing", f"short-{number}")
            for name in (f"short-{number}", "nobody")[: 2 if number % 10 == 0 else 1]:
                with contextlib.suppress(CallError):
                    client.leave(name)
            stop.wait(0.05)


@contextlib.contextmanager
def prometheus(folder: Path, target: str) -> Iterator[str]:
    """Prometheus with our configuration and our rules, but quicker; gives its address."""
    programs = unpacked("prometheus") / "usr" / "bin"
    text = (DEPLOY / "prometheus.yml").read_text("utf-8")
    quick = text.replace("127.0.0.1:9464", target).replace("scrape_interval: 15s", "scrape_interval: 1s\n  evaluation_interval: 1s")
    assert quick.count("1s") == 2 and target in quick
    (folder / "prometheus.yml").write_text(quick, "utf-8")
    shutil.copy(DEPLOY / "alerts.yml", folder)
    address = f"127.0.0.1:{free_port()}"
    command = [programs / "prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb", f"--web.listen-address={address}"]
    with open(folder / "prometheus.log", "wb") as log:
        process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, cwd=folder)
    try:
        yield f"http://{address}"
    finally:
        process.kill()
        process.wait(30)


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder, receiver, stop = tmp_path_factory.mktemp("operate"), Receiver(), threading.Event()
    receiver.answers = [500]
    (folder / "center.toml").write_text(CENTER, "utf-8")
    (folder / "hooks.toml").write_text(f'[webhooks.crm]\nurl = "{receiver.url}"\nsecret = "{SECRET}"\n', "utf-8")
    server, ready = serve(folder, "--webhooks", str(folder / "hooks.toml"))
    calls = threading.Thread(target=take_calls, args=(ready["address"], stop), daemon=True)
    try:
        with prometheus(folder, ready["metrics"]) as address:
            calls.start()
            found = Watched(server, address)
            until(lambda: answers(address, "/-/ready"))
            until(lambda: found.values('up{job="cordboard"}') == [1.0])
            yield found
    finally:
        stop.set()
        if calls.is_alive():
            calls.join(10)
        server.kill()
        server.wait(30)
        receiver.server.shutdown()
        receiver.server.server_close()


def answers(address: str, path: str) -> bool:
    try:
        with urllib.request.urlopen(address + path, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def test_every_panel_of_the_dashboard_shows_data_of_a_live_server(watched):
    [_, tenant] = dashboard()["templating"]["list"]
    metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", tenant["query"]["query"]).groups()
    until(lambda: watched.ask(f"/api/v1/label/{label}/values", **{"match[]": metric}) == ["default"])
    empty = {target["expr"] for panel in dashboard()["panels"] for target in panel["targets"]}
    assert len(empty) > 20

    def none_is_empty() -> bool:
        empty.difference_update([one for one in empty if watched.values(one.replace("$tenant", "default"))])
        return not empty

    with contextlib.suppress(AssertionError):
        until(none_is_empty)
    assert not empty


def test_every_rule_is_evaluated_and_a_server_that_is_gone_is_seen(watched):
    def groups() -> list[dict[str, Any]]:
        return [rule for group in watched.ask("/api/v1/rules")["groups"] for rule in group["rules"]]

    until(lambda: all(rule["health"] != "unknown" for rule in groups()))
    found = groups()
    assert {rule["name"] for rule in found} == {rule["alert"] for rule in rules()}
    assert {rule["health"] for rule in found} == {"ok"} and not any(rule.get("lastError") for rule in found)
    assert not [alert for alert in watched.ask("/api/v1/alerts")["alerts"] if alert["state"] == "firing"]
    watched.server.kill()
    until(lambda: [alert["labels"]["alertname"] for alert in watched.ask("/api/v1/alerts")["alerts"]].count("CordboardDown"))


# ---- the units


def systemd_analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    folder = unpacked("systemd")
    libraries = [str(path) for part in ("", "/systemd") for path in folder.glob(f"usr/lib/*-linux-gnu{part}")]
    env = {**os.environ, "LD_LIBRARY_PATH": ":".join(libraries)}
    command = [str(folder / "usr" / "bin" / "systemd-analyze"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A root folder in which the units lie where they are installed, with systemd's own and a command beside them."""
    root, program = tmp_path / "root", tmp_path / "root" / "opt" / "cordboard" / "bin" / "cordboard"
    shutil.copytree(unpacked("systemd") / "lib" / "systemd", root / "usr" / "lib" / "systemd", symlinks=True)
    (root / "lib").symlink_to("usr/lib")
    units = root / "etc" / "systemd" / "system"
    units.mkdir(parents=True)
    for file in (*DEPLOY.glob("*.service"), *DEPLOY.glob("*.timer")):
        shutil.copy(file, units)
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    return root


def test_systemd_finds_nothing_wrong_with_the_units(installed):
    names = sorted(path.name for path in (installed / "etc/systemd/system").iterdir())
    assert names == ["cordboard-backup.service", "cordboard-backup.timer", "cordboard-media.service", "cordboard.service"]
    done = systemd_analyze("verify", "--man=no", f"--root={installed}", *names)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    unit = installed / "etc/systemd/system/cordboard.service"
    unit.write_text(unit.read_text().replace("NoNewPrivileges", "NoNewPrivilege"))
    assert "NoNewPrivilege" in systemd_analyze("verify", "--man=no", f"--root={installed}", *names).stderr


@pytest.mark.parametrize("unit", sorted(DEPLOY.glob("*.service")), ids=lambda path: path.name)
def test_systemd_calls_the_units_well_kept_in(unit):
    done = systemd_analyze("security", "--offline=yes", "--threshold=40", unit)
    assert done.returncode == 0, done.stdout[-600:]


def commands(unit: str, folder: Path) -> list[list[str]]:
    """The command lines of a unit, in order, with a folder in the place of the root and this Python's cordboard."""
    lines = re.findall(r"^Exec\w+=(.+)$", (DEPLOY / unit).read_text("utf-8"), re.M)
    moved = [re.sub(r"(?<= )/(?=etc|var)", f"{folder}/", line) for line in lines]
    return [[sys.executable, "-m", "cordboard", *shlex.split(line)[1:]] for line in moved]


def test_the_lines_of_the_units_check_serve_back_up_drill_and_stop(tmp_path):
    # given what the units expect in /etc and /var
    etc, var = tmp_path / "etc" / "cordboard", tmp_path / "var" / "lib" / "cordboard"
    for path in (etc, var, tmp_path / "var" / "backups" / "cordboard"):
        path.mkdir(parents=True)
    key = pyrage.x25519.Identity.generate()
    (etc / "backup-recipients").write_text(f"{key.to_public()}\n")
    (etc / "drill-identity").write_text(f"{key}\n")
    (etc / "drill-identity").chmod(0o600)
    (etc / "center.toml").write_text(CENTER)
    (etc / "server.toml").write_text(f'[server]\nlisten = "127.0.0.1:{free_port()}"\n[tenants.acme]\ncenter = "center.toml"\n')
    check, start = commands("cordboard.service", tmp_path)
    keep = {"text": True, "umask": 0o077}
    # when
    assert subprocess.run(check, capture_output=True, timeout=60, **keep).returncode == 0
    server = subprocess.Popen([*start, "--metrics", "off"], stdout=subprocess.PIPE, **keep)
    try:
        address = server.stdout.readline().split()[-1]
        with Client(address, tenant="acme") as client:
            client.enqueue("billing", "c1")
        for line in commands("cordboard-backup.service", tmp_path):
            done = subprocess.run(line, capture_output=True, timeout=120, **keep)
            assert done.returncode == 0, done.stdout + done.stderr
        server.send_signal(signal.SIGTERM)
        server.send_signal(signal.SIGTERM)
        # then
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.communicate()
    files = [path for path in (tmp_path / "var").rglob("*") if path.is_file() and path.name != "audit.public.jwks"]
    assert {path.name for path in files} >= {"journal.db", "records.db", "latest.age"}
    assert not [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]


def test_the_container_s_check_of_health_tells_the_living_from_the_dead(tmp_path):
    text = (DEPLOY / "Containerfile").read_text("utf-8")
    _, *arguments = json.loads(re.search(r"^HEALTHCHECK .*? CMD (\[.+\])$", text, re.M)[1])
    (tmp_path / "center.toml").write_text(CENTER, "utf-8")
    server, ready = serve(tmp_path)

    def healthy() -> bool:
        command = [sys.executable, *(part.replace("127.0.0.1:9464", ready["metrics"]) for part in arguments)]
        return subprocess.run(command, capture_output=True, timeout=30).returncode == 0

    try:
        assert healthy()
    finally:
        server.kill()
        server.wait(30)
        server.stdout.close()
    assert not healthy()
