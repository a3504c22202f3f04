"""What contacts bring, read back from a dump: values straight from their text, everything else as JSON."""

from __future__ import annotations

import json
import random

import pytest

from cordboard import Acd
from cordboard._core.acd import Router
from cordboard.center import Agent, Center, Queue, Weights

NAMES = ["x", "zoë", "李雷", "a b", 'with "quotes"', "back\\slash", "x" * 300, ""]


def text_of(values: dict[str, float]) -> str:
    return json.dumps({"values": values}, ensure_ascii=False, separators=(",", ":"))


def test_values_read_from_text_are_those_that_json_gives() -> None:
    # given: numbers of every kind, short and long, agents of the center and others
    rng = random.Random(1)
    router = Router(Center((), ()))
    agents = {name: i for i, name in enumerate(NAMES)}
    plain = 0
    for _ in range(3_000):
        values: dict[str, float] = {}
        for name in rng.sample([*NAMES, "unknown"], rng.randrange(4)):
            number = rng.choice([rng.random(), round(rng.random(), 3), rng.uniform(-1e30, 1e30), 10.0 ** rng.randint(-320, 300)])
            values[name] = rng.choice([number, float(round(number)), 7, 123456789012345678, 0.0, -0.5])
        text = text_of(values)
        expected = router.wish(None, None, json.loads(text)["values"], agents)
        # when
        [wish] = router.plain_wishes([text], agents)
        # then: interned, so equal ids are equal bits
        if wish is not None:
            assert (wish.ids, wish.text) == (expected, text)
            plain += 1
        else:
            assert "\\" in text, text
    assert plain > 1_000


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        '{"values":{',
        '{"values":{}',
        '{"values":{"x":}}',
        '{"values":{"x":1}',
        '{"values":{"x":1,}}',
        '{"values":{"x":1}} ',
        '{"values":{"x":1}}{}',
        '{"values":{"x":01}}',
        '{"values":{"x":1.}}',
        '{"values":{"x":.5}}',
        '{"values":{"x":-}}',
        '{"values":{"x":1e}}',
        '{"values":{"x":1e999}}',
        '{"values":{"x":NaN}}',
        '{"values":{"x":"1"}}',
        '{"values":{"x":1,"x":2}}',
        '{"values":{"\\u0078":1}}',
        '{"values": {"x":1}}',
        '{"values":{"x":1},"steps":[]}',
        '{"values":{"x\0":1\0}}',
    ],
)
def test_a_text_that_is_not_values_plainly_written_is_left_to_json(text: str) -> None:
    assert Router(Center((), ())).plain_wishes([text], {"x": 0}) == [None]


def test_a_loaded_engine_decides_by_the_values_that_its_contacts_brought() -> None:
    # given: agents free for contacts that have to wait a while; each contact with values for some of them
    queue = Queue("q", strategy="weighted", weights=Weights(value=1.0), offer_timeout=0.0, delay=1_000.0)
    names = [*(f"a{i}" for i in range(80)), 'the "best"']
    center = Center((queue,), tuple(Agent(name, {}) for name in names))
    acd = Acd(center)
    for name in names:
        acd.apply({"t": 0, "event": "agent_ready", "agent": name})
    for n in range(60):
        favorites = {name: (k * 37 % 80) / 7 for k, name in enumerate(names[: 10 + n])} if n % 2 else {names[-n]: 0.1, names[3]: -1}
        acd.apply({"t": n, "event": "contact_queued", "contact": f"c{n}", "queue": "q", "values": favorites})
    # when
    loaded = Acd.load(center, acd.dump())
    # then
    assert loaded.dump() == acd.dump()
    offers = acd.advance(2_000)
    assert loaded.advance(2_000) == offers
    assert len({offer["agent"] for offer in offers}) == 60 and offers[1]["agent"] != "a0"
