"""Plots to PNG and SVG files: what every command's ``--plot`` shares. matplotlib is loaded when one is drawn."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cordboard.errors import InputError, MissingExtraError, Where
from cordboard.words import Lang, pick

KINDS = (".png", ".svg")
# Families with Chinese letters, as systems name them; the first that is there is used.
CHINESE = (
    "Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "Source Han Sans CN", "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei", "Noto Sans CJK JP", "Droid Sans Fallback", "PingFang SC", "Hiragino Sans GB", "Heiti SC",
    "Microsoft YaHei", "SimHei", "SimSun", "Arial Unicode MS",
)  # fmt: skip


def help_text(lang: Lang) -> str:
    """What ``--plot`` does, for the parser of a command."""
    return pick(lang, "draw the figures to a PNG or SVG file", "绘图到 PNG 或 SVG 文件")


def check(path: str | Path | None) -> None:
    """Before long work for a plot: InputError for a file that is no PNG or SVG or is in no folder, MissingExtraError
    without matplotlib. None, for no plot, is fine."""
    if path is None:
        return
    if Path(path).suffix.lower() not in KINDS:
        raise InputError("a plot is a PNG or an SVG file", Where(str(path), key="--plot"), "Name it .png or .svg")
    if not Path(path).parent.is_dir():
        raise InputError("the plot has no folder to go to", Where(str(path), key="--plot"), "Check the path")
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "plot")


@contextmanager
def drawing(path: str | Path, lang: Lang, width: float, height: float) -> Iterator[tuple[Any, Lang]]:
    """A matplotlib Figure of so many inches, saved to ``path`` at the end, and the language for its labels.

    That is English where Chinese is asked for but no font has its letters; a word on standard error says so. The same
    figure gives the same bytes. Errors: those of ``check``, and InputError if the file can't be written.
    """
    check(path)
    import matplotlib
    from matplotlib.figure import Figure

    family = chinese_family()
    if lang == "zh" and family is None:
        lang = "en"
        print("没有找到中文字体，图中的文字用英文。可安装 Noto Sans CJK。", file=sys.stderr)
    families = ["DejaVu Sans"] + ([family] if family is not None else [])
    with matplotlib.rc_context({"font.family": families, "svg.hashsalt": "cordboard"}):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure, lang
        svg = Path(path).suffix.lower() == ".svg"
        try:
            figure.savefig(path, metadata={"Date": None} if svg else None)
        except OSError as error:
            what = f"the plot can't be written: {error.strerror}"
            raise InputError(what, Where(str(path)), "Check the path") from error


def chinese_family() -> str | None:
    """A font family of this machine that has Chinese letters."""
    from matplotlib import font_manager

    there = {font.name for font in font_manager.fontManager.ttflist}
    return next((name for name in CHINESE if name in there), None)
