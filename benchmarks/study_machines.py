"""How well answering machines are told from people, on synthetic speech: the learned model, our rules of before, Asterisk's.

``python -m benchmarks.study_machines`` makes the calls (espeak-ng; kept in build/machines), measures the model that comes with
cordboard on voices and phrases that it was not trained on, and prints tables; ``--train`` trains it anew first, ``--write``
puts that into the package; ``--quick`` takes a tenth of the calls. Everything follows from seeds.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.baselines.machine_rules import Verdict, asterisk, rules
from benchmarks.machines_corpus import Answered, Floats, calls, progress
from cordboard._core.listening import FRAME, Listener
from cordboard._core.trees import Trees
from cordboard.learning import metrics
from cordboard.learning.compiled import CompiledTrees, compile_trees
from cordboard.media import machines
from cordboard.media.backend import Listen

POLICY = Listen("study")  # what is used where nobody says otherwise
SEEDS = {"train": 11, "calibrate": 12, "test": 13}
COUNT = {"train": 12000, "calibrate": 4000, "test": 3000}
EVERY = 4  # frames between two rows of a call
FIRST = 10  # frames after the answer of the first row
LAST = 100


def rows(part: Sequence[Answered]) -> tuple[Floats, Floats, list[int]]:
    """Features at some frames of each call, whether a machine answered, and of which call each row is."""
    x, y, of = [], [], []
    for n, call in enumerate(part):
        listener = Listener(None, 2.0, -1.0, 9.0)
        listener.hear(call.audio[: call.answer * FRAME])
        listener.answered()
        found = listener.follow(call.audio[call.answer * FRAME :][: LAST * FRAME])[FIRST::EVERY]
        x.append(found)
        y += [float(call.machine)] * len(found)
        of += [n] * len(found)
    return np.concatenate(x), np.array(y), of


def train(count: dict[str, int]) -> tuple[dict[str, np.ndarray], dict[str, object]]:
    """The arrays of the calibrated ensemble, and what it was made of."""
    from scipy.optimize import minimize
    from sklearn.ensemble import HistGradientBoostingClassifier

    x, y, _ = rows(list(calls("train", count["train"], SEEDS["train"])))
    settings = {"max_iter": 150, "max_leaf_nodes": 12, "learning_rate": 0.08, "min_samples_leaf": 200, "l2_regularization": 5.0}
    fitted = HistGradientBoostingClassifier(**settings, max_bins=64, early_stopping=False, random_state=0).fit(x, y)
    made = compile_trees(fitted)
    x, y, _ = rows(list(calls("calibrate", count["calibrate"], SEEDS["calibrate"])))
    z = made.log_odds(x)

    def loss(ab: Floats) -> float:
        return float(np.mean(np.logaddexp(0.0, np.where(y > 0.5, -1, 1) * (ab[0] * z + ab[1]))))

    slope, offset = minimize(loss, np.array([1.0, 0.0]), method="Nelder-Mead", options={"xatol": 1e-4, "fatol": 1e-9}).x
    notes = {"speech": "synthetic (espeak-ng)", "calls": count["train"], "seeds": SEEDS, "calibration": [round(float(slope), 4), round(float(offset), 4)]}
    return machines.scaled(made.arrays(), round(float(slope), 4), round(float(offset), 4)), {**notes, **settings}


def judge(trees: Trees, call: Answered, policy: Listen = POLICY) -> tuple[float, str, float]:
    """(probability of a machine, why, seconds after the answer) of a call."""
    listener = Listener(trees, policy.machine_at, policy.person_at, policy.deadline_s)
    listener.hear(call.audio[: call.answer * FRAME])
    listener.answered()
    for sound, why, machine, seconds in listener.hear(call.audio[call.answer * FRAME :]):
        if not sound:
            return machine, why, seconds
    raise AssertionError("no verdict")


def told(verdicts: Sequence[Verdict], truth: Sequence[bool]) -> dict[str, float]:
    """What became of people and machines. Whoever is not taken for a machine gets an agent."""
    machine = np.array([one.machine for one in verdicts])
    real, times = np.array(truth), np.array([one.after_s for one in verdicts])
    return {
        "right %": 100 * float(np.mean(machine == real)),
        "people taken for machines %": 100 * float(machine[~real].mean()),
        "machines found %": 100 * float(machine[real].mean()),
        "median s": float(np.median(times)),
        "of people": float(np.median(times[~real])),
        "p95 s": float(np.quantile(times, 0.95)),
        "within 2 s %": 100 * float(np.mean(times <= 2.0)),
    }


def compare(trees: Trees, part: Sequence[Answered]) -> None:
    truth = [call.machine for call in part]
    judged = [judge(trees, call) for call in part]
    p = np.array([one[0] for one in judged])
    y = np.array(truth, float)
    learned = [Verdict(one[0] >= POLICY.machine_at, one[1], one[2]) for one in judged]
    names: list[tuple[str, Sequence[Verdict]]] = [
        ("learned model", learned), ("rules of before", [rules(call) for call in part]),
        ("Asterisk's AMD", [asterisk(call) for call in part]),
        ("the same, cut at 2 s", [asterisk(call, total_analysis_time=2.0) for call in part]),
    ]  # fmt: skip
    print(f"\n{len(part)} calls of voices and phrases not trained on, half of them machines; synthetic speech")
    for name, verdicts in names:
        print(f"{name:22}", "  ".join(f"{key} {value:.2f}" for key, value in told(verdicts, truth).items()))
    print(f"probability at the decision: AUC {metrics.auc(y, p):.4f}  ECE {metrics.ece(y, p):.4f}  log-loss {metrics.log_loss(y, p):.4f}")
    x, each, _ = rows(part)
    q = CompiledTrees(trees.arrays).predict(x)
    print("probability at each step:", "  ".join(
        f"{s:.1f} s: AUC {metrics.auc(each[at], q[at]):.3f} ECE {metrics.ece(each[at], q[at]):.3f}"
        for s in (0.5, 1.0, 1.5, 1.8) for at in [np.abs(x[:, 0] - s) < EVERY * 0.0101]))  # fmt: skip
    print("why:", dict(Counter(one[1] for one in judged)))
    print("\nby the limit from which a machine is let go:")
    for limit in (0.8, 0.9, 0.95, 0.98):
        policy = Listen("study", machine_at=limit)
        again = [judge(trees, call, policy) for call in part]
        found = told([Verdict(one[0] >= limit, one[1], one[2]) for one in again], truth)
        print(f"  {limit:<5}", "  ".join(f"{key} {value:.2f}" for key, value in found.items()))
    print("\nby scenario and by language: people taken for machines, machines found")
    for title, key in (("scenario", lambda call: call.kind), ("language", lambda call: call.voice.split("+")[0])):
        _by(title, key, part, learned)


def _by(title: str, key: Callable[[Answered], str], part: Sequence[Answered], verdicts: Sequence[Verdict]) -> None:
    for name in sorted({key(call) for call in part}):
        wrong = [v.machine for call, v in zip(part, verdicts, strict=True) if key(call) == name and not call.machine]
        right = [v.machine for call, v in zip(part, verdicts, strict=True) if key(call) == name and call.machine]
        print(f"  {title} {name:12}", " ".join(f"{sum(one)}/{len(one)}" for one in (wrong, right)))


def sounds(count: int) -> None:
    """Whether tones are made out, and none where there is none."""
    found: dict[str, Counter[str]] = {}
    for kind, audio, answered in progress(count, 14):
        listener = Listener(None, 2.0, -1.0, 9.0)
        if answered:
            listener.answered()
        heard = [sound for sound, *_ in listener.hear(audio) if sound]
        found.setdefault(kind, Counter())[",".join(dict.fromkeys(heard)) or "none"] += 1
    print(f"\nsounds, {count} calls: what was played, what was heard")
    for kind, counter in found.items():
        print(f"  {kind or 'speech alone':16}", dict(counter.most_common()))


def cost(trees: Trees, part: Sequence[Answered]) -> None:
    """CPU of listening in percent of a core a leg: 50 frames a second, before and after the decision."""
    audio = [call.audio for call in part[:400]]
    best = {}
    for decided in (False, True):
        times = []
        for _ in range(5):
            frames, begun = 0, time.process_time()
            for one in audio:
                listener = Listener(trees, 2.0, -1.0, 0.0 if decided else 60.0)
                listener.answered()
                listener.hear(one)
                frames += len(one) // FRAME
            times.append((time.process_time() - begun) / frames)
        best[decided] = float(np.median(times))
    print(f"\ncost: {1e6 * best[False]:.2f} us a frame until the decision, {100 * 50 * best[False]:.4f} % of a core a leg; "
          f"{1e6 * best[True]:.2f} us and {100 * 50 * best[True]:.4f} % after it")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--write", action="store_true", help="train, and put the model into the package")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    count = {part: n // 10 if options.quick else n for part, n in COUNT.items()}
    if options.train or options.write:
        arrays, notes = train(count)
        data = machines.to_bytes(arrays, notes)
        if options.write:
            machines.FILE.write_bytes(data)
        print(f"model of {len(data)} bytes, {notes}")
        trees = machines.from_bytes(data, "trained now")
    else:
        trees = machines.model()
    part = list(calls("test", count["test"], SEEDS["test"]))
    compare(trees, part)
    sounds(110 if options.quick else 1100)
    cost(trees, part)


if __name__ == "__main__":
    main()
