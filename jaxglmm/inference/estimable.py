"""Linear functions of estimates: their values, covariances and joint tests."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jaxglmm.inference.freedom import Denominator, Denominators
from jaxglmm.inference.linear import Outcome, f_test, wald_statistic
from jaxglmm.rank import TOLERANCE

ESTIMABLE = 1e-8  # share of a function's squared length along what the data do not determine
_ROUNDING = 1e-12  # a coefficient below this share of its row's largest is zero


@dataclass(frozen=True, eq=False)
class Embedded:
    """Those of rows in some coefficients, of which the `kept` stand at `places` among all `number`
    that the degrees of freedom are of."""

    freedom: Denominators
    kept: np.ndarray
    places: np.ndarray
    number: int

    def each(self, L: np.ndarray) -> np.ndarray:
        return self.freedom.each(self._whole(L))

    def together(self, L: np.ndarray) -> Denominator:
        return self.freedom.together(self._whole(L))

    def _whole(self, L: np.ndarray) -> np.ndarray:
        whole = np.zeros((len(L), self.number))
        whole[:, self.places] = L[:, self.kept]
        return whole


@dataclass(frozen=True, eq=False)
class Least:
    """The least of those, `df`, of the coefficients that rows are made of; shape (coefficient,)."""

    df: np.ndarray

    def each(self, L: np.ndarray) -> np.ndarray:
        return np.min(np.where(L != 0, self.df, np.inf), axis=1, initial=np.inf)

    def together(self, L: np.ndarray) -> Denominator:
        return Denominator(float(np.min(self.each(L), initial=np.inf)), 1.0)


@dataclass(frozen=True, eq=False)
class Linear:
    """Functions L b + offset of estimates b with covariance V.

    Attributes:
        L: shape (function, coefficient).
        b: shape (coefficient,).
        V: shape (coefficient, coefficient); NaN where nothing is known of a coefficient.
        offset: shape (function,).
        null: orthonormal basis of the directions of b that the data do not determine; shape
            (coefficient, direction). A function along any of them is not estimable (Searle 1971,
            Linear Models, section 5.4), and NaN.
        freedom: degrees of freedom of functions given as rows (row, coefficient).
    """

    L: np.ndarray
    b: np.ndarray
    V: np.ndarray
    offset: np.ndarray
    null: np.ndarray
    freedom: Denominators

    def combine(self, C: np.ndarray) -> Linear:
        """C (L b + offset): linear functions of these, one a row of C (row, function)."""
        L = C @ self.L
        size = np.abs(C) @ np.abs(self.L)  # what may have cancelled
        L = np.where(np.abs(L) <= _ROUNDING * size, 0.0, L)
        return dataclasses.replace(self, L=L, offset=C @ self.offset)

    @property
    def estimable(self) -> np.ndarray:
        """(function,) bool."""
        return estimable(self.L, self.null)

    @property
    def estimate(self) -> np.ndarray:
        """(function,); NaN where not estimable."""
        with np.errstate(invalid="ignore"):
            return np.where(self.estimable, self.L @ self.b + self.offset, np.nan)

    @property
    def covariance(self) -> np.ndarray:
        """L V L', (function, function); NaN where not estimable or not known."""
        unknown = np.isnan(np.diagonal(self.V))
        lost = ~self.estimable | np.any((self.L != 0) & unknown, axis=1)
        known = np.where(unknown[:, None] | unknown, 0.0, self.V)
        covariance = np.nan_to_num(self.L) @ known @ np.nan_to_num(self.L).T
        return np.where(lost[:, None] | lost, np.nan, covariance)

    @property
    def df(self) -> np.ndarray:
        """(function,); NaN where not estimable."""
        kept = self.estimable
        found = np.full(len(kept), np.nan)
        found[kept] = self.freedom.each(self.L[kept])
        return found


def estimable(L: np.ndarray, null: np.ndarray) -> np.ndarray:
    """(row,) bool: which rows of L are orthogonal to the directions `null`, and finite."""
    finite = np.all(np.isfinite(L), axis=1)
    filled = np.where(finite[:, None], L, 0.0)
    along = np.sum((filled @ null) ** 2, axis=1)
    return finite & (along <= ESTIMABLE * np.sum(filled**2, axis=1))


def null_space(X: np.ndarray, number: int) -> np.ndarray:
    """Orthonormal basis of the `number` directions v with X v = 0; shape (column, number).

    Columns are scaled to one length first, as `jaxglmm.rank` does when it counts these directions.
    """
    if number == 0:
        return np.zeros((X.shape[1], 0))
    norms = np.sqrt(np.einsum("ij,ij->j", X, X))
    scale = np.where(norms > 0, norms, 1.0)
    triangle = np.asarray(np.linalg.qr(X / scale, mode="r"))
    vectors = np.linalg.svd(triangle)[2][-number:]
    return np.linalg.qr((vectors / scale).T)[0]


class Joint(NamedTuple):
    """A test that several functions are zero; `reduced`: of fewer dimensions than functions."""

    outcome: Outcome
    reduced: bool


def joint_test(linear: Linear) -> Joint:
    """Wald's F test that all functions are zero: of an orthonormal basis of their estimable
    combinations."""
    C = _basis(linear.L, linear.null)
    own = linear.combine(C)
    W = wald_statistic(own.estimate, own.covariance) if len(C) else np.nan
    known = len(C) and np.isfinite(W)
    denominator = own.freedom.together(own.L) if known else Denominator(np.nan, 1.0)
    return Joint(f_test(W, len(C), denominator), len(C) < len(linear.L))


def _basis(L: np.ndarray, null: np.ndarray) -> np.ndarray:
    """C with C L orthonormal rows that span the estimable part of L's row space."""
    finite = np.all(np.isfinite(L), axis=1)
    C = np.eye(len(L))[finite]
    along = C @ np.where(finite[:, None], L, 0.0) @ null
    if along.size and np.abs(along).max() > 0:
        vectors, values, _ = np.linalg.svd(along)
        rank = int(np.sum(values > TOLERANCE * max(1.0, values[0])))
        C = vectors[:, rank:].T @ C
    if len(C) == 0:
        return C
    vectors, values, _ = np.linalg.svd(C @ np.where(finite[:, None], L, 0.0), full_matrices=False)
    kept = values > TOLERANCE * max(values[0], np.finfo(float).tiny)
    return (vectors[:, kept] / values[kept]).T @ C
