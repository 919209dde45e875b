"""Linear predictors of given design rows, and their slopes in the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Design(NamedTuple):
    """Rows to predict for; those of a population have no grouping factors.

    Attributes:
        X: fixed-effects columns of all linear predictors side by side; shape (obs, fixed).
        feeds: linear predictor of each column of X; shape (fixed,).
        offsets: of each linear predictor, shape (obs,), or None for zero.
        Z: columns of each grouping factor; shape (obs, column) or (1, column).
        columns: linear predictor of each column of Z, by factor; shape (column,).
        codes: level of each row by factor, -1 for one without estimate; shape (obs,).
    """

    X: np.ndarray
    feeds: np.ndarray
    offsets: tuple[np.ndarray | None, ...]
    Z: tuple[np.ndarray, ...]
    columns: tuple[np.ndarray, ...]
    codes: tuple[np.ndarray, ...]

    @property
    def num_predictors(self) -> int:
        """Number of linear predictors."""
        return len(self.offsets)

    def without_groups(self) -> Design:
        """The same rows with random effects of zero."""
        return self._replace(Z=(), columns=(), codes=())


def linear_predictors(
    design: Design, beta: np.ndarray, b: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """X beta + offset + sum over factors of Z b[level], for every linear predictor; shape (obs,).

    Args:
        design: the rows.
        beta: coefficients; shape (fixed,).
        b: random effects of each factor of the design, zero (their mean) where there is no level;
            shape (column, level).
    """
    found = []
    for a, offset in enumerate(design.offsets):
        mine = design.feeds == a
        eta = design.X[:, mine] @ beta[mine]
        if offset is not None:
            eta = eta + offset
        for Z, feeds, code, effects in zip(design.Z, design.columns, design.codes, b, strict=True):
            own = np.flatnonzero(feeds == a)
            of_rows = effects.T[np.maximum(code, 0)][:, own]
            eta = eta + np.where(code >= 0, np.sum(Z[:, own] * of_rows, axis=1), 0.0)
        found.append(eta)
    return found


def parameter_slopes(
    design: Design, num_params: int, modes: Sequence[np.ndarray]
) -> list[np.ndarray]:
    """d eta / d(beta, theta, phi) of every linear predictor; shape (obs, param).

    Args:
        design: the rows.
        num_params: number of parameters, of which the first are beta.
        modes: db / d(parameters) of each factor of the design; shape (param, column, level).
    """
    found = []
    for a in range(design.num_predictors):
        mine = np.flatnonzero(design.feeds == a)
        slopes = np.zeros((len(design.X), num_params))
        slopes[:, mine] = design.X[:, mine]
        factors = zip(design.Z, design.columns, design.codes, modes, strict=True)
        for Z, feeds, code, of_mode in factors:
            own, known = np.flatnonzero(feeds == a), code >= 0
            z = np.where(known[:, None], Z[:, own], 0.0)
            for k, slope in enumerate(of_mode):
                slopes[:, k] += np.sum(z * slope.T[np.maximum(code, 0)][:, own], axis=1)
        found.append(slopes)
    return found


def prior_covariances(
    design: Design, covariances: Sequence[np.ndarray], counts: Sequence[np.ndarray | bool] = ()
) -> np.ndarray:
    """Cov(z_a' b, z_c' b) of random effects of which nothing is known, b ~ N(0, Sigma).

    Args:
        design: the rows; their levels have no say.
        covariances: Sigma of each factor; shape (..., column, column), or its derivatives along
            first axes.
        counts: of each factor which rows count, shape (obs,); all of them if there is nothing.

    Returns:
        Shape (..., predictor, predictor, obs).
    """
    m, n = design.num_predictors, len(design.X)
    leading = np.shape(covariances[0])[:-2] if len(covariances) else ()
    total = np.zeros((*leading, m, m, n))
    every = counts or [True] * len(design.Z)
    factors = zip(design.Z, design.columns, covariances, every, strict=True)
    for Z, feeds, Sigma, counted in factors:
        for a in range(m):
            for c in range(a + 1):
                i, j = np.flatnonzero(feeds == a), np.flatnonzero(feeds == c)
                of_pair = np.take(np.take(Sigma, i, axis=-2), j, axis=-1)
                value = np.einsum("ni,...ij,nj->...n", Z[:, i], of_pair, Z[:, j]) * counted
                total[..., a, c, :] += value
                if a != c:
                    total[..., c, a, :] += value
    return total


def expanded(design: Design, num_levels: Sequence[int]) -> list[np.ndarray]:
    """Z of every linear predictor with a column for each column of each level; (obs, effect)."""
    n, found = len(design.X), []
    for a in range(design.num_predictors):
        parts = [np.zeros((n, 0))]
        factors = zip(design.Z, design.columns, design.codes, num_levels, strict=True)
        for Z, feeds, code, levels in factors:
            own = np.zeros((n, levels, Z.shape[1]))
            rows = np.flatnonzero(code >= 0)
            own[rows, code[rows]] = np.where(feeds == a, Z[rows], 0.0)
            parts.append(own.reshape(n, -1))
        found.append(np.concatenate(parts, axis=1))
    return found
