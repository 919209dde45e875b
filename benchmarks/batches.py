"""Batches: one design and many responses, each problem as data and a recipe for its responses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class BatchProblem:
    """`num_models` responses of one design.

    right: the right-hand side of the formula, in the grammar that all share; trials: the column of
    the number of trials, None for none; draw: (number, seed) -> (data, responses), responses being
    numbers of successes where there are trials; peers: how many models each peer fits, whose rate
    is then that of a loop.
    """

    name: str
    family: str
    right: str
    num_models: int
    draw: Callable[[int, int], tuple[pd.DataFrame, np.ndarray]]
    trials: str | None = None
    peers: dict[str, int] = field(default_factory=dict)

    @property
    def formula(self) -> str:
        """As jaxglmm takes it."""
        return f"{'y' if self.trials is None else f'y / {self.trials}'} ~ {self.right}"


def _levels(codes: np.ndarray) -> Any:
    return pd.Categorical([f"g{code:03d}" for code in codes])


def logistic(number: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """0/1, n = 500 in 50 groups, one covariate."""
    rng = np.random.default_rng(seed)
    group, x = np.repeat(np.arange(50), 10), rng.normal(size=500)
    b = rng.normal(size=(number, 50))
    eta = -0.5 + 0.8 * x + b[:, group]
    Y = (rng.random((number, 500)) < 1.0 / (1.0 + np.exp(-eta))).astype(float)
    return pd.DataFrame({"y": Y[0], "x": x, "g": _levels(group)}), Y


def cbpp(number: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Draws from lme4's fit of cbpp."""
    import jaxglmm as jg

    rng, data = np.random.default_rng(seed), jg.datasets.load("cbpp")
    period = np.array([0.0, -0.9919, -1.1282, -1.5797])[data["period"].astype(int) - 1]
    herd = pd.Categorical(data["herd"]).codes
    eta = -1.3983 + period + 0.6421 * rng.normal(size=(number, 15))[:, herd]
    Y = rng.binomial(data["size"].to_numpy(int), 1.0 / (1.0 + np.exp(-eta))).astype(float)
    kept = data[["period", "herd", "size"]]
    return kept.assign(y=Y[0], herd=_levels(herd), period=_levels(data["period"].astype(int))), Y


def sleepstudy(number: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Draws from lme4's fit of sleepstudy by maximum likelihood."""
    import jaxglmm as jg

    rng, data = np.random.default_rng(seed), jg.datasets.load("sleepstudy")
    days, subject = data["Days"].to_numpy(float), pd.Categorical(data["Subject"]).codes
    root = np.linalg.cholesky([[565.5, 11.06], [11.06, 32.68]])
    b = rng.normal(size=(number, 18, 2)) @ root.T
    mean = 251.405 + 10.467 * days + b[:, subject, 0] + b[:, subject, 1] * days
    Y = mean + 25.592 * rng.normal(size=(number, len(data)))
    return pd.DataFrame({"y": Y[0], "Days": days, "Subject": _levels(subject)}), Y


def genes(number: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Counts of cells, 25 of each of 12 subjects, with a covariate of either."""
    rng = np.random.default_rng(seed)
    subject, x = np.repeat(np.arange(12), 25), rng.normal(size=300)
    treated = (subject % 2).astype(float)
    means = np.exp(rng.normal(1.0, 0.7, (number, 1)))
    b = 0.3 * rng.normal(size=(number, 12))[:, subject]
    size = np.exp(rng.normal(0.7, 0.4, (number, 1)))
    mu = means * np.exp(0.3 * x + 0.4 * treated + b)
    Y = rng.poisson(mu * rng.gamma(size, 1.0 / size, mu.shape)).astype(float)
    return pd.DataFrame({"y": Y[0], "x": x, "treated": treated, "g": _levels(subject)}), Y


def kb07(number: int, seed: int) -> tuple[pd.DataFrame, np.ndarray]:
    """A factorial of three factors of two levels within 56 subjects and 32 items, all slopes."""
    rng = np.random.default_rng(seed)
    subject, item = (v.ravel() for v in np.meshgrid(np.arange(56), np.arange(32), indexing="ij"))
    cell = (subject + item) % 8
    S, P, C = (np.where(cell >> k & 1, 1.0, -1.0) for k in range(3))
    X = np.stack([np.ones_like(S), S, P, C, S * P, S * C, P * C, S * P * C], axis=1)
    beta = np.array([2180.0, -67.0, -334.0, 78.0, 22.0, -18.0, 5.0, -16.0])
    sd_s = np.array([300.0, 40.0, 60.0, 75.0, 30.0, 40.0, 30.0, 30.0])
    sd_i = np.array([360.0, 40.0, 250.0, 70.0, 30.0, 30.0, 30.0, 30.0])
    b_s, b_i = rng.normal(size=(number, 56, 8)) * sd_s, rng.normal(size=(number, 32, 8)) * sd_i
    Y = np.empty((number, len(S)))
    for k in range(number):  # all at once are some GiB
        effects = beta + b_s[k][subject] + b_i[k][item]
        Y[k] = np.sum(X * effects, axis=1) + 670.0 * rng.normal(size=len(S))
    columns = {"y": Y[0], "S": S, "P": P, "C": C, "subj": _levels(subject), "item": _levels(item)}
    return pd.DataFrame(columns), Y


PROBLEMS = {
    p.name: p
    for p in (
        BatchProblem(
            "logistic_500",
            "binomial",
            "x + (1 | g)",
            10_000,
            logistic,
            peers={"glmm": 1000, "gpboost": 200, "lme4-refit": 40},
        ),
        BatchProblem(
            "cbpp_bootstrap",
            "binomial",
            "period + (1 | herd)",
            10_000,
            cbpp,
            trials="size",
            peers={"glmm": 1000, "gpboost": 200, "lme4-refit": 40},
        ),
        BatchProblem(
            "sleepstudy_bootstrap",
            "gaussian",
            "Days + (Days | Subject)",
            10_000,
            sleepstudy,
            peers={"glmm": 500, "lme4-refit": 100},
        ),
        BatchProblem(
            "genes_300",
            "nbinom2",
            "x + treated + (1 | g)",
            20_000,
            genes,
            peers={"glmm": 200, "gpboost": 50, "glmmTMB": 50},
        ),
        BatchProblem(
            "kb07_maximal",
            "gaussian",
            "S * P * C + (1 + S * P * C | subj) + (1 + S * P * C | item)",
            1000,
            kb07,
            peers={},
        ),
    )
}
