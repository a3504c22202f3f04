"""``cordboard ivr``: what is wrong with a flow is found, its tests are run, and its prompts are spoken."""

from __future__ import annotations

import contextlib
import copy
import json
import random
import tomllib
import wave
from pathlib import Path

import numpy as np
import pytest

from cordboard.calls.flow_check import check_flow
from cordboard.calls.flow_reader import parse_flow, read_flow
from cordboard.calls.flow_speech import SPOKEN, number_prompts, said
from cordboard.calls.flow_test import run_tests
from cordboard.calls.speaking import RATE, resampled, speak, trimmed
from cordboard.center import parse_center
from cordboard.cli import main
from cordboard.errors import CallsError, InputError
from tests.espeak import espeak_in
from tests.flow_text import EVERY_KIND

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
GOOD = """
[prompts.hello]
en = "Press 1 for billing."
[steps.main]
menu = ["hello"]
keys = { 1 = "billing" }
otherwise = "billing"
[steps.billing]
queue = "billing"
"""


def findings(text: str, folder: Path | None = None) -> list[str]:
    return [f"{found.where.line}: {found.what}" for found in check_flow(parse_flow(text), text, "flow.toml", folder)]


# ---- mistakes that make a flow unusable


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ('1 = "billing"', '1 = "biling"', 6, 'there is no step "biling". Did you mean "billing"?'),
        ('1 = "billing"', 'x = "billing"', 6, "'x' is not a key of a telephone"),
        ("otherwise", "othervise", 7, 'unknown key "othervise". Did you mean "otherwise"?'),
        ('queue = "billing"', 'queue = "billin"', 9, 'there is no queue "billin". Did you mean "billing"?'),
        ('queue = "billing"', 'queue = "chats"', 9, "not for voice"),
        ('queue = "billing"', 'queue = "billing"\nplay = []', 8, "a step does exactly one thing"),
        ('queue = "billing"', 'qeue = "billing"', 8, 'Did you mean "queue"?'),
        ('queue = "billing"', 'language = "fr"', 9, 'there is no language "fr"'),
        ('queue = "billing"', 'hours = "office"\nopen = "main"\nclosed = "main"', 9, 'there is no hours "office"'),
        ('queue = "billing"', 'collect = []\nas = "x"\nmin = 5\nmax = 4', 11, "min is more than max"),
        ('queue = "billing"', 'collect = []', 8, '"as" is missing'),
        ('queue = "billing"', 'play = ["{speak x}"]', 9, "is neither a prompt nor a value"),
        ('queue = "billing"', 'queue = "billing"\nagent = "lee"', 10, 'there is no agent "lee". Known: li'),
        ('queue = "billing"', 'number = "139"', 9, "there is no trunk"),
        ("[prompts.hello]", "[hours.x]\nopen = ['mon 9-5']\n[prompts.hello]", 3, "is not a time of a day"),
        ("[prompts.hello]", "[hours.x]\nopen = ['someday 09:00-10:00']\n[prompts.hello]", 3, "is not a time of a week"),
        ("[prompts.hello]", "[hours.x]\nholidays = ['2027-13-01']\n[prompts.hello]", 3, "is not a date"),
        ("en =", "fr =", 3, 'unknown key "fr"'),
        ("[steps.main]", "[[tests]]\nkeys = ['x']\n[steps.main]", 5, "is not a list of keys"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_to_do(old, new, line, message):
    center = parse_center("[queues.billing]\n[queues.chats]\nchannel = 'chat'\n[agents.li]\n")
    with pytest.raises(CallsError) as raised:
        parse_flow(GOOD.replace(old, new), "flow.toml", center, trunks=[])
    texts = [str(error) for error in raised.value.errors]
    assert [text for text in texts if message in text and text.startswith(f"flow.toml:{line} ")], texts
    assert all(error.text("zh") != str(error) for error in raised.value.errors)


# ---- what can be read and is wrong all the same


def test_a_good_flow_and_the_example_have_no_findings():
    assert findings(GOOD) == []
    assert findings((EXAMPLES / "ivr-flow.toml").read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("queue =", "queue = 'billing'\n[steps.nobody]\nqueue =", "10: nobody reaches step \"nobody\""),
        ('otherwise = "billing"\n', "", '4: without "otherwise" callers are hung up on here'),
        ('queue = "billing"', "play = ['hello']", '8: without "next" callers are hung up on here'),
        (
            'queue = "billing"',
            "play = ['hello']\nnext = 'main'",
            "4: callers who do nothing go round for ever: main > billing > main",
        ),
        ('menu = ["hello"]', 'menu = ["helo"]', '5: prompt "helo" has no text in "en"'),
        ('menu = ["hello"]', 'menu = ["helo"]', '2: prompt "hello" is never said'),
        ("Press 1", "Press 2", '6: callers are told in "en" to press 2, and it does nothing'),
        ("Press 1", "Press 2", '6: nobody is told in "en" that 1 can be pressed'),
        ("[prompts.hello]", "[languages.en]\n[languages.zh]\n[prompts.hello]", '3: nobody can choose the language "zh"'),
        ("[prompts.hello]", "[hours.x]\n[prompts.hello]", '2: no step asks for the hours "x"'),
        ('menu = ["hello"]', 'menu = ["hello", "{digits code}"]', '5: no step collects or looks up "code"'),
    ],
)
def test_what_is_wrong_is_found_with_its_line(old, new, expected):
    text = GOOD.replace(old, new)
    assert expected in findings(text)
    assert all(found.text("zh") != str(found) for found in check_flow(parse_flow(text), text, "flow.toml"))


def test_a_prompt_must_be_in_the_folder_in_every_language_that_can_be_chosen(tmp_path):
    text = "[languages.zh]\n[languages.en]\n[steps.a]\nlanguage = 'en'\nnext = 'b'\n[steps.b]\nhang_up = ['bye']\n"
    (tmp_path / "zh").mkdir()
    (tmp_path / "zh" / "bye.wav").write_bytes(b"")
    assert findings(text, tmp_path) == ['7: the folder of prompts has no "en/bye"']


def test_a_long_flow_is_checked_without_going_through_every_way():
    steps = "".join(
        f"[steps.s{i}]\nhours = 'h'\nopen = 's{i + 1}'\nclosed = 's{i + 1}'\n" for i in range(900)
    )  # 2 ** 900 ways
    assert findings("[hours.h]\n" + steps + "[steps.s900]\nhang_up = []\n") == []


# ---- tests in the flow's file


def test_the_tests_of_the_example_pass_and_one_that_is_wrong_says_what_was_got():
    text = (EXAMPLES / "ivr-flow.toml").read_text("utf-8")
    center = parse_center((EXAMPLES / "ivr-center.toml").read_text("utf-8"))
    outcomes = run_tests(parse_flow(text, center=center), center)
    assert len(outcomes) == 6 and not [outcome for outcome in outcomes if outcome.wrong]
    [wrong] = run_tests(parse_flow(GOOD + '[[tests]]\nkeys = ["1"]\nqueue = "sales"\npath = ["main"]\n'))
    assert dict(wrong.wrong) == {"queue": "sales", "path": ("main",)}
    assert wrong.got["queue"] == "billing" and wrong.got["path"] == ["main", "billing"]


def test_every_kind_of_step_can_be_tested():
    tests = """
[[tests]]
keys = ["6"]
number = "139"
[[tests]]
keys = ["5", "#"]
path = ["hello", "language", "mail", "bye"]
ends = "completed"
[[tests]]
keys = ["4", "12#"]
answers = { customer = "gold" }
path = ["hello", "language", "account", "who", "billing"]
requires = { zh = 1 }
[[tests]]
at = "2027-01-04 12:00"
keys = ["3"]
path = ["hello", "language", "night", "bye"]
"""
    assert [outcome.wrong for outcome in run_tests(parse_flow(EVERY_KIND + tests))] == [{}, {}, {}, {}]


# ---- the command


def test_the_command_checks_and_tests_in_both_languages(tmp_path, capsys):
    flow, center = str(EXAMPLES / "ivr-flow.toml"), str(EXAMPLES / "ivr-center.toml")
    assert main(["ivr", "check", flow, "--center", center]) == 0
    assert main(["ivr", "test", flow, "--center", center, "--lang", "zh"]) == 0
    assert capsys.readouterr().out == "nothing found: 1 flows, 14 steps\n6 个测试，0 个未通过\n"
    bad = tmp_path / "bad.toml"
    bad.write_text(GOOD.replace('otherwise = "billing"\n', "") + '[[tests]]\nqueue = "x"\n', "utf-8")
    assert main(["ivr", "check", str(bad), "--json"]) == 1
    [found] = json.loads(capsys.readouterr().out)["findings"]
    assert (found["file"], found["line"], found["key"]) == (str(bad), 4, "steps.main")
    assert main(["ivr", "test", str(bad)]) == 1
    assert 'test "1": queue is null, expected "x"' in capsys.readouterr().out
    bad.write_text("[steps.a]\nply = []\n", "utf-8")
    assert main(["ivr", "check", str(bad), str(tmp_path / "none.toml")]) == 2
    told = capsys.readouterr().err
    assert 'Did you mean "play"?' in told and "none.toml" in told


# ---- speech


@pytest.mark.parametrize(
    ("value", "language", "expected"),
    [
        (0, "en", "0"), (21, "en", "20 1"), (305, "en", "3 hundred 5"), (1_000_016, "en", "1 million 16"),
        (0, "zh", "0"), (10, "zh", "10"), (12, "zh", "10 2"), (20, "zh", "2 10"), (105, "zh", "1 hundred 0 5"),
        (110, "zh", "1 hundred 1 10"), (2000, "zh", "two thousand"), (20_000, "zh", "two ten-thousand"),
        (10_500, "zh", "1 ten-thousand 0 5 hundred"), (100_000_001, "zh", "1 hundred-million 0 1"),
        (-3, "zh", "minus 3"), (37, "fr", "3 7"),
    ],
)  # fmt: skip
def test_numbers_are_said_as_people_say_them(value, language, expected):
    assert " ".join(name.removeprefix("n-") for name in number_prompts(value, language)) == expected


def test_all_prompts_of_numbers_have_a_text():
    for language in ("en", "zh"):
        for value in [*range(0, 1200), 10**4, 10**5, 10**8, 987_654_321_012, 10**12 - 1]:
            assert set(number_prompts(value, language)) <= set(SPOKEN[language]), value


def test_two_minutes_are_counted_as_chinese_does():
    assert number_prompts(2, "zh", counting=True) == ["n-two"] and number_prompts(12, "zh", counting=True)[1] == "n-2"


def test_values_are_said_as_numbers_or_digits_and_nothing_else():
    values = {"balance": "12", "account": "00-7x", "odd": "１２"}
    assert said(["a", "{number balance}", "{digits account}"], "en", values) == ("en/a", "en/n-12", "en/n-0", "en/n-0", "en/n-7")
    assert said(["{number odd}", "{number none}"], "en", values) == ()


def test_sound_keeps_its_pitch_at_another_rate_and_loses_its_silence():
    t = np.arange(22_050) / 22_050
    tone = (np.sin(2 * np.pi * 440 * t) * 10_000).astype(np.int16)
    sound = resampled(np.pad(tone, 11_025), 22_050)
    spectrum = np.abs(np.fft.rfft(trimmed(sound)[:8000]))
    assert abs(int(np.argmax(spectrum)) - 440) <= 1 and 8000 <= trimmed(sound).size <= 8800
    assert 9_000 < np.abs(sound).max() < 11_000


@pytest.fixture
def espeak(tmp_path) -> str:
    return espeak_in(tmp_path)


@pytest.mark.sources  # Debian's packages are unpacked in the sources
def test_missing_prompts_are_spoken_as_the_media_node_wants_them(espeak, tmp_path, capsys):
    flow, folder = EXAMPLES / "ivr-flow.toml", tmp_path / "prompts"
    # Given a recording of one of them
    (folder / "zh").mkdir(parents=True)
    (folder / "zh" / "welcome.wav").write_bytes(b"recorded")
    # When the others are spoken
    assert main(["ivr", "speak", str(flow), "--prompts", str(folder), "--espeak", espeak, "--json"]) == 0
    made = json.loads(capsys.readouterr().out)["made"]
    # Then every prompt is there in both languages, numbers too, and the recording is as it was
    assert {"zh/n-two.wav", "en/n-20.wav", "zh/main.wav", "en/wait-more.wav"} <= set(made)
    assert (folder / "zh" / "welcome.wav").read_bytes() == b"recorded"
    for name in made:
        with wave.open(str(folder / name)) as sound:
            assert (sound.getframerate(), sound.getsampwidth(), sound.getnchannels()) == (RATE, 2, 1)
            assert 0.05 < sound.getnframes() / RATE < 15.0, name
    assert main(["ivr", "check", str(flow), "--prompts", str(folder)]) == 0
    # And nothing is left to do
    assert main(["ivr", "speak", str(flow), "--prompts", str(folder), "--espeak", "no-such-program", "--json"]) == 0


@pytest.mark.sources
def test_a_language_that_nobody_speaks_and_a_program_that_is_not_there_are_told(espeak):
    with pytest.raises(InputError, match="does not speak"):
        speak("hello", "xx", espeak)
    with pytest.raises(InputError, match="can't be run"):
        speak("hello", "en", "no-such-program")


# ---- whatever stands in a file

ODD = (5, -1, 1.5, float("nan"), True, "", [], {}, "billing", ["x"], [1], {"a": 1}, [[]], {"1": "billing"}, "#", "{number x}", "mon 09:00-10:00", "\a")


def places(table, path=()):
    for key, value in table.items() if isinstance(table, dict) else enumerate(table) if isinstance(table, list) else ():
        yield (*path, key)
        yield from places(value, (*path, key))


@pytest.mark.parametrize("seed", range(8))
def test_any_tables_make_a_flow_that_runs_or_an_error_that_says_where(seed):
    # Given a flow with something odd in one place or two
    chance, usable = random.Random(seed), 0
    base = tomllib.loads((EXAMPLES / "ivr-flow.toml").read_text("utf-8") if seed % 2 else EVERY_KIND)
    for _ in range(40):
        tables = copy.deepcopy(base)
        for _ in range(chance.choice((1, 1, 2))):
            *path, last = chance.choice(list(places(tables)))
            table = tables
            for key in path:
                table = table[key]
            if chance.random() < 0.7:
                table[last] = copy.deepcopy(chance.choice(ODD))
            else:
                del table[last]
        # When it is read
        try:
            flow = read_flow(tables)
        except CallsError as error:
            assert all(one.where.key and one.text("zh") != str(one) for one in error.errors)
            continue
        # Then it can be checked and tested, and what the journal keeps of it is the same flow
        usable += 1
        check_flow(flow, "", "flow.toml")
        with contextlib.suppress(CallsError):  # a test at no time
            run_tests(flow)
        assert read_flow(json.loads(json.dumps(flow.tables))) == flow
    assert 0 < usable < 40
