"""The package as users get it: wheel, sdist, editable, a vendor's extension; each in a folder and environment of its own.

Environments see the packages of the one that runs the tests (NumPy, Cython, setuptools, rich), through a .pth file, but
not its cordboard: what is tested is what was just built.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

import cordboard
from cordboard.learning.compiled import compile_trees

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("src", "services", "bindings", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "README.zh.md", "CHANGELOG.md", "LICENSE", "Makefile")
SMOKE = """
import sys, pathlib, cordboard, cordboard._core.queueing as core
assert pathlib.Path(cordboard.__file__).is_relative_to(sys.argv[1]), cordboard.__file__
from cordboard.queueing import erlang_c, minimum_agents
assert minimum_agents(200 / 1800, 300, service_level=0.8) == 39
print(cordboard.__version__, core.__file__)
"""

pytestmark = [pytest.mark.packaging, pytest.mark.slow, pytest.mark.sources, pytest.mark.xdist_group("packaging")]


def run(*command, cwd):
    env = {**os.environ, "CORDBOARD_OPTIMIZE": "0", "PYTHONPATH": ""}
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, env=env)
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def environment(folder: Path) -> Path:
    """A virtual environment that sees the test environment's libraries; returns its python."""
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    # A path line in a .pth adds the folder without reading the .pth files in it, such as an editable cordboard's.
    Path(site, "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def install(python: Path, *what, cwd: Path) -> None:
    # Its own pip comes with the libraries above.
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index", "--ignore-installed", *what, cwd=cwd)


@pytest.fixture(scope="session")
def sources(tmp_path_factory) -> Path:
    """A copy of the sources as a fresh clone has them: no compiled files."""
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.so", "*.pyc", "__pycache__", "node_modules"))
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, folder)
    for name in ("docs", "tests", "benchmarks"):
        (folder / name).mkdir()
    return folder


@pytest.fixture(scope="session")
def built(sources, tmp_path_factory) -> dict[str, Path]:
    """The sdist, and the wheel that is built from it: the way a release is made."""
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ".", cwd=sources)
    (sdist,) = out.glob("*.tar.gz")
    (wheel,) = out.glob("*.whl")
    return {"sdist": sdist, "wheel": wheel}


@pytest.fixture(scope="session")
def wheel_python(built, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    python = environment(folder / "venv")
    install(python, built["wheel"], cwd=folder)
    return python


def test_the_wheel_holds_types_declarations_and_no_sources_of_c(built):
    names = zipfile.ZipFile(built["wheel"]).namelist()
    assert "cordboard/py.typed" in names and "cordboard/_core/api.pxd" in names
    for stub in (ROOT / "src" / "_core").glob("*.pyi"):
        assert f"cordboard/_core/{stub.name}" in names
        assert any(name.startswith(f"cordboard/_core/{stub.stem}.") and name.endswith(".so") for name in names), stub.stem
    assert not [n for n in names if n.endswith((".c", ".pyx")) or not n.startswith(("cordboard/", "cordboard-"))]
    assert any(name.endswith("licenses/LICENSE") for name in names)
    bindings = [name for name in names if name.startswith("cordboard/bindings/")]
    assert "cordboard/bindings/pjsip/backend.py" in bindings
    assert all(name.endswith((".py", ".pyi")) for name in bindings), "nothing of PJSIP's, nothing of its build"


def test_the_sdist_holds_what_building_needs_and_nothing_compiled(built):
    with tarfile.open(built["sdist"]) as archive:
        names = [name.split("/", 1)[1] for name in archive.getnames() if "/" in name]
    assert {"setup.py", "pyproject.toml", "LICENSE", "src/_core/api.pxd", "src/_core/queueing.pyx"} <= set(names)
    assert not [name for name in names if name.endswith((".so", ".pyc"))]
    handwritten = {p.name for p in (ROOT / "src" / "_core").glob("*.h")}
    assert handwritten <= {Path(name).name for name in names}


def test_the_wheel_works_outside_the_repository(wheel_python, tmp_path):
    shown = run(wheel_python, "-c", SMOKE, wheel_python.parents[1], cwd=tmp_path)
    command = wheel_python.parent / "cordboard"
    assert run(command, "--version", cwd=tmp_path).split()[1] == shown.split()[0]
    assert '"agents": 39' in run(command, "staff", "--calls", "200", "--aht", "300", "--json", cwd=tmp_path)


def test_the_editable_install_uses_the_sources_themselves(sources, tmp_path):
    python = environment(tmp_path / "venv")
    install(python, "--editable", sources, cwd=tmp_path)
    shown = run(python, "-c", SMOKE, sources, cwd=tmp_path)
    assert Path(shown.split()[1]).is_relative_to(sources)
    (sources / "src" / "cordboard" / "words.py").open("a").write("\nADDED = 1\n")
    run(python, "-c", "from cordboard.words import ADDED", cwd=tmp_path)


def some_trees():
    """Compiled trees as arrays: the environment of the wheel has no scikit-learn to train any."""
    rows = np.random.default_rng(2).normal(size=(2000, 4))
    model = HistGradientBoostingClassifier(max_iter=5).fit(rows, rows[:, 0] * rows[:, 1] > 0)
    return compile_trees(model).arrays()


def test_a_vendor_compiles_against_the_installed_wheel_and_runs(wheel_python, tmp_path):
    # given a vendor's project, copied away from the repository
    project = tmp_path / "acme"
    shutil.copytree(ROOT / "tests" / "vendor", project)
    # when it is built in the environment where the wheel is installed
    install(wheel_python, project, cwd=tmp_path)
    # then its C code gives what Python gives, and drives the engine
    check = """
from acme.engine import first_of_two, formulas, score_learner, score_trees, serve
from cordboard.center import parse_center
from cordboard.queueing import erlang_b, erlang_c, measures, minimum_agents
b, c, level, fewest = formulas(12, 9.0)
assert (b, c) == (erlang_b(12, 9.0), erlang_c(12, 9.0))
assert level == measures(12, 9 / 180, 180, patience=120).service_level
assert fewest == minimum_agents(9 / 180, 180, service_level=0.8)
center = parse_center('[queues.sales]\\n[agents.li]\\n')
accepted, timer, code = serve(center, 1000)
assert accepted == 1000 and timer == float("inf") and code < 0, (accepted, timer, code)
assert first_of_two(center) == 72

import numpy as np
from cordboard import AnswerModel
from cordboard.learning import synthetic
from cordboard.learning.compiled import CompiledTrees
made = synthetic.attempts(500, 1)
model = AnswerModel(synthetic.schema())
model.replay(made.table, made.results)
rows, learner = model.encoder.encode(made.table), model.heads["person"].champion.learner
out, extra = np.empty(501), np.full(500, np.nan)
score_learner(learner, rows.numbers, rows.codes, rows.cells, extra, out)
assert out[:500].tobytes() == model.heads["person"].predict(rows).tobytes() and np.isnan(out[500])
trees = CompiledTrees(dict(np.load("trees.npz")))
rows, out = np.random.default_rng(1).normal(size=(100, 4)), np.empty(100)
score_trees(trees, rows, out)
assert out.tobytes() == np.array([trees.predict_one(row) for row in rows]).tobytes() and out.std() > 0.1
"""
    np.savez(tmp_path / "trees.npz", **some_trees())
    run(wheel_python, "-c", check, cwd=tmp_path)


def test_importing_needs_numpy_alone(tmp_path):
    # given a Python in which every other library refuses to be imported
    check = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"sklearn", "scipy", "grpc", "rich", "matplotlib", "ray", "lightgbm", "psycopg", "simpy", "pjsua2"}:
            raise ImportError(f"{name} was imported")
sys.meta_path.insert(0, Refuse())
import cordboard
for name in cordboard.__all__:
    getattr(cordboard, name)
"""
    run(sys.executable, "-c", check, cwd=tmp_path)


def test_importing_loads_no_module_before_it_is_needed(tmp_path):
    check = "import sys, cordboard; print(*sorted(m for m in sys.modules if m.startswith('cordboard')))"
    assert run(sys.executable, "-c", check, cwd=tmp_path).split() == ["cordboard"]


WORK = """
import contextlib, hashlib, io, json, sys
from cordboard.cli import main
from cordboard.learning import registry, synthetic
from cordboard import AnswerModel

def told(*command):
    out = io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(out):
        assert main(list(command)) == 0, command
        out.flush()
    return out.buffer.getvalue()

def show(name, data):
    print(name, len(data), hashlib.sha256(data).hexdigest())

examples = sys.argv[1]
show("replay", told("replay", f"{examples}/center.toml", f"{examples}/journal.jsonl", "--until", "900"))
world = [f"{examples}/center.toml", "--scenario", f"{examples}/scenario.toml", "--replications", "3", "--json"]
simulated = json.loads(told("simulate", *world))
assert simulated.pop("kernel_seconds", 0.0) >= 0.0
show("simulate", json.dumps(simulated).encode())
show("pace", told("pace", "--agents", "6", "--hours", "1", "--seeds", "2", "--json"))
show("staff", told("staff", "--calls", "200", "--patience", "180", "--json"))
made = synthetic.attempts(3000, 1)
model = AnswerModel(synthetic.schema())
said = model.replay(made.table, made.results, delay=20)
show("learn", b"".join(said[name].tobytes() for name in sorted(said)) + registry.to_bytes(model))
"""


def test_two_builds_give_the_same_bytes(wheel_python, tmp_path):
    """The wheel is built without optimization, what runs the tests with all of it: as two machines might differ."""
    (tmp_path / "work.py").write_text(WORK)
    here = str(Path(cordboard.__file__).resolve(strict=True).parents[1])
    tree = ROOT / "build" / "tree"
    env = {**os.environ, "PYTHONPATH": str(tree) if (tree / "cordboard").is_dir() else here}
    command = [sys.executable, tmp_path / "work.py", ROOT / "docs" / "examples"]
    ours = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=env, check=True).stdout
    theirs = run(wheel_python, tmp_path / "work.py", ROOT / "docs" / "examples", cwd=tmp_path)
    assert ours.count("\n") == 5 and theirs == ours


def test_what_the_container_file_installs_and_starts_serves_tells_its_health_and_ends_at_its_signal(built, wheel_python, tmp_path):
    # given the wheel with the extras of the container file, and the settings, certificates and tokens that it looks for
    text = re.sub(r"\\\n", " ", (ROOT / "services" / "deploy" / "Containerfile").read_text("utf-8"))
    extras = re.search(r"pip install .*'\.\[([\w,]+)\]'", text)[1].split(",")
    with zipfile.ZipFile(built["wheel"]) as wheel:
        (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        offered = wheel.read(metadata).decode()
    for extra in extras:
        assert f"Provides-Extra: {extra}\n" in offered
        for name in re.findall(rf"^Requires-Dist: ([\w.-]+).*; extra == \"{extra}\"$", offered, re.M):
            assert importlib.metadata.version(name), f"{name}, which the image gets, is not in the environment of the tests"
    places = {"/etc/cordboard": str(tmp_path / "etc"), "/var/lib/cordboard": str(tmp_path / "var")}
    settings = Path(places["/etc/cordboard"])
    settings.mkdir()
    cordboard_command = wheel_python.parent / "cordboard"
    run(cordboard_command, "certs", "init", settings, cwd=settings)
    run(cordboard_command, "certs", "server", "--host", "localhost", settings, cwd=settings)
    (settings / "center.toml").write_text("[queues.sales]\n")
    (settings / "server.toml").write_text(
        '[tls]\ncertificate = "server.pem"\nkey = "server.key"\nclients = "ca.pem"\n[tenants.acme]\ncenter = "center.toml"\n'
    )
    # when it is started as the image starts it, but for the ports
    last = dict(line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#"))
    words = [*json.loads(last["ENTRYPOINT"]), *json.loads(last["CMD"]), "--json"]
    for there, here in {**places, "0.0.0.0:7443": "127.0.0.1:0", "127.0.0.1:9464": "127.0.0.1:0"}.items():
        words = [word.replace(there, here) for word in words]
    env = {**os.environ, "PATH": f"{wheel_python.parent}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1", "PYTHONPATH": ""}
    server = subprocess.Popen(words, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
    try:
        ready = json.loads(server.stdout.readline())
        python, *check = json.loads(re.search(r"CMD (\[.+\])", last["HEALTHCHECK"])[1])
        check = [word.replace("127.0.0.1:9464", ready["metrics"]) for word in check]
        # then its check of health says yes, and its signal ends it
        assert subprocess.run([python, *check], env=env, timeout=60).returncode == 0
        server.send_signal(signal.Signals[last["STOPSIGNAL"]])
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.communicate()
    assert (tmp_path / "var" / "acme" / "journal.db").exists()
