"""One head: a binary question, a champion that answers it, perhaps a challenger, and the alarms around them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cordboard._core.online import LANES, SLOTS, OnlineLearner
from cordboard.errors import DataError
from cordboard.learning.compiled import Compiled
from cordboard.learning.contest import Contest, ContestRule
from cordboard.learning.drift import Alarm, OutcomeDrift
from cordboard.learning.encoding import Encoded, Encoder

Floats = NDArray[np.float64]
ALARMS_MAX = 1000
SHRUNK, TREES = LANES, LANES + 1


@dataclass(frozen=True, slots=True)
class Settings:
    """Constants of a learner. The defaults were chosen on the first 70 % of bank-additional-full.csv.

    ``lanes``: learning rate, decay a label, epsilon, weight decay a label of each of the four regressions.
    ``recent``: label counts of the recent rates. ``prior``: the rate before anything is known. ``window``: rows over
    which numbers are standardized. ``strength``: labels that a level of the shrunk rate is worth to the one inside
    it; ``cell_decay``: what it keeps a label. ``pool_*``: how the experts are weighed. ``platt_*``: the calibration.
    """

    lanes: tuple[tuple[float, float, float, float], ...] = (
        (0.05, 0.998, 1.0, 1e-5),
        (0.05, 0.9995, 1.0, 1e-5),
        (0.1, 0.9998, 1.0, 1e-4),
        (0.02, 0.998, 1.0, 1e-5),
    )
    recent: tuple[float, ...] = (10.0,)
    prior: float = 0.1
    window: float = 5000.0
    strength: float = 20.0
    cell_decay: float = 0.9995
    pool_rate: float = 0.2
    pool_decay: float = 0.9999
    pool_share: float = 0.001
    platt_rate: float = 0.01
    platt_decay: float = 0.999
    platt_pull: float = 0.001

    def learner(self, encoder: Encoder, level: int = -1) -> OnlineLearner:
        """A learner with these constants for the encoder's rows."""
        constants = {name: getattr(self, name) for name in self.__slots__ if name not in ("lanes", "recent")}
        try:
            return OnlineLearner(
                len(encoder.numbers), len(encoder.coded), encoder.n_weights, len(encoder.levels), encoder.n_cells,
                self.lanes, self.recent, level=level, **constants,
            )  # fmt: skip
        except ValueError as error:
            raise DataError(f"settings can't be used: {error}", hint="See Settings.") from None


@dataclass(slots=True)
class Model:
    """A learner and the compiled model it may have beside it."""

    name: str
    learner: OnlineLearner
    settings: Settings
    compiled: Compiled | None = None

    def extra(self, rows: Encoded) -> Floats:
        """Log-odds of the compiled model: float64 (n,), NaN without one."""
        return self.compiled.log_odds(rows.dense) if self.compiled is not None else np.full(len(rows), np.nan)

    def predict(self, rows: Encoded) -> tuple[Floats, Floats]:
        """(probabilities (n,), traces (n, trace_size))."""
        out, trace = np.empty(len(rows)), np.empty((len(rows), self.learner.trace_size()))
        self.learner.predict(rows.numbers, rows.codes, rows.cells, self.extra(rows), out, trace)
        return out, trace

    def copy(self, name: str, encoder: Encoder) -> Model:
        """A twin that goes on from here by itself."""
        twin = self.settings.learner(encoder)
        twin.restore(self.learner.state())
        return Model(name, twin, self.settings, self.compiled)


@dataclass(slots=True)
class Pending:
    """What a prediction leaves for its label: its row, and each model's probability and trace."""

    row: Encoded
    p: Floats
    traces: list[Floats] = field(default_factory=list)
    models: list[Model] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a probability is what it is: ``base`` + the sum of ``terms`` = the log-odds, exactly (to rounding).

    Terms are in log-odds, the largest first, by feature (or cross: ``month x contact``), plus what the recent rates
    and the shrunk rate say.
    """

    head: str
    p: float
    log_odds: float
    base: float
    terms: tuple[tuple[str, float], ...]


class Head:
    """A binary head over an encoder's rows. ``name`` says what it predicts; ``settings`` how it learns."""

    def __init__(self, name: str, encoder: Encoder, settings: Settings, rule: ContestRule | None = None) -> None:
        self.name, self.encoder, self.settings = name, encoder, settings
        self.champion = Model("champion", settings.learner(encoder), settings)
        self.challenger: Model | None = None
        self.contest = Contest(rule)
        self.drift = OutcomeDrift()
        self.alarms: deque[Alarm] = deque(maxlen=ALARMS_MAX)
        self.log: deque[str] = deque(maxlen=ALARMS_MAX)

    @property
    def models(self) -> list[Model]:
        """The champion, and the challenger if there is one."""
        return [self.champion] + ([self.challenger] if self.challenger else [])

    def challenge(self, name: str, compiled: Compiled | None = None, settings: Settings | None = None) -> None:
        """Start a challenger: the champion's twin with another compiled model beside it, or a new learner with
        ``settings``."""
        if settings is not None:
            if len(settings.recent) != len(self.settings.recent):
                raise DataError("a challenger must keep as many recent rates", hint="Give as many entries in `recent`.")
            challenger = Model(name, settings.learner(self.encoder), settings, compiled)
        else:
            challenger = self.champion.copy(name, self.encoder)
            challenger.compiled = compiled
        if compiled is not None and compiled.n_features != len(self.encoder.dense_names):
            raise DataError(
                f"the model takes {compiled.n_features} features, this head has {len(self.encoder.dense_names)}",
                hint="Train it on this head's dense rows.",
            )
        challenger.learner.use_extra(challenger.compiled is not None)
        self.challenger = challenger
        self.contest = Contest(self.contest.rule)
        self.log.append(f"{self.champion.learner.labels} labels: {name} challenges {self.champion.name}")

    def predict(self, rows: Encoded) -> Floats:
        """Probabilities that are served: the champion's. Changes nothing."""
        return self.champion.predict(rows)[0]

    def expect(self, row: Encoded) -> Pending:
        """Predict a row that is really used, and keep what its label will need."""
        pending = Pending(row, np.empty(len(self.models)))
        for i, model in enumerate(self.models):
            p, trace = model.predict(row)
            model.learner.observe(row.numbers)
            pending.p[i] = p[0]
            pending.traces.append(trace)
            pending.models.append(model)
        return pending

    def learn(self, pending: Pending, y: float) -> None:
        """Learn the label (0 or 1) of an expected row."""
        row, label = pending.row, np.array([y])
        for model, trace in zip(pending.models, pending.traces, strict=True):
            if model in self.models:  # one that lost meanwhile learns no more
                model.learner.learn(row.numbers, row.codes, row.cells, trace, label)
        p = pending.p
        self._judge(y, float(p[0]), float(p[1]) if len(p) > 1 and pending.models[1] is self.challenger else None)

    def run(self, rows: Encoded, y: Floats, delay: int = 0) -> Floats:
        """Predict, then learn, row by row, labels ``delay`` rows late; NaN in y = no label. The probabilities
        served: (n,).

        The last ``delay`` labels are not learned: they have not come.
        """
        said = []
        for model in self.models:
            out = np.empty(len(rows))
            model.learner.run(rows.numbers, rows.codes, rows.cells, model.extra(rows), y, delay, out)
            said.append(out)
        served = said[0].copy()
        mine, other = said[0], said[1] if len(said) > 1 else None
        for i in range(len(y) - delay):
            if np.isnan(y[i]):
                continue
            changed = self._judge(float(y[i]), float(mine[i]), None if other is None else float(other[i]))
            if changed and other is not None:
                mine, other = other, mine
                served[i + delay + 1 :] = mine[i + delay + 1 :]
        return served

    def _judge(self, y: float, p: float, challenger: float | None) -> bool:
        self.alarms.extend(self.drift.add(y, p))
        if challenger is None or self.challenger is None or not self.contest.add(y, p, challenger):
            return False
        self.champion, self.challenger = self.challenger, self.champion
        labels = self.champion.learner.labels
        self.log.append(f"{labels} labels: {self.champion.name} takes over from {self.challenger.name}")
        return True

    def served_by(self) -> str:
        """The expert with the largest share in the pool: a lane, ``shrunk rate`` or ``trees``."""
        return str(SLOTS[int(np.argmax(self.champion.learner.pool()))])

    def explain(self, row: Encoded) -> Explanation:
        """The served probability of one row, taken apart exactly."""
        model = self.champion
        p, trace = model.predict(row)
        learner, encoder = model.learner, self.encoder
        n_x = trace.shape[1] - len(SLOTS)
        x, z = trace[0, :n_x], trace[0, n_x:]
        pool = learner.pool()
        if np.isnan(z[TREES]):
            pool[TREES] = 0.0
            pool /= pool.sum()
        weights = learner.weights() @ pool[:LANES]
        terms: dict[str, float] = {}
        names = encoder.numbers + [f"recent rate ({labels:g} labels)" for labels in self.settings.recent]
        _add(terms, zip(names, weights[1 : 1 + n_x] * x, strict=True))
        _add(terms, zip((" x ".join(g) for g in encoder.coded), weights[row.codes[0]], strict=True))
        base = float(weights[0])
        if pool[SHRUNK]:
            _add(terms, [("shrunk rate", float(pool[SHRUNK] * z[SHRUNK]))])
        if pool[TREES] and model.compiled is not None:
            expected, shap = model.compiled.contributions(row.dense[0])
            base += float(pool[TREES] * expected)
            _add(terms, zip(encoder.dense_names, pool[TREES] * shap, strict=True))
        slope, intercept, used = learner.calibration()
        if used:
            base = slope * base + intercept
            terms = {name: slope * value for name, value in terms.items()}
        ordered = sorted(terms.items(), key=lambda item: (-abs(item[1]), item[0]))
        total = base + sum(terms.values())
        return Explanation(self.name, float(p[0]), total, base, tuple((name, float(value)) for name, value in ordered))

    def state(self) -> dict[str, NDArray[Any]]:
        """The champion as arrays, for a model file."""
        arrays = {f"online/{name}": value for name, value in self.champion.learner.state().items()}
        if self.champion.compiled is not None:
            arrays.update({f"{self.champion.compiled.kind}/{k}": v for k, v in self.champion.compiled.arrays().items()})
        return arrays


def _add(terms: dict[str, float], more: Iterable[tuple[str, float]]) -> None:
    for name, value in more:
        terms[name] = terms.get(name, 0.0) + float(value)
