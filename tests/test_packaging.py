"""The package as users get it: wheel, sdist, editable, a vendor's extension; each in a folder and environment of its own.

Environments see the packages of the one that runs the tests (NumPy, Cython, setuptools, rich), through a .pth file, but
not its cordboard: what is tested is what was just built.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ("src", "services", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "README.zh.md", "CHANGELOG.md", "LICENSE", "Makefile")
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


def test_a_vendor_compiles_against_the_installed_wheel_and_runs(wheel_python, tmp_path):
    # given a vendor's project, copied away from the repository
    project = tmp_path / "acme"
    shutil.copytree(ROOT / "tests" / "vendor", project)
    # when it is built in the environment where the wheel is installed
    install(wheel_python, project, cwd=tmp_path)
    # then its C code gives what Python gives, and drives the engine
    check = """
from acme.engine import formulas, serve
from cordboard.center import parse_center
from cordboard.queueing import erlang_b, erlang_c, measures, minimum_agents
b, c, level, fewest = formulas(12, 9.0)
assert (b, c) == (erlang_b(12, 9.0), erlang_c(12, 9.0))
assert level == measures(12, 9 / 180, 180, patience=120).service_level
assert fewest == minimum_agents(9 / 180, 180, service_level=0.8)
center = parse_center('[queues.sales]\\n[agents.li]\\n')
accepted, timer, code = serve(center, 1000)
assert accepted == 1000 and timer == float("inf") and code < 0, (accepted, timer, code)
"""
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
