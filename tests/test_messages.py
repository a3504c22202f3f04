"""Every error can say itself in Chinese: the places that raise are read, and each sentence there looked up."""

from __future__ import annotations

import ast
import functools
import inspect
import pickle
import re
from collections.abc import Iterable, Iterator
from importlib import resources
from pathlib import Path

import pytest

from cordboard import errors, plots
from cordboard.cli import main
from cordboard.errors import EventError, LimitError, MissingExtraError, UnknownNameError, Where
from cordboard.messages import catalog, chinese, pairs

ROOT = Path(__file__).resolve().parents[1]
SOURCES = tuple(ROOT / folder for folder in ("src/cordboard", "services", "bindings"))
CARRIED = ("what", "hint")  # parameters of these names carry sentences
HINTS = ("nearest",)  # functions that make hints for other modules; their own module uses them too
Function = ast.FunctionDef | ast.AsyncFunctionDef
NOT_ENGLISH = re.compile(r"[^\x00-\x7f]")


def template(node: ast.Constant | ast.JoinedStr) -> str:
    """The sentence, with {} where something is put in, without its full stop."""
    parts = node.values if isinstance(node, ast.JoinedStr) else [node]
    return "".join(str(p.value) if isinstance(p, ast.Constant) else "{}" for p in parts).removesuffix(".")


def carried(parameters: Iterable[str]) -> dict[str, int]:
    """Which of the parameters carry sentences, and their places in a call."""
    names = [name for name in parameters if name != "self"]
    return {name: names.index(name) for name in CARRIED if name in names}


def callee(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


# class of error -> what its constructor carries; `kind` is the house's name for a variable that holds one, `Wrong` and
# `warn` are those of cordboard.toml_reader
ERRORS = {
    name: carried(inspect.signature(kind.__init__).parameters)
    for name, kind in vars(errors).items()
    if isinstance(kind, type) and issubclass(kind, errors.CordboardError)
} | {"kind": {"what": 0, "hint": 2}, "Wrong": {"what": 1, "hint": 2}, "warn": {"what": 1, "hint": 2}}


class Reader:
    """Finds the sentences of the errors of one module: from each call that takes one back to where it is written."""

    def __init__(self, path: Path) -> None:
        self.name = path.relative_to(ROOT).as_posix()
        self.tree = ast.parse(path.read_text("utf-8"))
        self.functions = {node.name: node for node in ast.walk(self.tree) if isinstance(node, Function)}
        self.carriers = dict(ERRORS)  # function or class -> parameter -> its place in a call
        for node in ast.walk(self.tree):
            if isinstance(node, ast.ClassDef) and any(re.search("Error|Exception", ast.unparse(b)) for b in node.bases):
                for made in node.body:
                    if isinstance(made, Function) and made.name == "__init__":
                        self.carriers[node.name] = carried(a.arg for a in made.args.args)
        known = 0
        while known < len(self.carriers):  # and who hands on what it was given
            known = len(self.carriers)
            for name, function in self.functions.items():
                places = carried(a.arg for a in function.args.args)
                if places and self._hands_on(function):
                    self.carriers[name] = places

    def _hands_on(self, function: Function) -> bool:
        calls = [call for call in ast.walk(function) if isinstance(call, ast.Call) and callee(call) in self.carriers]
        given = [a for call in calls for a in [*call.args, *(k.value for k in call.keywords)]]
        return any(isinstance(a, ast.Name) and a.id in CARRIED for a in given)

    def found(self) -> Iterator[tuple[str, str]]:
        """(place, template) of every sentence that an error may carry."""
        for inside, call in self._calls(self.tree, ()):
            for parameter, place in self.carriers.get(callee(call), {}).items():
                given = [k.value for k in call.keywords if k.arg == parameter] + call.args[place : place + 1]
                for node in given[:1]:
                    where = f"{self.name}:{call.lineno}"
                    yield from ((where, text) for text in self._sentences(node, inside, where))

    def _calls(self, node: ast.AST, inside: tuple[Function, ...]) -> Iterator[tuple[tuple[Function, ...], ast.Call]]:
        """Every call with the functions that it stands in, the innermost first."""
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Call):
                yield inside, child
            yield from self._calls(child, (child, *inside) if isinstance(child, Function) else inside)

    def _sentences(self, node: ast.expr, inside: tuple[Function, ...], where: str) -> list[str]:
        def go(*nodes: ast.expr) -> list[str]:
            return [text for one in nodes for text in self._sentences(one, inside, where)]

        if isinstance(node, ast.Constant | ast.JoinedStr):
            return [template(node)] if template(node) else []
        if isinstance(node, ast.IfExp):
            return go(node.body, node.orelse)
        if isinstance(node, ast.BoolOp):
            return go(*node.values)
        if isinstance(node, ast.BinOp) and isinstance(node.left, ast.Constant):
            return [f"{node.left.value}{{}}"]
        if isinstance(node, ast.Attribute) and node.attr in CARRIED:
            return []  # of another error, which was looked at where it was made
        if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
            return go(*self._table(node.value.id))
        if isinstance(node, ast.Call) and callee(node) in {*self.functions, *HINTS}:
            maker = self.functions.get(callee(node))  # None: of another module, where it is looked at
            returns = [r for r in ast.walk(maker) if isinstance(r, ast.Return)] if maker else []
            return [text for r in returns if r.value for text in self._sentences(r.value, (maker,), where)]
        if isinstance(node, ast.Attribute):  # of the object itself: whatever it was set to
            sets = [a for a in ast.walk(self.tree) if isinstance(a, ast.Assign) and ast.unparse(node) in map(ast.unparse, a.targets)]
            if sets:
                return go(*(a.value for a in sets))
        for function in inside if isinstance(node, ast.Name) else ():
            assigned = [v for a in ast.walk(function) if isinstance(a, ast.Assign) for v in self._bound(a, node.id)]
            if assigned:
                return go(*assigned)
            if node.id in CARRIED and node.id in {a.arg for a in function.args.args}:
                return []  # looked at where the function is called
        raise AssertionError(f"{where}: this test can't follow the sentence {ast.unparse(node)}; write it in the call")

    @staticmethod
    def _bound(assign: ast.Assign, name: str) -> Iterator[ast.expr]:
        """What an assignment gives to a name: its value, or the part of it that stands at the name's place."""
        for target in assign.targets:
            names = [getattr(t, "id", "") for t in (target.elts if isinstance(target, ast.Tuple) else [target])]
            if name in names:
                whole = not isinstance(target, ast.Tuple) or not isinstance(assign.value, ast.Tuple)
                yield assign.value if whole else assign.value.elts[names.index(name)]

    def _table(self, name: str) -> list[ast.expr]:
        """The sentences in a dict of the module."""
        for node in self.tree.body:
            targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
            value = getattr(node, "value", None)
            if isinstance(value, ast.Dict) and any(isinstance(t, ast.Name) and t.id == name for t in targets):
                found = [n for entry in value.values for n in ast.walk(entry)]
                inner = {id(part) for n in found if isinstance(n, ast.JoinedStr) for part in ast.walk(n) if part is not n}
                texts = [n for n in found if isinstance(n, ast.JoinedStr | ast.Constant)]
                return [n for n in texts if id(n) not in inner and isinstance(getattr(n, "value", ""), str)]
        return []


def modules() -> list[Path]:
    """Every Python file that may raise an error of ours."""
    return sorted(path for folder in SOURCES for path in folder.rglob("*.py") if "examples" not in path.parts)


@functools.cache
def listed() -> dict[str, str]:
    """The catalog, English to Chinese."""
    found = pairs((resources.files("cordboard") / "messages.zh.txt").read_text("utf-8"))
    assert len(dict(found)) == len(found), "a sentence stands twice"
    return dict(found)


@functools.cache
def sentences() -> list[tuple[str, str]]:
    """(place, template) of every sentence of an error in the package, and of the functions that make hints for it."""
    readers = [Reader(path) for path in modules()]
    return [one for reader in readers for one in reader.found()]


@pytest.mark.sources
def test_every_sentence_of_an_error_has_its_chinese() -> None:
    assert len(sentences()) > 500, "the reader finds the places that raise"
    lacking = [f"{where}: {text}" for where, text in sentences() if text not in listed()]
    assert not lacking, "Add these sentences to src/cordboard/messages.zh.txt:\n  " + "\n  ".join(lacking)


@pytest.mark.sources
def test_the_catalog_has_no_sentence_twice_and_none_that_nobody_says() -> None:
    # Given every string of the sources
    said = set()
    for path in modules():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant | ast.JoinedStr):
                said.add(template(node))
            if isinstance(node, ast.BinOp) and isinstance(node.left, ast.Constant):
                said.add(f"{node.left.value}{{}}")
    unsaid = sorted(set(listed()) - said)
    assert not unsaid, "Remove these from src/cordboard/messages.zh.txt:\n  " + "\n  ".join(unsaid)


def test_each_template_is_found_by_its_own_sentence_and_keeps_what_was_put_in() -> None:
    _, templates = catalog()
    for pieces, zh in templates:
        said = "".join(f"{piece}<{i}>" for i, piece in enumerate(pieces[:-1])) + pieces[-1]
        expected = re.sub(r"\{(\d)(:zh)?\}", r"<\1>", zh)
        assert chinese(said) == expected and NOT_ENGLISH.search(zh), said


def test_an_error_says_what_where_and_what_to_do_in_chinese() -> None:
    error = UnknownNameError('there is no queue "vipp"', Where("day.jsonl", 7, "queue"), 'Did you mean "vip"?')
    assert error.text("en") == str(error) == 'day.jsonl:7 [queue]: there is no queue "vipp". Did you mean "vip"?'
    assert error.text("zh") == "day.jsonl:7 [queue]: 没有队列“vipp”。是否指“vip”？"
    assert LimitError("too many calls in flight", 5, "Report how calls end.").text("zh") == (
        "在途呼叫过多（上限为 5）。请报告呼叫如何结束。"
    )
    assert MissingExtraError("ray", "scale").text("zh") == "未安装 ray。安装方法：pip install 'cordboard[scale]'"
    # a sentence from elsewhere stays as it is
    assert EventError("nobody wrote this").text("zh") == "nobody wrote this"


def test_every_kind_of_error_is_a_sentence_in_both_languages() -> None:
    # Given one of each class, made of sentences that the catalog has
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.CordboardError)]
    said = {"what": "the engine is closed", "reason": "closed", "kind": "disk full", "hint": "Check the spelling"}
    assert len(kinds) > 15
    for kind in kinds:
        parameters = inspect.signature(kind.__init__).parameters.values()
        names = [p.name for p in parameters if p.name not in ("self", "where", "args", "kwargs")]
        error = kind(**{name: said.get(name, 7) for name in names}) if names else kind(said["what"])
        # Then it says itself without Python's brackets, and in Chinese without English
        assert str(error) == error.text("en") and not error.text("en").startswith("("), kind
        zh = error.text("zh")
        assert NOT_ENGLISH.search(zh) and said["what"] not in zh and said["hint"] not in zh, kind
    full = errors.UnavailableError("the journal can't be written", "read-only: disk full")
    assert full.text("zh") == "无法写入流水日志（只读：磁盘已满）。请用同一 request_id 重试"


def test_errors_survive_pickling_with_both_languages() -> None:
    for error in (UnknownNameError('there is no queue "x"', Where(key="queue")), MissingExtraError("ray", "scale")):
        again = pickle.loads(pickle.dumps(error))
        assert again.text("zh") == error.text("zh") and str(again) == str(error)


def test_the_commands_complain_in_chinese(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "center.toml").write_text("[queues.q]\nstrategie = 'x'\n[agents.a]\n")
    (tmp_path / "day.jsonl").write_text('{"t": 1, "event": "contact_ended", "contact": "c"}\nnonsense\n')
    assert main(["check", str(tmp_path / "center.toml"), "--lang", "zh"]) == 2
    assert "未知的键“strategie”。是否指“strategy”？" in capsys.readouterr().err
    (tmp_path / "center.toml").write_text("[queues.q]\n[agents.a]\n")
    assert main(["replay", str(tmp_path / "center.toml"), str(tmp_path / "day.jsonl"), "--lang", "zh"]) == 1
    told = capsys.readouterr().err
    assert "没有联系“c”" in told and "不是有效的 JSON" in told
    assert main(["staff", "--lang", "zh", "--calls", "nan"]) == 2
    assert "calls 为 nan" in capsys.readouterr().err


def test_a_plot_goes_to_a_png_or_an_svg_and_nowhere_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    for name, told in (("x.pdf", "图是 PNG 或 SVG 文件"), ("no/x.png", "图所在的文件夹不存在")):
        for command in (["staff", "--calls", "20"], ["simulate", "c.toml"], ["pace"], ["learn", "x.csv"], ["compare", "a", "b"]):
            more = ["--scenario", "s.toml"] if command[0] in ("simulate", "compare") else []
            more += ["--schema", "bank-additional"] if command[0] == "learn" else []
            assert main([*command, *more, "--lang", "zh", "--plot", str(tmp_path / name)]) == 2
            assert told in capsys.readouterr().err, command


def test_a_plot_speaks_chinese_where_a_font_has_its_letters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    labels = []
    for family in (None, "DejaVu Sans"):  # which is there; only its name counts here
        monkeypatch.setattr(plots, "chinese_family", lambda family=family: family)
        with plots.drawing(tmp_path / "x.svg", "zh", 2, 2) as (figure, lang):
            axes = figure.subplots()
            axes.set_xlabel("agents")
            labels.append(lang)
    assert labels == ["en", "zh"]
    assert "图中的文字用英文" in capsys.readouterr().err
    # and the same figure gives the same bytes
    written = []
    for _ in range(2):
        with plots.drawing(tmp_path / "y.svg", "en", 2, 2) as (figure, _lang):
            figure.subplots().plot([1, 2], [2, 1], label="a")
        written.append((tmp_path / "y.svg").read_bytes())
    assert written[0] == written[1]
