"""Denominator degrees of freedom of linear contrasts L beta of the fixed effects.

Arrays in, arrays out. Each class here is a covariance matrix of beta with the degrees of freedom
that belong to it; all have

    covariance        Cov(beta), (fixed, fixed), in the order of the columns of X
    each(L)           degrees of freedom of the t test of every row of L alone, (row,)
    together(L)       `Denominator` of the F test of all rows of L at once; L of full row rank

so that a contrast's table is

    freedom = frontend.freedom.freedom_of(fit, df="satterthwaite", vcov=None)
    estimate, variance = L @ beta, np.einsum("ri,ij,rj->r", L, freedom.covariance, L)
    wald(estimate, variance, level, freedom.each(L))                    # inference.wald
    linear_test(freedom, beta, L, c)                                    # inference.linear
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple, Protocol

import numpy as np

_SAME = 1e-8  # degrees of freedom closer than this are one number
_NOTHING = 1e-13  # a relative error of the variance below this is that of rounding


class Denominator(NamedTuple):
    """scale W / rank is taken for F(rank, df), W being Wald's statistic."""

    df: float
    scale: float


class Denominators(Protocol):
    """Degrees of freedom of contrasts given as rows."""

    def each(self, L: np.ndarray) -> np.ndarray: ...

    def together(self, L: np.ndarray) -> Denominator: ...


class Freedom(Denominators, Protocol):
    """What the classes of this module have in common."""

    @property
    def covariance(self) -> np.ndarray: ...


@dataclasses.dataclass(frozen=True)
class Known:
    """The same degrees of freedom for every contrast: infinite, or residual ones."""

    covariance: np.ndarray
    df: float

    def each(self, L: np.ndarray) -> np.ndarray:
        return np.full(len(L), self.df)

    def together(self, L: np.ndarray) -> Denominator:
        del L
        return Denominator(self.df, 1.0)


@dataclasses.dataclass(frozen=True)
class Satterthwaite:
    """df = 2 (l'Phi l)^2 / (g'A g), g the gradient of l'Phi l in the variance parameters psi.

    Twice the squared mean of l'Phi l over its variance, as of a chi-squared variable (Satterthwaite
    1946, Biometrics Bulletin 2:110-114; Giesbrecht & Burns 1985). Of several rows: those of
    P'L, P the eigenvectors of L Phi L', have independent t statistics, and the F that has the mean
    of their sum of squares has 2 E / (E - q) degrees of freedom, E = sum nu / (nu - 2) (Fai &
    Cornelius 1996; Kuznetsova, Brockhoff & Christensen 2017, J. Statist. Softw. 82(13), section 2).

    Attributes:
        covariance: what standard errors and statistics are made of.
        conditional: Phi = Cov(beta) given psi; (fixed, fixed).
        slopes: dPhi / dpsi; (param, fixed, fixed).
        parameters: A = Cov(psi); (param, param).
    """

    covariance: np.ndarray
    conditional: np.ndarray
    slopes: np.ndarray
    parameters: np.ndarray

    def each(self, L: np.ndarray) -> np.ndarray:
        variance = np.einsum("ri,ij,rj->r", L, self.conditional, L)
        g = np.einsum("ri,kij,rj->rk", L, self.slopes, L)
        spread = np.einsum("rk,kl,rl->r", g, self.parameters, g)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(variance > 0, 2.0 * variance**2 / spread, np.nan)

    def together(self, L: np.ndarray) -> Denominator:
        matrix = L @ self.conditional @ L.T
        if not np.all(np.isfinite(matrix)):
            return Denominator(np.nan, 1.0)
        vectors = np.linalg.eigh(matrix)[1]
        return Denominator(_of_sum(self.each(vectors.T @ L)), 1.0)


def _of_sum(nu: np.ndarray) -> float:
    """Of F from the degrees of freedom of independent t statistics."""
    if np.all(np.abs(np.diff(nu)) < _SAME) or np.all(np.isinf(nu)):
        return float(np.mean(nu))
    if not np.all(nu > 2.0):
        return float("nan") if np.isnan(nu).any() else 2.0
    with np.errstate(invalid="ignore"):
        total = float(np.sum(np.where(np.isinf(nu), 1.0, nu / (nu - 2.0))))
    return 2.0 * total / (total - len(nu))


@dataclasses.dataclass(frozen=True)
class KenwardRoger:
    """Scale and degrees of freedom that match the first two moments of Wald's F statistic.

    Kenward & Roger (1997), Biometrics 53:983-997, section 3; Halekoh & Hojsgaard
    (2014), J. Statist. Softw. 59(9). With Theta = L'(L Phi L')^-1 L and W = Cov(psi),
    A1 = sum W_ij tr(Theta Phi P_i Phi) tr(Theta Phi P_j Phi) and
    A2 = sum W_ij tr(Theta Phi P_i Phi Theta Phi P_j Phi).

    Attributes:
        covariance: adjusted for the uncertainty of psi (`inference.kenward_roger`).
        conditional: Phi = Cov(beta) given psi; (fixed, fixed).
        slopes: Phi P_i Phi = -dPhi / dpsi_i; (param, fixed, fixed).
        parameters: W = Cov(psi) by the expected information; (param, param).
    """

    covariance: np.ndarray
    conditional: np.ndarray
    slopes: np.ndarray
    parameters: np.ndarray

    def each(self, L: np.ndarray) -> np.ndarray:
        return np.array([self.together(row[None, :]).df for row in L])

    def together(self, L: np.ndarray) -> Denominator:
        matrix = L @ self.conditional @ L.T
        if not np.all(np.isfinite(matrix)) or np.any(np.diag(matrix) <= 0):
            return Denominator(np.nan, 1.0)
        moved = np.linalg.solve(matrix, L @ self.slopes @ L.T)  # (param, row, row)
        traces = np.trace(moved, axis1=-2, axis2=-1)
        A1 = float(traces @ self.parameters @ traces)
        A2 = float(np.einsum("kab,lba,kl->", moved, moved, self.parameters))
        return _moments(A1, A2, len(L))


def _moments(A1: float, A2: float, q: int) -> Denominator:
    """Kenward & Roger's m and lambda. A covariance without error (A2 = 0) leaves chi-squared."""
    if not A2 > 0:
        return Denominator(np.inf if A2 == 0 else np.nan, 1.0)
    B = (A1 + 6.0 * A2) / (2.0 * q)
    g = ((q + 1.0) * A1 - (q + 4.0) * A2) / ((q + 2.0) * A2)
    d = 3.0 * q + 2.0 * (1.0 - g)
    c1, c2, c3 = g / d, (q - g) / d, (q + 2.0 - g) / d
    V0, V1, V2 = 1.0 + c1 * B, 1.0 - c2 * B, 1.0 - c3 * B
    shrunk = 1.0 - A2 / q
    # rho = V*/(2 E*^2). Where mean and variance both grow without bound (A2 = q: two degrees of
    # freedom for a single row) their ratio has the limit 1.
    ratio = 1.0 if abs(shrunk) < 1e-10 and abs(V1) < 1e-10 else shrunk / V1
    V0 = 0.0 if abs(V0) < 1e-10 else V0
    rho = ratio**2 * V0 / V2 / q
    if abs(q * rho - 1.0) < _NOTHING:
        return Denominator(np.inf, shrunk)
    df = 4.0 + (q + 2.0) / (q * rho - 1.0)
    scale = 1.0 if abs(df - 2.0) < 1e-2 else df * shrunk / (df - 2.0)
    return Denominator(df, scale)


@dataclasses.dataclass(frozen=True)
class ClusterRobust:
    """Satterthwaite's degrees of freedom of a cluster-robust covariance of a linear model.

    Where the model's own V is true, c'C c is a sum over clusters of squares of normal variables
    with covariances s_ij = [i = j] a_i - w_i'Phi w_j: df = (sum s_ii)^2 / sum s_ij^2 (Bell &
    McCaffrey 2002, Survey Methodology 28:169-181; Pustejovsky & Tipton 2018, J. Bus. Econ. Stat.
    36:672-683). Of several rows together they are not defined: NaN.

    Attributes:
        covariance: C; (fixed, fixed).
        conditional: Phi, in some basis of its own; (basis, basis).
        shares: w_i = shares_i c; (cluster, basis, fixed).
        spreads: a_i = c'spreads_i c; (cluster, fixed, fixed).
    """

    covariance: np.ndarray
    conditional: np.ndarray
    shares: np.ndarray
    spreads: np.ndarray

    def each(self, L: np.ndarray) -> np.ndarray:
        return np.array([self._of_row(row) for row in L])

    def together(self, L: np.ndarray) -> Denominator:
        return Denominator(float(self._of_row(L[0])) if len(L) == 1 else np.nan, 1.0)

    def _of_row(self, c: np.ndarray) -> float:
        a, w = c @ self.spreads @ c, self.shares @ c
        own = np.einsum("gb,bd,gd->g", w, self.conditional, w)
        both = self.conditional @ (w.T @ w)
        squares = np.sum(a**2) - 2.0 * np.sum(a * own) + np.sum(both * both.T)
        return float(np.sum(a - own) ** 2 / squares) if squares > 0 else np.nan
