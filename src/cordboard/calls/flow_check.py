"""What is wrong with a flow that can be read: dead ends, loops, steps nobody reaches, prompts nobody recorded.

Findings are CallsErrors with file, line and key, like those of the reader.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from cordboard.calls.flow import Flow, Step
from cordboard.calls.flow_reader import VALUE
from cordboard.calls.flow_speech import SPOKEN
from cordboard.errors import CallsError
from cordboard.toml_reader import Reader

_GOES_ON = {  # kind -> the keys without which it ends in silence
    "play": ("next",), "menu": ("otherwise",), "collect": ("next", "otherwise"), "rate": ("next",),
    "language": ("next",), "number": ("otherwise",),
}  # fmt: skip
_BY_ITSELF = ("next", "otherwise", "open", "closed", "answers")  # edges that need no caller; not those of a queue
_PRESS = re.compile(r"(?:\bpress(?:ing)?\s+|按\s*)([0-9*#])", re.IGNORECASE)
_POSITION = ("position-before", "position-after")
_WAIT = ("wait-before", "wait-one", "wait-after", "wait-more")


def check_flow(flow: Flow, text: str, file: str, folder: Path | None = None) -> list[CallsError]:
    """The findings in the order of the file. ``folder``: of the prompts; without one, a prompt that has no text to be
    spoken is missing."""
    return _Checker(text, file).check(flow, folder)


def prompts_of(flow: Flow) -> Mapping[str, tuple[str, ...]]:
    """The names of all prompts that may be said -> the first place that says so. Numbers are not among them."""
    found: dict[str, tuple[str, ...]] = {}
    for name, step in flow.steps.items():
        for keys, prompts in step.said():
            for prompt in prompts:
                if VALUE.fullmatch(prompt) is None:
                    found.setdefault(prompt, ("steps", name, *keys))
        if step.announce is not None:
            for own, wanted in ((_POSITION, step.announce.position), (_WAIT, step.announce.wait)):
                for prompt in own if wanted else ():
                    found.setdefault(prompt, ("steps", name, "announce"))
    return found


def says_numbers(flow: Flow) -> bool:
    """Whether numbers may be said."""
    values = (VALUE.fullmatch(p) for step in flow.steps.values() for _, prompts in step.said() for p in prompts)
    announces = (step.announce for step in flow.steps.values() if step.announce is not None)
    return any(values) or any(plan.position or plan.wait for plan in announces)


def text_of(flow: Flow, prompt: str, language: str) -> str:
    """What is to be spoken for a prompt; empty if nobody has written it."""
    own = flow.texts.get(prompt, {}).get(language, "")
    return own or SPOKEN.get(language.partition("-")[0], {}).get(prompt, "")


def recorded(folder: Path, language: str, prompt: str) -> bool:
    """Whether a media node with this folder finds a prompt."""
    return any((folder / language / name).is_file() for name in (prompt, f"{prompt}.wav"))


class _Checker(Reader):
    kind = CallsError

    def check(self, flow: Flow, folder: Path | None) -> list[CallsError]:
        reached = self.reached(flow)
        for name, step in flow.steps.items():
            if name not in reached:
                self.warn(("steps", name), f'nobody reaches step "{name}"', "Lead a key or another step to it")
                continue
            for key in _GOES_ON.get(step.kind, ()):
                if not getattr(step, key):
                    self.warn(("steps", name), f'without "{key}" callers are hung up on here', "Say where they go")
            self.keys(flow, name, step)
        self.loops(flow, reached)
        self.prompts(flow, folder)
        self.values(flow)
        for name in flow.hours:
            if not any(step.kind == "hours" and step.value == name for step in flow.steps.values()):
                self.warn(("hours", name), f'no step asks for the hours "{name}"', "Remove them, or ask for them")
        return list(self.warnings())  # type: ignore[arg-type]  # of `kind`

    def reached(self, flow: Flow) -> set[str]:
        found, ahead = {flow.start}, [flow.start]
        while ahead:
            for _, target in flow.steps[ahead.pop()].targets():
                if target not in found:
                    found.add(target)
                    ahead.append(target)
        return found

    def keys(self, flow: Flow, name: str, step: Step) -> None:
        """Keys that a menu's prompt speaks of and that do nothing, and keys of which nobody is told."""
        if step.kind != "menu":
            return
        for language in flow.languages:
            texts = [text_of(flow, prompt, language) for prompt in step.prompts]
            if not texts or not all(texts):
                continue
            told = set(_PRESS.findall(" ".join(texts)))
            for key in sorted(told - set(step.keys)):
                what = f'callers are told in "{language}" to press {key}, and it does nothing'
                self.warn(("steps", name, "keys"), what, "Give the key a step")
            for key in sorted(set(step.keys) - told) if told else ():
                what = f'nobody is told in "{language}" that {key} can be pressed'
                self.warn(("steps", name, "keys", key), what, "Say it in the prompt, or remove the key")

    def loops(self, flow: Flow, reached: set[str]) -> None:
        """Circles that a caller who does nothing goes round in."""
        done: set[str] = set()
        trail: list[str] = []
        ahead = [(name, False) for name in reversed(list(flow.steps)) if name in reached]
        while ahead:  # depth first, without recursion: a flow may be long
            name, leaves = ahead.pop()
            if leaves:
                done.add(trail.pop())
            elif name in trail:
                around = " > ".join([*trail[trail.index(name) :], name])
                self.warn(("steps", name), f"callers who do nothing go round for ever: {around}", "End it once")
            elif name not in done:
                trail.append(name)
                ahead.append((name, True))
                ahead += [(target, False) for target in _by_itself(flow.steps[name])]

    def prompts(self, flow: Flow, folder: Path | None) -> None:
        said = prompts_of(flow)
        chosen = {step.value for step in flow.steps.values() if step.kind == "language"} | {flow.language}
        for language in flow.languages:
            if language not in chosen:
                self.warn(("languages", language), f'nobody can choose the language "{language}"', "Add a step for it")
                continue
            for prompt, path in said.items():
                if folder is not None and not recorded(folder, language, prompt):
                    what = f'the folder of prompts has no "{language}/{prompt}"'
                    self.warn(path, what, "Record it, or let cordboard ivr speak make it")
                elif folder is None and not text_of(flow, prompt, language):
                    what = f'prompt "{prompt}" has no text in "{language}"'
                    self.warn(path, what, "Write it under [prompts], or give --prompts with the recordings")
        for prompt in flow.texts:
            if prompt not in said and not any(prompt in texts for texts in SPOKEN.values()):
                self.warn(("prompts", prompt), f'prompt "{prompt}" is never said', "Remove it, or say it in a step")

    def values(self, flow: Flow) -> None:
        """Values that are said and come from nowhere; a look-up may bring any."""
        if any(step.kind == "lookup" for step in flow.steps.values()):
            return
        known = {step.into for step in flow.steps.values() if step.kind == "collect"}
        for name, step in flow.steps.items():
            for keys, prompts in step.said():
                for found in filter(None, map(VALUE.fullmatch, prompts)):
                    if found[2] not in known:
                        what = f'no step collects or looks up "{found[2]}"'
                        self.warn(("steps", name, *keys), what, "Collect it before")


def _by_itself(step: Step) -> Iterator[str]:
    if step.kind != "queue":
        for keys, target in step.targets():
            if keys[0] in _BY_ITSELF and not (step.kind in ("collect", "rate") and keys[0] == "next"):
                yield target
