"""How good probabilities are. All take y (0 or 1) and p, both float64 (n,), and give a plain number.

Under drift a pooled AUC mostly measures that the base rate moves (a running mean that knows nothing of the lead
reaches 0.76 on the bank's contacts), so look at the log-loss against that mean, and at the AUC within blocks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def log_loss(y: Floats, p: Floats) -> float:
    """Mean negative log-likelihood in nats; p is kept within [1e-9, 1 - 1e-9]."""
    p = np.clip(p, 1e-9, 1 - 1e-9)
    return float(-np.mean(np.where(y > 0.5, np.log(p), np.log1p(-p))))


def brier(y: Floats, p: Floats) -> float:
    """Mean squared error of the probabilities."""
    return float(np.mean((p - y) ** 2))


def auc(y: Floats, p: Floats) -> float:
    """Chance that a random success is ranked above a random failure, ties half (Mann-Whitney); NaN without both."""
    good = y > 0.5
    n1, n0 = int(good.sum()), int((~good).sum())
    if n1 == 0 or n0 == 0:
        return float("nan")
    _, inverse, counts = np.unique(p, return_inverse=True, return_counts=True)
    rank = np.cumsum(counts) - (counts - 1) / 2.0
    return float((rank[inverse[good]].sum() - n1 * (n1 + 1) / 2.0) / (n1 * n0))


def block_auc(y: Floats, p: Floats, rows: int = 500) -> float:
    """Mean AUC within consecutive blocks of ``rows``; blocks without both outcomes are left out. NaN if all are."""
    each = [auc(y[i : i + rows], p[i : i + rows]) for i in range(0, len(y), rows)]
    real = [a for a in each if a == a]
    return float(np.mean(real)) if real else float("nan")


def ece(y: Floats, p: Floats, bins: int = 10) -> float:
    """Expected calibration error over ``bins`` of equal mass: mean |mean p - share of successes|, weighted by
    rows."""
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, bins) if len(part)]
    return float(sum(len(part) * abs(p[part].mean() - y[part].mean()) for part in parts) / max(len(p), 1))


def summary(y: Floats, p: Floats) -> dict[str, float]:
    """All of them by name, the mean probability and the share of successes."""
    return {
        "log_loss": log_loss(y, p),
        "brier": brier(y, p),
        "ece": ece(y, p),
        "auc": auc(y, p),
        "block_auc": block_auc(y, p),
        "mean_p": float(p.mean()),
        "rate": float(y.mean()),
    }


def running_mean(y: Floats, delay: int = 0, labels: float = 300.0, prior: float = 0.1) -> Floats:
    """The blind rival: an exponentially weighted mean of the labels that have come, knowing nothing of the row."""
    out = np.empty(len(y))
    keep = 1.0 - 1.0 / labels
    total, number = 10.0 * prior, 10.0
    for i in range(len(y)):
        out[i] = total / number
        if i >= delay and y[i - delay] == y[i - delay]:
            total, number = keep * total + y[i - delay], keep * number + 1.0
    return out
