"""Text for people, in English and Chinese.

Both texts stand side by side where they are used: ``words.pick(lang, "3 agents free", "3 个空闲座席")``. There is no
catalog to keep in step, and a missing translation can't be written. Error messages alone are raised in English and have
their Chinese in ``messages.zh.txt``, because there are hundreds of them; a test keeps it in step.
"""

from __future__ import annotations

import os
from typing import Literal

Lang = Literal["en", "zh"]
LANGS: tuple[Lang, ...] = ("en", "zh")


def pick(lang: Lang, en: str, zh: str) -> str:
    """The text of the language asked for."""
    return zh if lang == "zh" else en


def default_lang() -> Lang:
    """CORDBOARD_LANG, else the locale of the terminal, else English."""
    for name in ("CORDBOARD_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        value = os.environ.get(name, "")
        if value:
            return "zh" if value.lower().startswith("zh") else "en"
    return "en"
