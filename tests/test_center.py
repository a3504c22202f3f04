"""The center file: what it may say, and what is said about one that is wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cordboard.center import CENTER_BYTES_MAX, Center, Step, Weights, load_center, parse_center
from cordboard.errors import CenterError, CordboardError
from cordboard.toml_lines import key_lines, line_of

EXAMPLE = Path(__file__).resolve().parent.parent / "docs" / "examples" / "center.toml"

CONTRACT = """
[center]
order = "priority"
time_zone = "Asia/Shanghai"

[queues.billing]
channel = "voice"
requires = { billing = 3, zh = 1 }
steps = [ { for = 30, requires = { billing = 3, zh = 1 } }, { for = 30, requires = { billing = 1 } } ]
strategy = "longest_idle"
weight = 0
target = { share = 0.80, within = 20 }
delay = 0
tier_wait = 0
tier_wait_multiplies = true
offer_timeout = 15
retry_delay = 0
max_no_answer = 0
wrap_up = 0
max_waiting = 0
max_wait = 0
overflow = "general"

[queues.general]

[agents.li]
skills = { billing = 5, zh = 9 }
queues = { billing = 1, general = 2 }
capacity = { voice = 1, chat = 3 }
blend = false
wrap_up = 20
"""


def errors_of(text: str) -> list[str]:
    with pytest.raises(CenterError) as caught:
        parse_center(text, "x.toml")
    return [str(error) for error in caught.value.errors] or [str(caught.value)]


def test_the_contracts_center_is_read_as_it_is_written() -> None:
    center = parse_center(CONTRACT)
    billing = center.queues[0]
    assert (center.order, center.time_zone) == ("priority", "Asia/Shanghai")
    assert [queue.name for queue in center.queues] == ["billing", "general"]
    assert billing.steps == (Step(30.0, {"billing": 3, "zh": 1}), Step(30.0, {"billing": 1}))
    assert (billing.target_share, billing.target_within, billing.overflow) == (0.8, 20.0, "general")
    assert center.agents[0].queues == {"billing": 1, "general": 2}
    assert center.agents[0].capacity == {"voice": 1, "chat": 3}
    assert center.agents[0].wrap_up == 20.0


def test_what_a_file_leaves_out_has_the_contracts_default() -> None:
    center = parse_center("[queues.q]\n[agents.a]\n")
    queue, agent = center.queues[0], center.agents[0]
    assert (queue.channel, queue.strategy, queue.weight) == ("voice", "longest_idle", 0)
    assert (queue.target_share, queue.target_within, queue.offer_timeout) == (0.80, 20, 15)
    assert (queue.delay, queue.tier_wait, queue.max_wait, queue.overflow) == (0, 0, 0, None)
    assert queue.tier_wait_multiplies and not queue.sticky and queue.weights is None
    assert (agent.queues, agent.capacity, agent.blend, agent.wrap_up) == (None, {"voice": 1}, False, None)


def test_the_example_of_the_documentation_has_no_warnings() -> None:
    center = load_center(EXAMPLE)
    assert center.warnings == ()
    assert center.reserves[0].queues == ("cards",)


def test_a_list_of_queues_means_tier_one() -> None:
    center = parse_center('[queues.q]\n[queues.p]\n[agents.a]\nqueues = ["p", "q"]\n')
    assert center.agents[0].queues == {"p": 1, "q": 1}


def test_reserves_and_weights_are_read() -> None:
    center = parse_center(
        '[queues.vip]\nstrategy = "weighted"\nweights = { wait = 1, idle = -0.5 }\nsticky = true\n'
        '[agents.a]\nskills = { zh = 3 }\n[[reserve]]\nskill = "zh"\nagents = 2\nfor = ["vip"]\n'
    )
    assert center.queues[0].weights == Weights(wait=1.0, idle=-0.5)
    assert center.queues[0].sticky
    assert (center.reserves[0].level, center.reserves[0].agents) == (1, 2)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[queues.q]\ndelai = 1\n", 'x.toml:2 [queues.q.delai]: unknown key "delai". Did you mean "delay"?'),
        ("[queue.q]\n", 'x.toml:1 [queue]: unknown key "queue". Did you mean "queues"?'),
        ("[center]\norder = 'fifo'\n", "x.toml:2 [center.order]: 'fifo' is not known"),
        ("[center]\norder = 3\n", "x.toml:2 [center.order]: 3 is not known"),
        ("[center]\n\ntime_zone = 'Asia/Beijin'\n", "x.toml:3 [center.time_zone]: 'Asia/Beijin' is not a time zone"),
        ("[center]\ntime_zone = '../../etc/passwd'\n", "x.toml:2 [center.time_zone]"),
        ("[queues.q]\ndelay = -1\n", "x.toml:2 [queues.q.delay]: -1 is out of range"),
        ("[queues.q]\nwrap_up = nan\n", "x.toml:2 [queues.q.wrap_up]: nan is out of range"),
        ("[queues.q]\nmax_wait = inf\n", "x.toml:2 [queues.q.max_wait]: inf is out of range"),
        ("[queues.q]\nmax_wait = 1e-9\n", "x.toml:2 [queues.q.max_wait]: 1e-09 seconds is less than a microsecond"),
        ("[queues.q]\nmax_wait = '5'\n", "x.toml:2 [queues.q.max_wait]: '5' is not a number"),
        ("[queues.q]\nmax_wait = true\n", "x.toml:2 [queues.q.max_wait]: True is not a number"),
        ("[queues.q]\nweight = inf\n", "x.toml:2 [queues.q.weight]: inf is out of range"),
        ("[queues.q]\nweight = true\n", "x.toml:2 [queues.q.weight]: True is not a number"),
        ("[queues.q]\nsticky = 1\n", "x.toml:2 [queues.q.sticky]: 1 is not true or false"),
        ("[queues.q]\nrequires = { zh = 11 }\n", "[queues.q.requires.zh]: 11 is not a whole number from 1 to 10"),
        ("[queues.q]\nrequires = 3\n", "x.toml:2 [queues.q.requires]: 3 is not a table"),
        ("[queues.q]\nsteps = []\n", "x.toml:2 [queues.q.steps]: [] is not a list of 1 to 100 steps"),
        ("[queues.q]\nsteps = [\n  { for = 1 },\n  { fro = 2 } ]\n", "x.toml:4 [queues.q.steps[1].fro]: unknown key"),
        ("[queues.q]\ntarget = { share = 2 }\n", "x.toml:2 [queues.q.target.share]: 2 is out of range"),
        ("[queues.q]\ntarget = { within = 0 }\n", "x.toml:2 [queues.q.target.within]: 0 is out of range"),
        ("[queues.q]\nstrategy = 'ringall'\n", 'Did you mean "ring_all"?'),
        ("[queues.q]\nchannel = 'fax'\n", "Known: voice, chat"),
        ("[queues.q]\nmax_wait = 9\noverflow = 'p'\n", 'x.toml:3 [queues.q.overflow]: there is no queue "p"'),
        ("[queues]\nq = 1\n", "x.toml:2 [queues.q]: 1 is not a table"),
        ("queues = 1\n", "x.toml:1 [queues]: 1 is not a table"),
        ("[agents.a]\nqueues = ['q']\n", 'x.toml:2 [agents.a.queues[0]]: there is no queue "q"'),
        ("[agents.a]\nqueues = [1]\n", "x.toml:2 [agents.a.queues[0]]: 1 is not the name of a queue"),
        ("[queues.q]\n[agents.a]\nqueues = { q = 0 }\n", "[agents.a.queues.q]: 0 is not a whole number"),
        ("[agents.a]\ncapacity = { vioce = 1 }\n", 'Did you mean "voice"?'),
        ("[agents.a]\nskills = { zh = -1 }\n", "x.toml:2 [agents.a.skills.zh]: -1 is not a whole number"),
        ("reserve = 3\n", "x.toml:1 [reserve]: not a list of tables"),
        ("[[reserve]]\nskill = 'zh'\n", 'x.toml:1 [reserve[0]]: the reserve has no "agents"'),
        ("[[reserve]]\nskill='zh'\nagents=1\nfor=['q']\n", 'x.toml:4 [reserve[0].for[0]]: there is no queue "q"'),
        ('[queues."a\\nb"]\n', "control characters"),
        ("[queues.q\n", "x.toml:1: not valid TOML"),
        ("[queues.q]\n[queues.q]\n", "x.toml:2: not valid TOML"),
        ("a = [", "not valid TOML"),
        ("a = " + "[" * 5000 + "]" * 5000, "nested too deeply"),
        ("a = " + "9" * 5000, "not valid TOML"),
    ],
)
def test_a_mistake_is_named_with_file_line_and_key(text: str, expected: str) -> None:
    assert any(expected in error for error in errors_of(text)), errors_of(text)


def test_all_mistakes_are_reported_in_the_order_of_the_file() -> None:
    errors = errors_of(
        "[agents.a]\ncapacity = { voice = -1 }\nwrap_up = -2\n[queues.q]\ndelay = -3\nfoo = 1\noverflow = 'p'\n"
    )
    assert [error.split(" ")[0] for error in errors] == ["x.toml:2", "x.toml:3", "x.toml:5", "x.toml:6", "x.toml:7"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "[queues.q]\nrequires = { billng = 1 }\n[agents.a]\nskills = { billing = 1 }\n",
            'no agent has the skill "billng"',
        ),
        ("[queues.q]\n[agents.a]\nskills = { zh = 1 }\n", 'no queue asks for the skill "zh"'),
        ("[queues.q]\n", "the center has no agents"),
        ("[agents.a]\n", "the center has no queues"),
        ("[queues.q]\noverflow = 'q'\n", "the queue has no max_wait"),
        ("[queues.q]\nchannel = 'chat'\n[agents.a]\nqueues = ['q']\n", "no capacity for chat"),
        ("[queues.q]\nsteps = [ { requires = {} }, { for = 3 } ]\n", "never ends"),
        ("[queues.q]\nweights = { wait = 1 }\n", "weights are never used"),
        ("[queues.q]\nstrategy = 'weighted'\n", "weighted has no weights"),
    ],
)
def test_what_looks_odd_gives_a_warning_with_its_line(text: str, expected: str) -> None:
    warnings = [str(warning) for warning in parse_center(text, "x.toml").warnings]
    assert any(expected in warning and warning.startswith("x.toml") for warning in warnings), warnings


def test_a_cycle_of_overflows_is_allowed() -> None:
    text = "[queues.p]\nmax_wait = 9\noverflow = 'q'\n[queues.q]\nmax_wait = 9\noverflow = 'p'\n[agents.a]\n"
    assert parse_center(text).warnings == ()


def test_a_file_that_is_not_there_or_not_text_is_a_center_error(tmp_path: Path) -> None:
    (tmp_path / "latin.toml").write_bytes(b"# ok\n# caf\xe9\n")
    (tmp_path / "long.toml").write_bytes(b"#" * (CENTER_BYTES_MAX + 1))
    for name, expected in (
        ("none.toml", "No such file"),
        ("latin.toml", ":2: not valid UTF-8"),
        ("long.toml", "longer"),
    ):
        with pytest.raises(CenterError, match=expected):
            load_center(tmp_path / name)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "bom.toml").write_bytes(b"\xef\xbb\xbf[queues.q]\n")
    assert load_center(tmp_path / "bom.toml").queues[0].name == "q"


def test_the_line_of_a_key_is_found_in_every_notation() -> None:
    text = '''# a comment with [brackets] = "and quotes
a = """
two lines # no comment ""\\"
"""
b.c = [ 1,
  { d = "]", e = [
     'x#' ] } ]

[t."q.r"]   # quoted
"k\\u0020l" = 1979-05-27 07:32:00
[[t.u]]
v = 1
[[t.u]]
w = {}
[t.u.x]
y = 2
'''
    tomllib.loads(text)
    lines = key_lines(text)
    expected: dict[tuple[str | int, ...], int] = {
        ("a",): 2, ("b", "c"): 5, ("b", "c", 0): 5, ("b", "c", 1): 6, ("b", "c", 1, "d"): 6, ("b", "c", 1, "e", 0): 7,
        ("t", "q.r"): 9, ("t", "q.r", "k l"): 10, ("t", "u", 0, "v"): 12, ("t", "u", 1, "w"): 14,
        ("t", "u", 1, "x", "y"): 16,
    }  # fmt: skip
    assert {path: lines.get(path) for path in expected} == expected
    assert line_of(lines, ("t", "u", 1, "w", "gone")) == 14
    assert line_of(lines, ("nowhere",)) is None


def toml_text(value: object) -> str:
    """TOML of plain data, one way to write it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + "".join(f"\\u{ord(c):04x}" if ord(c) < 32 or c in '"\\\x7f' else c for c in value) + '"'
    if isinstance(value, list):
        return "[" + ",\n".join(map(toml_text, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml_text(key)} = {toml_text(item)}" for key, item in value.items()) + "}"
    return str(value)


WORDS = (
    "center queues agents reserve order channel requires steps for target share zh skills capacity voice overflow"
    " strategy weights skill level time_zone sticky q"
)
KEYS = st.sampled_from(WORDS.split()) | st.text(st.characters(codec="utf-8"), max_size=4)
LEAVES = st.integers() | st.floats() | st.booleans() | st.sampled_from(["q", "voice", "priority", "zh", "UTC", ""])
TREES = st.recursive(LEAVES, lambda kids: st.lists(kids, max_size=3) | st.dictionaries(KEYS, kids, max_size=4))


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(KEYS, TREES, max_size=4))
def test_any_valid_toml_is_a_center_or_a_center_error(data: dict[str, object]) -> None:
    text = "\n".join(f"{toml_text(key)} = {toml_text(value)}" for key, value in data.items())
    try:
        assert isinstance(parse_center(text), Center)
    except CenterError as error:
        assert error.where.line is not None


@settings(max_examples=300, deadline=None)
@given(st.text() | st.text(st.sampled_from('[]{}=",.#\n\'" aq0\\')))
def test_any_text_is_a_center_or_an_error_of_ours(text: str) -> None:
    try:
        parse_center(text)
    except CordboardError as error:
        assert str(error)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_damaged_center_file_is_read_or_refused(data: st.DataObject) -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(len(text), start + 40)))
    try:
        parse_center(text[:start] + data.draw(st.text(max_size=5)) + text[end:])
    except CordboardError as error:
        assert str(error)
