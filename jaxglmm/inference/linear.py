"""Tests of linear hypotheses L beta = c, one row or several at once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxglmm.inference.freedom import Denominator, Freedom
from jaxglmm.inference.quantiles import f_tail, p_value

_RANK = 1e-10  # an eigenvalue of their correlations below this share of the largest is none


class Outcome(NamedTuple):
    """F (or chi-squared; one-sided t or z) statistic, its degrees of freedom and tail probability.

    `den_df` is infinite for a chi-squared statistic.
    """

    statistic: float
    num_df: int
    den_df: float
    p_value: float


def independent_rows(
    L: np.ndarray, c: np.ndarray, covariance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The same hypothesis L beta = c by rows whose estimates have a covariance of full rank.

    Directions without variance leave: rows that others determine, coefficients that are held.
    """
    matrix = L @ covariance @ L.T
    if not np.all(np.isfinite(matrix)):
        return L, c
    scale = np.sqrt(np.abs(np.diagonal(matrix)))
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(matrix / (scale[:, None] * scale))
    kept = values > _RANK * max(float(values.max(initial=0.0)), np.finfo(float).tiny)
    if kept.all():
        return L, c
    turn = vectors[:, kept].T / scale
    return turn @ L, turn @ c


def wald_statistic(apart: np.ndarray, covariance: np.ndarray) -> float:
    """apart' covariance^-1 apart; NaN where the matrix is not known or not positive definite, as
    that of more rows than there are clusters."""
    if not np.all(np.isfinite(covariance)) or not np.all(np.isfinite(apart)):
        return float("nan")
    scale = np.sqrt(np.abs(np.diagonal(covariance)))
    if not np.all(scale > 0):
        return float("nan")
    values = np.linalg.eigvalsh(covariance / (scale[:, None] * scale))
    if len(values) and values[0] <= _RANK * values[-1]:
        return float("nan")
    try:
        half = np.linalg.solve(np.linalg.cholesky(covariance), apart)
    except np.linalg.LinAlgError:
        return float("nan")
    return float(half @ half)


def linear_test(
    freedom: Freedom, beta: np.ndarray, L: np.ndarray, c: np.ndarray, kind: str = "F"
) -> Outcome:
    """Wald's test of L beta = c.

    Args:
        freedom: Cov(beta) and the denominator (`inference.freedom`).
        beta: shape (fixed,).
        L: shape (row, fixed), of any rank; c: shape (row,), in the range of L.
        kind: "F" or "chisq".
    """
    covariance = _known(freedom.covariance, L)
    L, c = independent_rows(L, c, _known(freedom.of_model, L))
    q = len(L)
    W = wald_statistic(L @ beta - c, L @ covariance @ L.T)
    if kind == "chisq":
        return chi_squared(W, q)
    return f_test(W, q, freedom.together(L))


def one_sided(outcome: Outcome, apart: float, alternative: str) -> Outcome:
    """The test of a single row against L beta < c or > c, `apart` being L beta^ - c: its statistic
    is the root of the two-sided one, with the sign of `apart`, for t(den_df) or the normal law."""
    t = float(np.sign(apart)) * np.sqrt(outcome.statistic)
    p = p_value(np.asarray(t), outcome.den_df, alternative)
    return outcome._replace(statistic=float(t), p_value=float(p))


def _known(covariance: np.ndarray, L: np.ndarray) -> np.ndarray:
    """With zero for unknown (NaN) coefficients that the rows leave alone."""
    used = np.any(L != 0, axis=0)
    return np.where(used[:, None] & used[None, :], covariance, np.nan_to_num(covariance, nan=0.0))


def chi_squared(W: float, q: int) -> Outcome:
    """Wald's statistic against chi2(q)."""
    return Outcome(W, q, np.inf, float(f_tail(W, q)) if q else np.nan)


def f_test(W: float, q: int, denominator: Denominator) -> Outcome:
    """scale W / q against F(q, df)."""
    if q == 0:
        return Outcome(np.nan, 0, np.nan, np.nan)
    if np.isinf(denominator.df):
        return chi_squared(W, q)._replace(statistic=W / q)
    F = denominator.scale * W / q
    return Outcome(F, q, denominator.df, float(f_tail(q * F, q, denominator.df)))
