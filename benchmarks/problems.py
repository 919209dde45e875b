"""The problems that every backend fits: seeded simulated data and published data sets.

A problem is data plus random-effects terms, in words that every backend can turn into its own
formula: `response [/ trials] ~ fixed + (1 [+ slope] | group) + ...`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from benchmarks.data import OWN, bundled, insteval, simulate, simulate_law, simulate_pair


@dataclass(frozen=True)
class Term:
    """`(1 | group)`, or `(1 + slope | group)`."""

    group: str
    slope: str | None = None

    def __str__(self) -> str:
        columns = "1" if self.slope is None else f"1 + {self.slope}"
        return f"({columns} | {self.group})"


@dataclass(frozen=True)
class Problem:
    """One model and its data; `fixed` is a right-hand side that R and formulaic read alike.

    A group given as a string stands for its `(1 | group)`. `method` is "laplace" or "reml" (the
    log-likelihood of the rows is then the REML criterion). `long` problems run only when named.
    `iterative`: an exact factor of the design does not fit into memory.
    """

    name: str
    title: str
    family: str
    response: str
    fixed: str
    random: tuple[str | Term, ...]
    load: Callable[[], pd.DataFrame]
    trials: str | None = None
    method: str = "laplace"
    long: bool = False
    iterative: bool = False

    @property
    def terms(self) -> tuple[Term, ...]:
        """The random-effects terms."""
        return tuple(Term(term) if isinstance(term, str) else term for term in self.random)

    @property
    def right(self) -> str:
        """Fixed and random terms, the part of the formula that all packages write the same way."""
        return " + ".join([self.fixed, *map(str, self.terms)])

    @property
    def formula(self) -> str:
        """The formula as jaxglmm reads it."""
        left = self.response if self.trials is None else f"{self.response} / {self.trials}"
        return f"{left} ~ {self.right}"

    def codes(self, data: pd.DataFrame) -> np.ndarray:
        """Level numbers of the grouping factors: a row each observation, a column each term."""
        columns = [pd.factorize(data[term.group])[0] for term in self.terms]
        return np.stack(columns, axis=1)

    def num_levels(self, data: pd.DataFrame) -> int:
        """Levels in the data, of all grouping factors together."""
        return sum(int(data[name].nunique()) for name in {term.group for term in self.terms})


def _simulated(name: str, title: str, family: str, sizes: tuple[int, int], slope: bool) -> Problem:
    load = partial(simulate, family, *sizes, slope=slope)
    term = Term("g", "x" if slope else None)
    return Problem(name, title, family, "y", "x", (term,), load)


def _single_factor() -> tuple[Problem, ...]:
    cbpp, epil, sleepstudy = (partial(bundled, name) for name in ("cbpp", "epil", "sleepstudy"))
    gasoline = partial(bundled, "GasolineYield", **{"yield": "y"})
    few, many = (30_000, 1_000), (100_000, 5_000)
    slope = Term("Subject", "Days")
    return (
        Problem("cbpp", "cbpp, binomial (1 | herd)", "binomial", "incidence", "period", ("herd",),
                cbpp, trials="size"),
        _simulated("binomial_intercept", "binomial (1 | g), n = 30,000", "binomial", few, False),
        _simulated("binomial_slope", "binomial (1 + x | g), n = 30,000", "binomial", few, True),
        _simulated("poisson_intercept", "Poisson (1 | g), n = 100,000", "poisson", many, False),
        Problem("epil", "epil, nbinom2 (1 | subject)", "nbinom2", "y", "lbase * trt + lage + V4",
                ("subject",), epil),
        Problem("gamma", "sleepstudy, gamma log (1 | Subject)", "gamma", "Reaction", "Days",
                ("Subject",), sleepstudy),
        Problem("beta", "GasolineYield, beta (1 | batch)", "beta", "y", "temp", ("batch",),
                gasoline),
        Problem("sleepstudy", "sleepstudy, gaussian ML (1 + Days | Subject)", "gaussian",
                "Reaction", "Days", (slope,), sleepstudy),
        Problem("sleepstudy_reml", "sleepstudy, gaussian REML (1 + Days | Subject)", "gaussian",
                "Reaction", "Days", (slope,), sleepstudy, method="reml"),
    )  # fmt: skip


def _insteval(family: str, factors: tuple[str, ...], method: str = "laplace") -> Problem:
    criterion = {"laplace": "ML", "reml": "REML"}[method]
    kind, above = ("binomial y > 3", 3) if family == "binomial" else (f"gaussian {criterion}", None)
    name = f"insteval_{family}" + ("_reml" if method == "reml" else "")
    name += "_dept" if "dept" in factors else ""
    title = f"InstEval, {kind} " + " + ".join(f"(1 | {factor})" for factor in factors)
    load = partial(insteval, above=above)
    return Problem(name, title, family, "y", "service", factors, load, method=method)


def _several_factors() -> tuple[Problem, ...]:
    two, three = ("s", "d"), ("s", "d", "dept")
    grouseticks = partial(bundled, "grouseticks")
    return (
        Problem("grouseticks", "grouseticks, Poisson (1 | BROOD) + (1 | INDEX) + (1 | LOCATION)",
                "poisson", "TICKS", "YEAR + cHEIGHT", ("BROOD", "INDEX", "LOCATION"), grouseticks),
        _insteval("gaussian", two),
        _insteval("gaussian", three),
        _insteval("gaussian", two, "reml"),
        _insteval("binomial", two),
        _insteval("binomial", three),
    )  # fmt: skip


def _of_each_law() -> tuple[Problem, ...]:
    """The same design for every law that has no published data above."""

    def problem(family: str, num_rows: int, num_groups: int) -> Problem:
        load = partial(simulate_law, family, num_rows, num_groups)
        trials = "trials" if family == "betabinomial" else None
        title = f"{family} (1 | g), n = {num_rows:,}"
        return Problem(f"{family}_{num_rows}", title, family, "y", "x", ("g",), load, trials=trials)

    small = tuple(problem(family, 1_000, 50) for family in OWN)
    return (*small, problem("nbinom2", 30_000, 1_000))


def _large() -> tuple[Problem, ...]:
    n, g, h = 1_000_000, 100_000, 10_000
    return (
        Problem("crossed_large", "binomial (1 | g) + (1 | h), n = 1e6, crossed 100,000 x 100,000",
                "binomial", "y", "x", ("g", "h"), partial(simulate_pair, n, g, g, nested=False),
                long=True, iterative=True),
        Problem("nested_large", "binomial (1 | g) + (1 | h), n = 1e6, 100,000 within 10,000",
                "binomial", "y", "x", ("g", "h"), partial(simulate_pair, n, g, h, nested=True),
                long=True),
    )  # fmt: skip


def _one_factor_of(num_rows: int) -> Problem:
    groups = num_rows // 20
    load = partial(simulate, "binomial", num_rows, groups)
    title = f"binomial (1 | g), n = {num_rows}, {groups} groups"
    return Problem(f"one_factor_{num_rows}", title, "binomial", "y", "x", ("g",), load)


def _nested_of(num_rows: int) -> Problem:
    inner, outer = num_rows // 20, num_rows // 200
    load = partial(simulate_pair, num_rows, inner, outer, nested=True)
    title = f"binomial (1 | g) + (1 | h), n = {num_rows}, {inner} groups within {outer}"
    return Problem(f"nested_{num_rows}", title, "binomial", "y", "x", ("g", "h"), load)


PROBLEMS: dict[str, Problem] = {
    problem.name: problem
    for problem in (*_single_factor(), *_of_each_law(), *_several_factors(), *_large())
}
# the same model at growing sizes, binomial `y ~ x + ...`: by number of rows
SCALED: dict[str, Callable[[int], Problem]] = {
    "one factor": _one_factor_of,
    "nested": _nested_of,
}
