"""Every example in the words is run, and every link in them leads somewhere.

- ```python blocks with ``>>>`` are doctests; the blocks of one page share their names, in order.
- ```console blocks: each line that begins with ``$ cordboard`` is run, where docs/examples is a copy; it must end with
  status 0, or with N where the line ends with ``# status N``.
"""

from __future__ import annotations

import doctest
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("README*.md"), ROOT / "CHANGELOG.md", *(ROOT / "docs").rglob("*.md")])
PAGES = [page for page in PAGES if page.exists()]
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```", re.M | re.S)
SECONDS_MAX = 300


def name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[tuple[int, str]]:
    """(line number, text) of each fenced block of the language."""
    text = page.read_text("utf-8")
    return [
        (text.count("\n", 0, match.start()) + 1, match.group(2))
        for match in BLOCK.finditer(text)
        if match.group(1) == language
    ]


def commands(page: Path) -> list[tuple[int, str]]:
    return [
        (first + offset, line.removeprefix("$ "))
        for first, text in blocks(page, "console")
        for offset, line in enumerate(text.replace("\\\n", " ").splitlines(), 1)
        if line.startswith("$ cordboard")
    ]


@pytest.fixture
def examples(tmp_path, monkeypatch) -> Path:
    """A working folder like the root of the project, with docs/examples and an empty build/, where examples may write."""
    shutil.copytree(ROOT / "docs" / "examples", tmp_path / "docs" / "examples")
    (tmp_path / "build").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


with_python = [page for page in PAGES if any(">>>" in text for _, text in blocks(page, "python"))]
with_commands = [page for page in PAGES if commands(page)]


@pytest.mark.parametrize("page", with_python, ids=name)
def test_the_python_of_a_page_gives_what_the_page_says(page, examples):
    parser, names = doctest.DocTestParser(), {"__name__": "__main__"}
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    wrong: list[str] = []
    for line, text in blocks(page, "python"):
        if ">>>" not in text:
            continue
        example = parser.get_doctest(text, names, name(page), name(page), line)
        runner.run(example, out=wrong.append, clear_globs=False)
        names.update(example.globs)
    assert not wrong, "".join(wrong)


@pytest.mark.parametrize("page", with_commands, ids=name)
def test_the_commands_of_a_page_end_as_the_page_says(page, examples):
    for line, text in commands(page):
        command, _, comment = text.partition("  # ")
        wanted = int(comment.removeprefix("status ")) if comment.startswith("status ") else 0
        # `cordboard` is this interpreter's; pipes and redirections are the shell's.
        shell = re.sub(r"\bcordboard\b(?= )", lambda _: f"{shlex.quote(sys.executable)} -m cordboard", command)
        done = subprocess.run(["bash", "-o", "pipefail", "-c", shell], capture_output=True, text=True, timeout=SECONDS_MAX)
        assert done.returncode == wanted, f"{name(page)}:{line}: {command}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"


def anchors(page: Path) -> set[str]:
    """The fragments that headings make, by the rule of the usual forges."""
    found = set()
    for heading in re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S), re.M):
        found.add(re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_the_links_of_a_page_lead_somewhere(page):
    text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.S)
    for target in re.findall(r"\]\(([^)\s]+)\)|<img[^>]*src=\"([^\"]+)\"", text):
        link = target[0] or target[1]
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, fragment = link.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{name(page)} links to {link}, which does not exist"
        if fragment and there.suffix == ".md":
            assert fragment in anchors(there), f"{name(page)} links to {link}, but there is no such heading"


@pytest.mark.parametrize("module", ["cordboard.queueing", "cordboard.staffing", "cordboard.patience"])
def test_the_examples_in_docstrings_hold(module):
    __import__(module)
    result = doctest.testmod(sys.modules[module])
    assert result.failed == 0


def test_there_are_examples_to_run():
    assert len(with_python) >= 3 and len(with_commands) >= 3
