"""The hard cases: a grid of cells, each a design with the truths that its responses are drawn from.

Axes: family x structure of the random effects x number of groups x rows of a group x their standard
deviation x level of the mean (rare events, tiny and large responses) x scale and position of the
predictors. A family, structure and shape (groups, rows of a group) is one compiled program, of
which there are two for each family and structure; of the combinations of the other axes each gets
some, by a seeded permutation, so that every family sees all of them.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

FAMILIES = ("binomial", "poisson", "nbinom2", "gamma", "gaussian")
UNBALANCED = (1, 1, 2, 3, 13)  # rows of the groups in turn
FORMULAS = {
    "intercept": "(1 | g)",
    "slope": "(1 + x | g)",
    "nested": "(1 | g / h)",
    "crossed": "(1 | g) + (1 | h)",
}
SHAPES = {  # groups and rows of a group, 0 for UNBALANCED
    "intercept": ((5, 1), (100, 1), (20, 20), (5, 0)),
    # One row a group and a slope: where a law has a dispersion the log-likelihood has no upper
    # bound, as the effects' variance may vanish at a row.
    "slope": ((20, 0), (5, 5), (5, 20), (100, 5)),
    "nested": ((20, 5), (5, 20), (20, 0), (100, 5)),
    "crossed": ((20, 5), (100, 0), (5, 20), (20, 1)),
}
SIGMAS = (0.0, 0.1, 1.0, 3.0)
PREDICTORS = ("plain", "1e6", "1e-6", "collinear", "separated")
LEVELS = {
    "binomial": ("even", "1 %", "99 %"),
    "poisson": ("1", "0.01", "1000"),
    "nbinom2": ("1", "0.01", "1000"),
    "gamma": ("1", "1e-6", "1e6"),
    "gaussian": ("1", "1e-6", "1e6"),
}
CELLS_OF_A_PROGRAM = 10
SIZE, SHAPE = 1.5, 2.0  # of the negative binomial and of the gamma law
MOST = 1e9  # of a mean count
NEARLY = 2e-7  # of a column's length is outside the span of the others: 1e-7 is dropped
STEEP = 20.0  # by which the collinear column is longer: the condition number is 1e8


@dataclass(frozen=True)
class Cell:
    """One design and truth.

    size: rows of a group, 0 for `UNBALANCED`; level: of `LEVELS`; predictors: of `PREDICTORS`;
    trials: of every row, binomial only.
    """

    family: str
    structure: str
    groups: int
    size: int
    sigma: float
    level: str
    predictors: str
    trials: int

    @property
    def name(self) -> str:
        """One line."""
        size = self.size or "unbalanced"
        trials = f" of {self.trials}" if self.family == "binomial" else ""
        return (
            f"{self.program}, {self.groups} x {size}, sigma {self.sigma:g}, mean {self.level}"
            f"{trials}, x {self.predictors}"
        )

    @property
    def program(self) -> str:
        """Family and structure."""
        return f"{self.family} {self.structure}"

    @property
    def formula(self) -> str:
        """As jaxglmm takes it."""
        left = "y / n" if self.family == "binomial" else "y"
        return f"{left} ~ x + z + {FORMULAS[self.structure]}"

    @property
    def link(self) -> str | None:
        """None for the family's own."""
        return "log" if self.family == "gamma" else None

    def generator(self) -> np.random.Generator:
        """Seeded by the name."""
        return np.random.default_rng(zlib.crc32(self.name.encode()))


def shapes(family: str, structure: str) -> list[tuple[int, int]]:
    """The two of `SHAPES` that a family has; the families have different ones."""
    f = FAMILIES.index(family)
    return [SHAPES[structure][(f + k) % 4] for k in (0, 2)]


def cells() -> Iterator[Cell]:
    """All, program by program."""
    for k, structure, (f, family) in itertools.product(range(2), FORMULAS, enumerate(FAMILIES)):
        groups, size = shapes(family, structure)[k]
        combinations = list(itertools.product(SIGMAS, LEVELS[family], PREDICTORS))
        order = np.random.default_rng(f).permutation(len(combinations))
        first = CELLS_OF_A_PROGRAM * (4 * k + list(FORMULAS).index(structure))
        for place in range(first, first + CELLS_OF_A_PROGRAM):
            sigma, level, predictors = combinations[order[place % len(combinations)]]
            trials = (1, 20)[place % 2]
            yield Cell(family, structure, groups, size, sigma, level, predictors, trials)


def draw(cell: Cell, number: int) -> tuple[pd.DataFrame, np.ndarray]:
    """The design of a cell and so many responses, (response, row)."""
    rng = cell.generator()
    data, x = _design(cell, rng)
    eta = 0.5 * x + _effects(cell, rng, data, x, number)
    Y = _RESPONSES[cell.family](cell, rng, eta)
    if cell.predictors == "separated" and cell.family in ("binomial", "poisson", "nbinom2"):
        Y[:, data["z"].to_numpy() > 0] = 0.0
    return data.assign(y=Y[0]), Y


def _design(cell: Cell, rng: np.random.Generator) -> tuple[pd.DataFrame, np.ndarray]:
    """The table, and the first predictor in units of one."""
    sizes = np.resize(cell.size or UNBALANCED, cell.groups)
    g = np.repeat(np.arange(cell.groups), sizes)
    within = np.concatenate([np.arange(size) for size in sizes])
    if cell.structure == "nested":
        h = within % 2
    else:
        h = (g + within) % (20 if cell.groups == 100 else 5)
    n = len(g)
    x, z = rng.normal(size=n), rng.normal(size=n)
    if cell.predictors == "collinear":
        z = STEEP * (x + NEARLY * z)
    if cell.predictors == "separated":  # continuous laws: a column that one row has to itself
        counted = cell.family in ("binomial", "poisson", "nbinom2")
        z = (rng.permutation(n) < (max(n // 4, 1) if counted else 1)).astype(float)
    unit = float(cell.predictors) if cell.predictors.startswith("1e") else 1.0
    columns = {"x": unit * x, "z": z, "g": g, "h": h}
    if cell.family == "binomial":
        columns["n"] = np.full(n, cell.trials)
    return pd.DataFrame(columns), x


def _effects(
    cell: Cell, rng: np.random.Generator, data: pd.DataFrame, x: np.ndarray, number: int
) -> np.ndarray:
    """What the random effects add, (response, row); correlation 0.5 of intercept and slope."""
    g, h = data["g"].to_numpy(), data["h"].to_numpy()
    b = rng.normal(size=(2, number, cell.groups))
    total = b[0][:, g]
    if cell.structure == "slope":
        total = total + (0.5 * b[0] + np.sqrt(0.75) * b[1])[:, g] * x
    if cell.structure == "nested":
        total = total + rng.normal(size=(number, 2 * cell.groups))[:, 2 * g + h]
    if cell.structure == "crossed":
        total = total + rng.normal(size=(number, h.max() + 1))[:, h]
    return cell.sigma * total


def _binomial(cell: Cell, rng: np.random.Generator, eta: np.ndarray) -> np.ndarray:
    logit = {"even": 0.0, "1 %": -4.6, "99 %": 4.6}[cell.level]
    return rng.binomial(cell.trials, 1.0 / (1.0 + np.exp(-(logit + eta)))).astype(float)


def _mean_count(cell: Cell, eta: np.ndarray) -> np.ndarray:
    return np.minimum(float(cell.level) * np.exp(eta), MOST)


def _poisson(cell: Cell, rng: np.random.Generator, eta: np.ndarray) -> np.ndarray:
    return rng.poisson(_mean_count(cell, eta)).astype(float)


def _nbinom2(cell: Cell, rng: np.random.Generator, eta: np.ndarray) -> np.ndarray:
    mu = _mean_count(cell, eta)
    return rng.poisson(mu * rng.gamma(SIZE, 1.0 / SIZE, mu.shape)).astype(float)


def _gamma(cell: Cell, rng: np.random.Generator, eta: np.ndarray) -> np.ndarray:
    return float(cell.level) * np.exp(eta) * rng.gamma(SHAPE, 1.0 / SHAPE, eta.shape)


def _gaussian(cell: Cell, rng: np.random.Generator, eta: np.ndarray) -> np.ndarray:
    return float(cell.level) * (eta + rng.normal(size=eta.shape))


_RESPONSES = {
    "binomial": _binomial,
    "poisson": _poisson,
    "nbinom2": _nbinom2,
    "gamma": _gamma,
    "gaussian": _gaussian,
}
