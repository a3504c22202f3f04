"""PredictionService, PacingService and SimulationService against a live server, beside what the library says."""

from __future__ import annotations

import json
import queue as queues

import grpc
import numpy as np
import pytest
from google.longrunning import operations_pb2, operations_pb2_grpc

from cordboard import Pacer
from cordboard.center import parse_center
from cordboard.learning.model import AnswerModel, Result
from cordboard.learning.registry import Registry
from cordboard.learning.schema import Schema
from cordboard.simulation import parse_scenario, simulate
from cordboard.v1 import pacing_service_pb2 as pacing
from cordboard.v1 import pacing_service_pb2_grpc, prediction_service_pb2_grpc, simulation_service_pb2_grpc
from cordboard.v1 import prediction_service_pb2 as predictions
from cordboard.v1 import simulation_service_pb2 as simulations
from tests.serving import CENTER, TENANT, serve_command, served

SCENARIO = """
[scenario]
duration = 3600
[[arrivals]]
queue = "sales"
per_hour = 60
service = { law = "exponential", mean = 60 }
[[shifts]]
agents = ["ana", "ben"]
work = [[0, 3600]]
"""
SCHEMA = Schema.from_dict(
    {
        "name": "calls",
        "version": 1,
        "crosses": [],
        "shrink": [],
        "features": {
            "hour": {"kind": "number", "known": "before_dial", "edges": [9, 12, 15, 18]},
            "line": {"kind": "category", "known": "before_dial", "values": ["mobile", "fixed"]},
        },
    }
)
MODEL = f"{TENANT}/models/answers"


@pytest.fixture
def live(tmp_path):
    Registry(tmp_path / "default" / "models" / "answers").add(trained(), 0.0)
    with served(tmp_path) as found:
        yield found


def trained():
    """A model that has seen that mobiles answer in the evening."""
    model = AnswerModel(SCHEMA)
    rng = np.random.default_rng(5)
    for i in range(300):
        row = {"hour": float(rng.integers(8, 20)), "line": ("mobile", "fixed")[i % 2]}
        person = row["line"] == "mobile" and row["hour"] > 15
        model.expect(f"c{i}", row, float(i))
        model.learn(f"c{i}", Result("person" if person else "no_answer"), float(i))
    return model


def features(hour, line):
    return {"hour": predictions.FeatureValue(number=hour), "line": predictions.FeatureValue(text=line)}


def code_of(call, *arguments):
    with pytest.raises(grpc.RpcError) as raised:
        found = call(*arguments)
        list(found) if hasattr(found, "__iter__") else None
    return raised.value.code()


def test_one_attempt_and_columns_of_attempts_are_scored_as_the_library_scores_them(live):
    stub = live.stub(prediction_service_pb2_grpc)
    model = trained()
    one = stub.Score(predictions.ScoreRequest(model=MODEL, features=features(17, "mobile"))).prediction
    expected = model.predict({"hour": 17.0, "line": "mobile"})
    assert dict(one.outcomes) == pytest.approx(expected.outcomes) and one.outcomes["person"] > 0.4
    assert one.success == pytest.approx(expected.success) and len(one.version) == 16
    hours, lines = [9.0, 17.0, 12.5], ["fixed", "mobile", "mobile"]
    columns = [
        predictions.FeatureColumn(name="hour", numbers=np.array(hours).tobytes()),
        predictions.FeatureColumn(name="line", texts=lines),
    ]
    many = stub.ScoreColumns(predictions.ScoreColumnsRequest(model=MODEL, columns=columns)).probabilities
    table = model.predict_many({"hour": np.array(hours), "line": lines})
    assert set(many) == set(table)
    for name, values in table.items():
        assert np.frombuffer(many[name]) == pytest.approx(values), name


def test_a_model_learns_what_it_is_told_once_and_keeps_it(tmp_path):
    registry = Registry(tmp_path / "default" / "models" / "answers")
    registry.add(AnswerModel(SCHEMA), 0.0)
    with served(tmp_path) as live:
        stub = live.stub(prediction_service_pb2_grpc)
        score = predictions.ScoreRequest(model=MODEL, features=features(10, "fixed"))
        before = stub.Score(score).prediction.outcomes["person"]
        for i in range(50):
            stub.Expect(predictions.ExpectRequest(model=MODEL, call_id=f"c{i}", features=features(10, "fixed")))
            stub.Learn(predictions.LearnRequest(model=MODEL, call_id=f"c{i}", outcome="person", right_party=True))
        after = stub.Score(score).prediction.outcomes["person"]
        again = predictions.LearnRequest(model=MODEL, call_id="c1", outcome="machine")
        assert code_of(stub.Learn, again) is grpc.StatusCode.FAILED_PRECONDITION
        assert after > before + 0.2
    assert registry.load().predict({"hour": 10.0, "line": "fixed"}).outcomes["person"] == pytest.approx(after)


@pytest.mark.parametrize(
    ("method", "request_", "code"),
    [
        ("Score", predictions.ScoreRequest(model=f"{TENANT}/models/other"), "NOT_FOUND"),
        ("Score", predictions.ScoreRequest(model=f"{TENANT}/models/..%2F..%2Fx"), "NOT_FOUND"),
        ("Score", predictions.ScoreRequest(model="answers"), "INVALID_ARGUMENT"),
        ("Score", predictions.ScoreRequest(model=MODEL, features={"hour": {"text": "noon"}}), "INVALID_ARGUMENT"),
        ("ScoreColumns", predictions.ScoreColumnsRequest(model=MODEL), "INVALID_ARGUMENT"),
        ("ScoreColumns", predictions.ScoreColumnsRequest(model=MODEL, columns=[{"name": "hour", "numbers": b"123"}]), "INVALID_ARGUMENT"),
        ("Expect", predictions.ExpectRequest(model=MODEL), "INVALID_ARGUMENT"),
        ("Learn", predictions.LearnRequest(model=MODEL, call_id="c", outcome="maybe"), "INVALID_ARGUMENT"),
    ],
)
def test_what_can_not_be_scored_or_learned_is_refused(live, method, request_, code):
    assert code_of(getattr(live.stub(prediction_service_pb2_grpc), method), request_).name == code


def campaign(n=400, seed=11):
    """Observations of a small campaign: agents, calls that answer or not, and a question every second."""
    rng = np.random.default_rng(seed)
    rows = [(0.0, 1, agent, 1, np.nan) for agent in range(8)]
    for number in range(n):
        t = number + 1.0
        rows.append((t, 4, 0, 0, np.nan))
        rows.append((t, 2, number, 0, 0.3))
        rows.append((t + 0.5, 2, number, 2 if rng.random() < 0.3 else 6, np.nan))
        if rows[-1][3] == 2:
            rows.append((t + 0.6, 2, number, 3, np.nan))
    return rows


def test_a_campaign_by_columns_is_paced_as_the_library_paces_it(live):
    rows = campaign()
    t, kind, subject, what, p = (np.array(column) for column in zip(*rows, strict=True))
    reply = live.stub(pacing_service_pb2_grpc).PaceColumns(
        pacing.PaceColumnsRequest(
            config=pacing.PacingPlanConfig(target=0.05),
            time=t.tobytes(),
            kind=kind.astype("<i4").tobytes(),
            subject=subject.astype("<i8").tobytes(),
            what=what.astype("<i4").tobytes(),
            answer_probability=p.tobytes(),
        )
    )
    pacer, plans = Pacer(target=0.05), []
    calls = {0: "placed", 2: "answered", 3: "connected", 6: "failed"}
    for at, which, who, event, share in rows:
        if which == 4:
            plans.append(pacer.plan(at))
        elif which == 1:
            pacer.agent(who, "idle", at)
        else:
            pacer.call(who, calls[event], at, p=None if np.isnan(share) else share)
    assert np.frombuffer(reply.dial_count, "<i4").tolist() == [sum(plan.dial) for plan in plans]
    assert np.frombuffer(reply.look_time).tolist() == [plan.look for plan in plans]
    assert sum(np.frombuffer(reply.dial_count, "<i4")) > 100


def test_a_campaign_by_stream_is_answered_question_by_question_with_reasons(live):
    def at(t):
        return {"seconds": int(t)}

    def ask(t, *observations):
        return pacing.PaceRequest(observations=observations, question=pacing.PacingQuestion(time=at(t)))

    agents = [pacing.PacingObservation(time=at(1), agent=pacing.PacingAgent(agent=f"a{i}", state="idle")) for i in range(4)]
    call = pacing.PacingObservation(time=at(3), call=pacing.PacingCall(call="1.1", event="placed", answer_probability=0.3))
    opening = pacing.PaceRequest(open=pacing.PacingPlanConfig(mode=pacing.PacingPlanConfig.MODE_PROGRESSIVE))
    stub = live.stub(pacing_service_pb2_grpc)
    nobody, four, three = stub.Pace(iter([opening, ask(0), ask(2, *agents), ask(4, call)]))
    assert list(nobody.dial_counts) == [0] and nobody.mode == "stopped" and nobody.chinese_text
    assert list(four.dial_counts) == [4] and list(four.call_ids) == ["2.1", "2.2", "2.3", "2.4"]
    assert list(three.dial_counts) == [3]


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([pacing.PaceRequest()], "INVALID_ARGUMENT"),
        ([pacing.PaceRequest(open={"target": 2})], "INVALID_ARGUMENT"),
        ([pacing.PaceRequest(open={}), pacing.PaceRequest(observations=[{}])], "INVALID_ARGUMENT"),
        ([pacing.PaceRequest(open={}), pacing.PaceRequest(observations=[{"call": {"call": "x", "event": "ringing"}}])], "FAILED_PRECONDITION"),
        ([pacing.PaceRequest(open={"time_zone": "Mars"})], "INVALID_ARGUMENT"),
    ],
)
def test_campaigns_that_can_not_be_paced_are_refused(live, messages, code):
    assert code_of(live.stub(pacing_service_pb2_grpc).Pace, iter(messages)).name == code


def test_a_simulation_is_an_operation_whose_result_is_the_librarys(live):
    stub = live.stub(simulation_service_pb2_grpc)
    operations = operations_pb2_grpc.OperationsStub(live.channel)
    request = simulations.SimulateRequest(parent=TENANT, scenario_toml=SCENARIO, replications=3, seed=4, request_id="s1")
    begun, again = stub.Simulate(request), stub.Simulate(request)
    assert begun.name == again.name and begun.name.startswith(f"{TENANT}/operations/")
    done = operations.WaitOperation(operations_pb2.WaitOperationRequest(name=begun.name, timeout={"seconds": 60}))
    result, metadata = simulations.SimulationResult(), simulations.SimulationMetadata()
    assert done.done and done.response.Unpack(result) and done.metadata.Unpack(metadata)
    expected = simulate(parse_center(CENTER), parse_scenario(SCENARIO), replications=3, seed=4)
    assert json.loads(result.result_json) == json.loads(json.dumps(expected.as_dict()))
    assert (metadata.replications_done, metadata.replications) == (3, 3)
    listed = operations.ListOperations(operations_pb2.ListOperationsRequest(name=TENANT)).operations
    assert [one.name for one in listed] == [begun.name]
    operations.DeleteOperation(operations_pb2.DeleteOperationRequest(name=begun.name))
    assert code_of(operations.GetOperation, operations_pb2.GetOperationRequest(name=begun.name)).name == "NOT_FOUND"


def test_a_simulation_can_be_cancelled_and_only_two_run_at_a_time(live):
    stub = live.stub(simulation_service_pb2_grpc)
    operations = operations_pb2_grpc.OperationsStub(live.channel)
    long = SCENARIO.replace("3600", "864000").replace("per_hour = 60", "per_hour = 600")
    request = simulations.SimulateRequest(parent=TENANT, scenario_toml=long, replications=1000)
    begun = [stub.Simulate(request) for _ in range(2)]
    assert code_of(stub.Simulate, request) is grpc.StatusCode.RESOURCE_EXHAUSTED
    for one in begun:
        operations.CancelOperation(operations_pb2.CancelOperationRequest(name=one.name))
    for one in begun:
        done = operations.WaitOperation(operations_pb2.WaitOperationRequest(name=one.name, timeout={"seconds": 60}))
        assert done.done and done.error.code == grpc.StatusCode.CANCELLED.value[0]


@pytest.mark.parametrize(
    "request_",
    [
        simulations.SimulateRequest(parent=TENANT, scenario_toml="nothing"),
        simulations.SimulateRequest(parent=TENANT, scenario_toml=SCENARIO, center_toml="[queues"),
        simulations.SimulateRequest(parent=TENANT, scenario_toml=SCENARIO, replications=2000),
        simulations.SimulateRequest(parent="acme", scenario_toml=SCENARIO),
    ],
)
def test_simulations_that_can_not_be_are_refused(live, request_):
    assert code_of(live.stub(simulation_service_pb2_grpc).Simulate, request_) is grpc.StatusCode.INVALID_ARGUMENT


def test_after_kill_9_a_model_has_learned_what_it_was_told_and_waits_for_what_it_expected(tmp_path):
    (tmp_path / "center.toml").write_text(CENTER)
    registry = Registry(tmp_path / "data" / "default" / "models" / "answers")
    registry.add(AnswerModel(SCHEMA), 0.0)
    score = predictions.ScoreRequest(model=MODEL, features=features(10, "fixed"))
    with serve_command("center.toml", "--data", "data", cwd=tmp_path) as (process, address):
        with grpc.insecure_channel(address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            for i in range(40):
                stub.Expect(predictions.ExpectRequest(model=MODEL, call_id=f"c{i}", features=features(10, "fixed")))
            for i in range(30):
                stub.Learn(predictions.LearnRequest(model=MODEL, call_id=f"c{i}", outcome="person", right_party=True))
            before = stub.Score(score).prediction
        process.kill()
        process.wait(30)
    with serve_command("center.toml", "--data", "data", cwd=tmp_path) as (process, address):
        with grpc.insecure_channel(address) as channel:
            stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
            assert stub.Score(score).prediction == before and before.outcomes["person"] > 0.25
            known = predictions.LearnRequest(model=MODEL, call_id="c29", outcome="machine")
            assert code_of(stub.Learn, known) is grpc.StatusCode.FAILED_PRECONDITION
            stub.Learn(predictions.LearnRequest(model=MODEL, call_id="c35", outcome="machine"))
        process.terminate()  # a model that is written to its file waits for the same calls
        assert process.wait(30) == 0
    with served(tmp_path / "data", CENTER) as live:
        stub = live.stub(prediction_service_pb2_grpc)
        assert code_of(stub.Learn, predictions.LearnRequest(model=MODEL, call_id="c35")) is grpc.StatusCode.FAILED_PRECONDITION
        stub.Learn(predictions.LearnRequest(model=MODEL, call_id="c36", outcome="person"))


def told(number, t, *observations, ask=False):
    for observation in observations:
        observation.time.FromMicroseconds(round(t * 1e6))
    request = pacing.PaceRequest(sequence=number, observations=observations)
    if ask:
        request.question.time.FromMicroseconds(round(t * 1e6))
    return request


def day(n):
    """Messages of a campaign: agents, calls that are answered or not, and a question every second."""
    rng = np.random.default_rng(3)
    agents = [pacing.PacingObservation(agent=pacing.PacingAgent(agent=f"a{i}", state="idle")) for i in range(8)]
    yield told(1, 0.5, *agents)
    for number in range(2, n + 2):
        seen = [pacing.PacingObservation(alive=True)]
        for call in (f"x{number}", f"y{number}"):
            seen.append(pacing.PacingObservation(call=pacing.PacingCall(call=call, event="placed", answer_probability=0.3)))
            event = "answered" if rng.random() < 0.3 else "failed"
            seen.append(pacing.PacingObservation(call=pacing.PacingCall(call=call, event=event)))
        yield told(number, float(number), *seen, ask=True)


NAMED = pacing.PacingPlanConfig(max_lines=20, campaign=f"{TENANT}/campaigns/renewals")


def pace(address, config, messages):
    """The answers of one stream; of a campaign with a name, without the first, which tells how far it is."""
    with grpc.insecure_channel(address) as channel:
        stub = pacing_service_pb2_grpc.PacingServiceStub(channel)
        return list(stub.Pace(iter([pacing.PaceRequest(open=config), *messages]), timeout=60))


def test_after_kill_9_a_campaign_goes_on_and_gives_the_plans_of_one_that_was_never_interrupted(tmp_path):
    (tmp_path / "center.toml").write_text(CENTER)
    messages = list(day(120))
    plain = pacing.PacingPlanConfig(max_lines=20)
    with serve_command("center.toml", "--data", "data", cwd=tmp_path) as (process, address):
        whole = pace(address, plain, messages)
        found = pace(address, NAMED, messages[:70])
        assert found[0].sequence == 0 and not found[0].number
        process.kill()
        process.wait(30)
    with serve_command("center.toml", "--data", "data", cwd=tmp_path) as (process, address):
        again = pace(address, NAMED, messages[60:])  # the client does not know how far it came
        assert again[0].sequence == 70
        assert again[1:11] == found[-10:]
        plans = [*found[1:], *again[11:]]
        for plan in plans:
            plan.sequence = 0
        assert plans == whole and any(sum(plan.dial_counts) for plan in plans)


@pytest.mark.parametrize(
    ("config", "messages", "code"),
    [
        (pacing.PacingPlanConfig(campaign=NAMED.campaign, max_lines=21), [], "ABORTED"),
        (NAMED, [told(0, 1.0)], "INVALID_ARGUMENT"),
        (NAMED, [told(5, 1.0)], "INVALID_ARGUMENT"),
        (NAMED, [told(1, 1.0, ask=True)], "FAILED_PRECONDITION"),
        (pacing.PacingPlanConfig(campaign=f"{TENANT}/campaigns/..%2F..%2Fx"), [], "INVALID_ARGUMENT"),
        (pacing.PacingPlanConfig(campaign="tenants/other/campaigns/x"), [], "PERMISSION_DENIED"),
    ],
)
def test_what_a_campaign_with_a_name_can_not_take_is_refused(live, config, messages, code):
    assert len(pace(live.address, NAMED, [told(1, 0.5), told(2, 1.0, ask=True)])) == 2
    with pytest.raises(grpc.RpcError) as raised:
        pace(live.address, config, messages)
    assert raised.value.code().name == code


def test_a_newer_stream_takes_a_campaign_over(live):
    stub = live.stub(pacing_service_pb2_grpc)
    out: queues.Queue = queues.Queue()
    out.put(pacing.PaceRequest(open=NAMED))
    older = stub.Pace(iter(out.get, None))
    assert next(older).sequence == 0
    assert len(pace(live.address, NAMED, [told(1, 1.0, ask=True)])) == 2
    out.put(told(2, 2.0, ask=True))
    with pytest.raises(grpc.RpcError) as raised:
        next(older)
    assert raised.value.code() is grpc.StatusCode.ABORTED
