"""What callers say to menus: which leg is to be listened to, and which of the words a text is.

A recognizer of the caller's media node tells it (``leg_recognized``), or another program (``call_heard``).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cordboard.calls.flow import Step
from cordboard.calls.state import DEAF, Call, Leg, Listening, Phase, Role, Stage

if TYPE_CHECKING:
    from cordboard.calls.switchboard import Switchboard

SPEAKING_S = 20.0  # whoever begins to speak is waited for so long
_BETWEEN = re.compile(r"\s+")


def listening(call: Call, leg: Leg, step: Step | None) -> Listening:
    """What a leg of a call is to be listened to for, like what it is to be played a wish made of the state."""
    state = call.flow
    if state is None or step is None or call.stage != Stage.FLOW or leg.role != Role.CALLER or leg.phase != Phase.UP:
        return DEAF
    if not step.words or (state.says and not step.barge_in):
        return DEAF
    return (f"say{state.said}", state.language, tuple(step.words))


def settle(board: Switchboard, call: Call) -> None:
    """Say what has changed of who is listened to."""
    step = board.guide.step(call)
    for leg in board.legs(call):
        wanted = listening(call, leg, step)
        if wanted == leg.listens:
            continue
        leg.listens = wanted
        token, language, words = wanted
        if token:
            board.say(leg.node, "leg_recognize", leg=leg.name, token=token, language=language, words=list(words))
        else:
            board.say(leg.node, "leg_stop_recognizing", leg=leg.name)


def plain(text: str) -> str:
    """A text as it is compared: without case and punctuation, and without spaces but between letters and digits that
    are written with them."""
    shown = unicodedata.normalize("NFKC", text).casefold()
    shown = "".join(c if c.isalnum() or c == "'" else " " for c in shown)
    words = _BETWEEN.split(shown.strip())
    made = words[0]
    for word in words[1:]:
        made += word if _dense(made[-1:]) or _dense(word[:1]) else f" {word}"
    return made


def _dense(character: str) -> bool:
    """Of a script that has no spaces between words: Chinese, Japanese."""
    return "\u2e80" <= character <= "\u9fff" or "\uf900" <= character <= "\ufaff" or character >= "\U00020000"


def match(words: Mapping[str, str], text: str) -> str:
    """The key of the word that was said: the text, or the longest in it. Empty if it is none, or if the text has words
    of other keys, too."""
    said = plain(text)
    keys = {plain(word): key for word, key in words.items()}
    found = [word for word in keys if word and _within(word, said)]
    longest = max(found, key=len, default="")
    if any(keys[word] != keys[longest] and not _within(word, longest) for word in found):
        return ""
    return keys.get(longest, "")


def _within(part: str, whole: str) -> bool:
    """Whether a phrase is in a text, as whole words."""
    at = whole.find(part)
    while at >= 0:
        before, after = whole[at - 1 : at] if at else "", whole[at + len(part) : at + len(part) + 1]
        if (not before or before == " " or _dense(part[0]) or _dense(before)) and (
            not after or after == " " or _dense(part[-1]) or _dense(after)
        ):
            return True
        at = whole.find(part, at + 1)
    return False
