"""What flows say by themselves, as names of prompts: numbers, digits, positions and waits, in Chinese and English.

A prompt of a flow is the file ``LANGUAGE/NAME`` of the media nodes' folder. ``SPOKEN`` has the texts of those that
every flow may need, for ``cordboard ivr speak``; a flow's own ``[prompts]`` of the same name say it otherwise. In
other languages a number is said digit by digit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from cordboard.calls.flow_reader import VALUE

MINUTES_MAX = 10  # longer waits are "more than ten minutes"
NUMBER_MAX = 10**12
_BELOW_20 = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_EN_SCALES = ((10**9, "billion"), (10**6, "million"), (10**3, "thousand"), (100, "hundred"))
_ZH_PLACES = ((1000, "千"), (100, "百"), (10, "十"))
_ZH_SCALES = ((10**8, "亿"), (10**4, "万"))
_ZH_NAMES = {"千": "thousand", "百": "hundred", "十": "10", "亿": "hundred-million", "万": "ten-thousand", "两": "two"}

SPOKEN: Mapping[str, Mapping[str, str]] = {
    "en": {
        **{f"n-{i}": word for i, word in enumerate(_BELOW_20)},
        **{f"n-{20 + 10 * i}": word for i, word in enumerate(_TENS)},
        **{f"n-{word}": word for _, word in _EN_SCALES},
        "n-minus": "minus",
        "position-before": "You are number",
        "position-after": "in the queue.",
        "wait-before": "Your wait should be at most",
        "wait-one": "minute.",
        "wait-after": "minutes.",
        "wait-more": "Your wait may be more than ten minutes.",
    },
    "zh": {
        **{f"n-{i}": word for i, word in enumerate("零一二三四五六七八九十")},
        **{f"n-{name}": word for word, name in _ZH_NAMES.items() if word != "十"},
        "n-minus": "负",
        "position-before": "您目前排在第",
        "position-after": "位。",
        "wait-before": "预计等待不超过",
        "wait-one": "分钟。",
        "wait-after": "分钟。",
        "wait-more": "预计等待时间超过十分钟。",
    },
}


def spoken_like(language: str) -> str:
    """Whose numbers a language has: zh, en, or nothing known."""
    base = language.partition("-")[0].lower()
    return {"zh": "zh", "cmn": "zh", "yue": "zh", "en": "en"}.get(base, "")


def number_prompts(value: int, language: str, counting: bool = False) -> list[str]:
    """A number as prompts. ``counting``: something is counted, so that Chinese 2 is 两."""
    if abs(value) >= NUMBER_MAX:
        return digit_prompts(str(value))
    sign = ["n-minus"] if value < 0 else []
    like = spoken_like(language)
    if like == "en":
        return sign + [f"n-{part}" for part in _english(abs(value))]
    if like == "zh":
        text = "两" if counting and value == 2 else _chinese(abs(value))
        return sign + [f"n-{_ZH_NAMES.get(c) or '零一二三四五六七八九'.index(c)}" for c in text]
    return sign + digit_prompts(str(abs(value)))


def digit_prompts(text: str) -> list[str]:
    """A text's digits, one by one; whatever else is in it is left out."""
    return [f"n-{c}" for c in text if c in "0123456789"]


def _english(value: int) -> Iterator[str]:
    for scale, name in _EN_SCALES:
        if value >= scale:
            yield from _english(value // scale)
            yield name
            value %= scale
            if not value:
                return
    if value < 20:
        yield str(value)
        return
    yield str(value // 10 * 10)
    if value % 10:
        yield str(value % 10)


def _chinese(value: int) -> str:
    """How a number is said: 10 is 十, 105 一百零五, 2000 两千, 20000 两万."""
    for scale, name in _ZH_SCALES:
        if value >= scale:
            high, low = divmod(value, scale)
            head = ("两" if high == 2 else _chinese(high)) + name
            return head + (("零" if low < scale // 10 else "") + _chinese_part(low) if low else "")
    return _chinese_part(value) if not 10 <= value < 20 else _chinese_part(value)[1:]


def _chinese_part(value: int) -> str:
    if value >= 10**4:
        return _chinese(value)
    digits = "零一二三四五六七八九"
    text, gap = "", False
    for place, name in _ZH_PLACES:
        digit, value = divmod(value, place)
        if digit:
            text += ("零" if gap and text else "") + ("两" if digit == 2 and place >= 1000 else digits[digit]) + name
            gap = False
        else:
            gap = bool(text)
    if value or not text:
        text += ("零" if gap and text else "") + digits[value]
    return text


def position_prompts(position: int, language: str) -> list[str]:
    """That the caller is at a position of the queue."""
    return ["position-before", *number_prompts(position, language), "position-after"]


def wait_prompts(minutes: int, language: str) -> list[str]:
    """That the wait will be at most so many minutes; more than MINUTES_MAX are only that."""
    if minutes > MINUTES_MAX:
        return ["wait-more"]
    return ["wait-before", *number_prompts(minutes, language, True), "wait-one" if minutes == 1 else "wait-after"]


def said(prompts: Sequence[str], language: str, values: Mapping[str, str]) -> tuple[str, ...]:
    """Prompts as the media node knows them. A value that is not there, or is no number, is left out."""
    names: list[str] = []
    for prompt in prompts:
        found = VALUE.fullmatch(prompt)
        if found is None:
            names.append(prompt)
            continue
        text = values.get(found[2], "")
        whole = text.removeprefix("-").isdecimal() and text.isascii() and len(text) <= 32
        names += number_prompts(int(text), language) if found[1] == "number" and whole else digit_prompts(text)
    return tuple(f"{language}/{name}" for name in names)
