"""The habits of the house, checked: size, arrows, banned calls, dead files, stubs, words.

The ratchet: what was too long when a rule came may stay as it is, named below with its size; it may shrink, not grow.
"""

from __future__ import annotations

import ast
import functools
import importlib
import re
import subprocess
from pathlib import Path

import pytest

import cordboard

pytestmark = pytest.mark.sources

ROOT = Path(__file__).resolve().parents[1]
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
LONG_FILES: dict[str, int] = {}
LONG_FUNCTIONS: dict[str, int] = {}


def tracked() -> list[Path]:
    """The files that git knows or would add; in a source distribution, which has no git, all of them."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    if listed.returncode == 0:
        paths = [ROOT / line for line in listed.stdout.splitlines()]
    else:
        paths = [p for folder in ("src", "tests", "benchmarks", "docs") for p in (ROOT / folder).rglob("*")]
    return [path for path in paths if path.is_file() and "__pycache__" not in path.parts]


FILES = tracked()


def named(*suffixes: str, under: str = "") -> list[Path]:
    return [p for p in FILES if p.suffix in suffixes and p.relative_to(ROOT).as_posix().startswith(under)]


def where(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def python_functions(path: Path) -> list[tuple[str, int]]:
    tree = ast.parse(path.read_text("utf-8"))
    return [
        (node.name, (node.end_lineno or node.lineno) - node.lineno + 1)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]


def cython_functions(path: Path) -> list[tuple[str, int]]:
    """Functions of a .pyx by indentation: from the line that starts one to the last line that is indented deeper."""
    lines = path.read_text("utf-8").splitlines()
    found = []
    for i, line in enumerate(lines):
        match = re.match(r"^( *)(?:def|cdef|cpdef)\s+(?!class|struct|enum|extern|packed)[^=#]*?(\w+)\(", line)
        if match is None:
            continue
        indent, end = len(match.group(1)), i
        for j in range(i + 1, len(lines)):
            text = lines[j]
            if text.strip():
                if len(text) - len(text.lstrip()) <= indent:
                    break
                end = j
        found.append((match.group(2), end - i + 1))
    return found


def functions(path: Path) -> list[tuple[str, int]]:
    return python_functions(path) if path.suffix == ".py" else cython_functions(path)


def expect_none(found: list[str], advice: str) -> None:
    assert not found, advice + ":\n  " + "\n  ".join(found)


def test_no_file_is_longer_than_one_idea() -> None:
    sizes = {where(p): len(p.read_text("utf-8").splitlines()) for p in named(".py", ".pyx", ".pxd", ".pyi", ".c", ".h")}
    long = [f"{key}: {n} lines" for key, n in sizes.items() if n > LONG_FILES.get(key, FILE_LINES_MAX)]
    expect_none(long, "Split these files")
    expect_none([key for key in LONG_FILES if sizes.get(key, 0) <= FILE_LINES_MAX], "Take these off the ratchet")


def test_no_function_is_longer_than_a_page() -> None:
    sizes = {f"{where(p)}:{name}": n for p in named(".py", ".pyx") for name, n in functions(p)}
    long = [f"{key}: {n} lines" for key, n in sizes.items() if n > LONG_FUNCTIONS.get(key, FUNCTION_LINES_MAX)]
    expect_none(long, "Split these functions")
    expect_none([key for key in LONG_FUNCTIONS if sizes.get(key, 0) <= FUNCTION_LINES_MAX], "Take these off the ratchet")


@functools.cache
def imported(path: Path) -> set[str]:
    """Names of the modules that a source file imports or cimports, at any depth, by absolute name."""
    text = path.read_text("utf-8")
    found: set[str] = set()
    if path.suffix == ".py":
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
        return found
    for match in re.finditer(r"^\s*from ([\w.]+) c?import (\([^)]*\)|.+)$|^\s*c?import ([\w., ]+)$", text, re.M):
        if match.group(1):
            names = re.sub(r"#.*", "", match.group(2)).strip("()").split(",")
            found |= {match.group(1)} | {f"{match.group(1)}.{name.split(' as ')[0].strip()}" for name in names}
        else:
            found |= {name.split(" as ")[0].strip() for name in match.group(3).split(",")}
    return found


def test_the_core_reads_no_clock_draws_no_chance_and_prints_nothing() -> None:
    banned = {"time", "random", "datetime", "os", "sys", "io", "socket", "logging", "libc.time", "libc.stdio", "numpy.random"}
    for path in named(".pyx", ".pxd", ".py", under="src/_core/"):
        assert not imported(path) & banned, f"{where(path)} imports {imported(path) & banned}"
        code = re.sub(r"#.*|\"\"\"[\s\S]*?\"\"\"", "", path.read_text("utf-8"))
        found = re.findall(r"\b(print|open|input|printf|rand|srand|drand48|gettimeofday|clock_gettime)\s*\(", code)
        assert not found, f"{where(path)} calls {found}"


def test_arrows_run_one_way() -> None:
    above = ("cordboard.services", "cordboard.client", "cordboard.v1", "cordboard.bindings")
    found = []
    for path in named(".py", ".pyx", ".pxd", under="src/"):
        modules = {m for m in imported(path) if m.startswith("cordboard.")}
        wrong = {m for m in modules if m.startswith(above)}
        if where(path).startswith("src/_core/"):
            wrong |= {m for m in modules if not m.startswith("cordboard._core")}
        found += [f"{where(path)} imports {m}" for m in sorted(wrong)]
    expect_none(found, "The library never imports what stands on it, nor the core the library")


def test_nothing_imports_a_room_by_its_folder() -> None:
    for path in named(".py", ".pyx"):
        folders = {name for name in imported(path) if name.split(".")[0] in {"services", "bindings", "src", "_core"}}
        assert not folders, f"{where(path)} imports {folders}: import it as cordboard.…"


def test_no_module_is_dead() -> None:
    used = set(cordboard._HOMES.values()) | {"cordboard.__main__"}
    for path in named(".py", ".pyx", ".pxd"):
        used |= {m for m in imported(path) if m.startswith("cordboard")}
    used |= {parent for m in used for parent in [".".join(m.split(".")[:k]) for k in range(1, m.count(".") + 1)]}
    found = []
    for path in named(".py", ".pyx", under="src/"):
        parts = list(path.relative_to(ROOT / "src").with_suffix("").parts)
        module = ".".join(["cordboard", *parts] if parts[0] == "_core" else parts).removesuffix(".__init__")
        by_folder = module.startswith(("cordboard.cli", "cordboard.records.migrations"))  # commands; Alembic's scripts
        if module not in used and not by_folder:
            found.append(f"{where(path)}: nobody imports {module}")
    expect_none(found, "Use or delete these modules")


def test_every_command_has_a_module_with_the_two_functions() -> None:
    from cordboard.cli import COMMANDS, command_module

    for name in COMMANDS:
        module = command_module(name)
        assert callable(module.add_arguments) and callable(module.run), name


def test_every_extension_has_a_stub_and_is_listed() -> None:
    listed = re.findall(r'^    "(\w+)": \[', (ROOT / "setup.py").read_text("utf-8"), re.M)
    sources = named(".pyx", under="src/_core/")
    expect_none([where(p) for p in sources if not p.with_suffix(".pyi").exists()], "These have no .pyi beside them")
    expect_none([where(p) for p in sources if p.stem not in listed], "List these in setup.py")
    expect_none(sorted(set(listed) - {p.stem for p in sources}), "setup.py lists what does not exist")


def test_every_package_is_listed() -> None:
    listed = re.findall(r'^    "(cordboard[\w.]*)": ', (ROOT / "setup.py").read_text("utf-8"), re.M)
    packages = {".".join(p.parent.relative_to(ROOT / "src").parts) for p in named(".py", under="src/cordboard/")}
    expect_none(sorted(packages - set(listed)), "List these packages in setup.py")


def test_every_public_name_exists_and_is_typed() -> None:
    text = (ROOT / "src" / "cordboard" / "__init__.py").read_text("utf-8")
    for name, home in cordboard._HOMES.items():
        assert getattr(importlib.import_module(home), name) is getattr(cordboard, name)
        assert f"from {home} import {name} as {name}" in text, f"{name} is missing under TYPE_CHECKING"


# Put together from parts, so that this file does not hold what it looks for.
MACHINE = re.compile(r"(?<![\w.~-])/(?:" + "|".join(["wo" + "rk", "ro" + "ot", "tm" + "p", "ho" + "me"]) + r")/[\w.]")
REGISTRY = re.compile("|".join(["py" + r"pi\.org", "pythonhos" + r"ted\.org", "files\\.python" + "hosted", "proxy\\.gol" + "ang", "npm" + "js\\."]))


def test_no_file_names_a_machines_path_or_a_package_registry() -> None:
    found = []
    for path in FILES:
        if path.suffix in {".png", ".svg", ".so", ".gz", ".whl"} or path.name == "LICENSE":
            continue
        text = path.read_text("utf-8", errors="replace")
        found += [f"{where(path)}: {m.group(0)!r}" for p in (MACHINE, REGISTRY) if (m := p.search(text))]
    expect_none(found, "Take these addresses out")


def test_nothing_is_left_unfinished() -> None:
    words = re.compile("|".join([r"\bTO" + r"DO\b", r"\bFIX" + r"ME\b", r"\bX" + r"XX\b"]))
    found = [where(p) for p in named(".py", ".pyx", ".pxd", ".pyi", ".md", ".toml") if words.search(p.read_text("utf-8"))]
    found += [where(p) for p in named(".py", ".pyx", under="src/") if "NotImplementedError" in p.read_text("utf-8")]
    expect_none(found, "Finish these")


def test_both_readmes_show_the_two_commands_at_their_top() -> None:
    for name in ("README.md", "README.zh.md"):
        top = "\n".join((ROOT / name).read_text("utf-8").splitlines()[:40])
        assert "make demo" in top and "make test" in top, name


def test_the_version_stands_in_one_place() -> None:
    assert not re.search(r"^version =", (ROOT / "pyproject.toml").read_text("utf-8"), re.M)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", cordboard.__version__)


_C_FUNCTION = re.compile(
    r"^ *c(?:p)?def +(?!class|struct|enum|extern|packed|union|public|readonly)(?P<type>[^=\n#(]*?)(?P<name>\w+)\(", re.M
)
# What returns a Python object reports its errors by itself.
_OBJECT = re.compile(r"^(inline +)?(object|tuple|list|dict|set|str|bytes|int|float|(np|cnp)\.ndarray|[A-Z]\w*) *$")


def after_arguments(text: str) -> str:
    """The rest of the line behind the parenthesis that closes an argument list."""
    depth = 1
    for i, char in enumerate(text):
        depth += {"(": 1, ")": -1}.get(char, 0)
        if depth == 0:
            return text[i + 1 :].split("\n", 1)[0]
    return ""


def test_every_c_function_says_how_it_fails() -> None:
    found = []
    for path in named(".pyx", ".pxd", under="src/_core/"):
        text = path.read_text("utf-8")
        for match in _C_FUNCTION.finditer(text):
            kind = match.group("type").strip()
            if not kind.replace("inline", "").strip() or (_OBJECT.match(kind + " ") and not kind.endswith("_C")):
                continue
            if "except" not in after_arguments(text[match.end() :]):
                found.append(f"{where(path)}: {match.group('name')}")
    expect_none(found, "Say noexcept, except -1 or except NULL")
