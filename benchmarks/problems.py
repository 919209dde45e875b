"""The problems that every backend fits: seeded simulated data and the library's data sets.

A problem is data plus one random-effects term, in words that every backend can turn into its own
formula: `response [/ trials] ~ fixed + (1 [+ slope] | group)`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd


@dataclass(frozen=True)
class Problem:
    """One model and its data; `fixed` is a right-hand side that R and formulaic read alike."""

    name: str
    title: str
    family: str
    response: str
    fixed: str
    group: str
    load: Callable[[], pd.DataFrame]
    trials: str | None = None
    slope: str | None = None

    @property
    def right(self) -> str:
        """Fixed and random terms, the part of the formula that all packages write the same way."""
        columns = "1" if self.slope is None else f"1 + {self.slope}"
        return f"{self.fixed} + ({columns} | {self.group})"

    @property
    def formula(self) -> str:
        """The formula as jaxglmm reads it."""
        left = self.response if self.trials is None else f"{self.response} / {self.trials}"
        return f"{left} ~ {self.right}"


TRUTHS = {"binomial": (-0.5, 0.8, 0.7, 0.5), "poisson": (0.5, 0.3, 0.5, 0.2)}


def simulate(
    family: str, num_rows: int, num_groups: int, *, slope: bool = False, seed: int = 1
) -> pd.DataFrame:
    """Rows `y, x, g`: eta = b0 + b1 x + u_g (+ v_g x); group sizes vary; rows are in no order.

    `TRUTHS` has b0, b1, sd(u), sd(v) of each family; cor(u, v) = 0.3; binomial means 0/1.
    """
    rng = np.random.default_rng(seed)
    group = rng.integers(0, num_groups, num_rows)
    x = rng.normal(size=num_rows)
    intercept, beta, sd_u, sd_v = TRUTHS[family]
    standard = rng.normal(size=(2, num_groups))
    u = sd_u * standard[0]
    v = sd_v * (0.3 * standard[0] + np.sqrt(1 - 0.3**2) * standard[1])
    eta = intercept + beta * x + u[group] + (v[group] * x if slope else 0.0)
    if family == "binomial":
        y = rng.binomial(1, 1 / (1 + np.exp(-eta)))
    else:
        y = rng.poisson(np.exp(eta))
    return pd.DataFrame({"y": y.astype(np.float64), "x": x, "g": group})


def bundled(name: str, **renamed: str) -> pd.DataFrame:
    """A data set of `jaxglmm.datasets`, columns renamed where a name is a Python keyword."""
    from jaxglmm.datasets import load

    return load(name).rename(columns=renamed)


def scaling_problem(num_rows: int) -> Problem:
    """`y ~ x + (1 | g)`, binomial, `num_rows / 20` groups: the same model at growing sizes."""
    groups = num_rows // 20
    return Problem(
        f"binomial_{num_rows}", f"binomial (1 | g), n = {num_rows}, {groups} groups", "binomial",
        "y", "x", "g", partial(simulate, "binomial", num_rows, groups),
    )  # fmt: skip


def _simulated(name: str, title: str, family: str, sizes: tuple[int, int], slope: bool) -> Problem:
    load = partial(simulate, family, *sizes, slope=slope)
    return Problem(name, title, family, "y", "x", "g", load, slope="x" if slope else None)


def _problems() -> tuple[Problem, ...]:
    cbpp, epil, sleepstudy = (partial(bundled, name) for name in ("cbpp", "epil", "sleepstudy"))
    gasoline = partial(bundled, "GasolineYield", **{"yield": "y"})
    few, many = (30_000, 1_000), (100_000, 5_000)
    return (
        Problem("cbpp", "cbpp, binomial (1 | herd)", "binomial", "incidence", "period", "herd",
                cbpp, trials="size"),
        _simulated("binomial_intercept", "binomial (1 | g), n = 30,000", "binomial", few, False),
        _simulated("binomial_slope", "binomial (1 + x | g), n = 30,000", "binomial", few, True),
        _simulated("poisson_intercept", "Poisson (1 | g), n = 100,000", "poisson", many, False),
        Problem("epil", "epil, nbinom2 (1 | subject)", "nbinom2", "y", "lbase * trt + lage + V4",
                "subject", epil),
        Problem("gamma", "sleepstudy, gamma log (1 | Subject)", "gamma", "Reaction", "Days",
                "Subject", sleepstudy),
        Problem("beta", "GasolineYield, beta (1 | batch)", "beta", "y", "temp", "batch", gasoline),
        Problem("sleepstudy", "sleepstudy, gaussian ML (1 + Days | Subject)", "gaussian",
                "Reaction", "Days", "Subject", sleepstudy, slope="Days"),
    )  # fmt: skip


PROBLEMS: dict[str, Problem] = {problem.name: problem for problem in _problems()}
