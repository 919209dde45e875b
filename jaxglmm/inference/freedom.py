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

    @property
    def of_model(self) -> np.ndarray:
        """Cov(beta) by the model, which tells what has a variance; a robust `covariance` has no
        more ranks than there are clusters."""
        ...


@dataclasses.dataclass(frozen=True)
class Known:
    """The same degrees of freedom for every contrast: infinite, or residual ones.

    `model`: Cov(beta) by the model where `covariance` is another.
    """

    covariance: np.ndarray
    df: float
    model: np.ndarray | None = None

    @property
    def of_model(self) -> np.ndarray:
        return self.covariance if self.model is None else self.model

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

    @property
    def of_model(self) -> np.ndarray:
        return self.conditional

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

    @property
    def of_model(self) -> np.ndarray:
        return self.conditional

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
    """Degrees of freedom of a cluster-robust covariance C of a linear model.

    Where the model's own V is true, L C L' is a sum over clusters of z_i z_i' with normal z_i,
    Cov(z_i, z_j) = S_ij = [i = j] L a_i L' - W_i'Phi W_j, W_i = w_i L'. With L such that E L C L'
    is the identity its law is taken for Wishart's with the same sum of its entries' variances,

        nu = q (q + 1) / sum_ij (tr(S_ij)^2 + tr(S_ij^2)),

    and (nu - q + 1) / (nu q) times Wald's statistic for F(q, nu - q + 1): the test HTZ of
    Pustejovsky & Tipton (2018), J. Bus. Econ. Stat. 36:672-683, Hotelling's where all clusters have
    the same design; of one row Satterthwaite's, nu = (sum S_ii)^2 / sum S_ij^2 (Bell & McCaffrey
    2002, Survey Methodology 28:169-181). NaN where clusters are too few, nu <= q - 1.

    Attributes:
        covariance: C; (fixed, fixed).
        conditional: Phi, in some basis of its own; (basis, basis).
        shares: w_i; (cluster, basis, fixed).
        spreads: a_i; (cluster, fixed, fixed).
    """

    covariance: np.ndarray
    conditional: np.ndarray
    shares: np.ndarray
    spreads: np.ndarray

    @property
    def of_model(self) -> np.ndarray:
        w = self.shares
        return np.sum(self.spreads - np.swapaxes(w, 1, 2) @ self.conditional @ w, axis=0)

    def each(self, L: np.ndarray) -> np.ndarray:
        return np.array([self._nu(row[None, :]) for row in L])

    def together(self, L: np.ndarray) -> Denominator:
        q, nu = len(L), self._nu(L)
        if not nu > q - 1.0 + _SAME:
            return Denominator(np.nan, 1.0)
        return Denominator(nu - q + 1.0, (nu - q + 1.0) / nu)

    def _nu(self, L: np.ndarray) -> float:
        q = len(L)
        half = np.linalg.cholesky(self.conditional).T
        T, A = half @ self.shares @ L.T, L @ self.spreads @ L.T  # S_ij = [i = j] A_i - T_i'T_j
        own = np.swapaxes(T, 1, 2) @ T
        root = _inverse_root(np.sum(A - own, axis=0))
        if root is None:
            return float("nan")
        T, A, own = T @ root, root.T @ A @ root, root.T @ own @ root
        flat = T.reshape(len(T), -1)
        M = (flat.T @ flat).reshape(*T.shape[1:], *T.shape[1:])  # sum_i T_i[k, s] T_i[l, t]
        total = np.sum(M**2) + np.sum(M * np.transpose(M, (0, 3, 2, 1)))
        return q * (q + 1.0) / float(total + np.sum(_squares(A - own) - _squares(own)))


def _inverse_root(E: np.ndarray) -> np.ndarray | None:
    """R with R'E R the identity; None where E is not positive definite."""
    scale = np.sqrt(np.abs(np.diagonal(E)))
    values, vectors = np.linalg.eigh(E / np.where(scale > 0, scale[:, None] * scale, 1.0))
    if not np.all(values > _NOTHING * len(E)):
        return None
    return vectors / np.sqrt(values) / scale[:, None]


def _squares(S: np.ndarray) -> np.ndarray:
    """tr(S)^2 + tr(S^2) of symmetric matrices; (cluster,)."""
    return np.trace(S, axis1=1, axis2=2) ** 2 + np.sum(S**2, axis=(1, 2))
