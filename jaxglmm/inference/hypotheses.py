"""Which combinations of coefficients the test of a term is about."""

from __future__ import annotations

import numpy as np


def first_of(covariance: np.ndarray, own: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """The coefficients of a term where those of the rest are taken to be zero.

    L beta = beta_T - V_TR V_RR^-1 beta_R, whose estimate is not correlated with that of beta_R: its
    Wald statistic is that of (T, R) less that of R. The rest are the terms that contain it (car's
    type II; Fox 2016, Applied Regression Analysis, section 8.2), or all later ones (type I;
    Pinheiro and Bates 2000, section 2.4.2).

    Args:
        covariance: V; (fixed, fixed).
        own, rest: numbers of the coefficients T and R.

    Returns:
        Shape (own, fixed).
    """
    identity = np.eye(len(covariance))
    if not len(rest):
        return identity[own]
    V = covariance[np.ix_(rest, rest)]
    if not np.all(np.isfinite(V)):
        return np.full((len(own), len(covariance)), np.nan)
    shares = covariance[np.ix_(own, rest)] @ np.linalg.pinv(V, hermitian=True)
    return identity[own] - shares @ identity[rest]


def other_coding(X: np.ndarray, other: np.ndarray) -> np.ndarray | None:
    """B with X = other B: the coefficients of the columns `other` are B beta.

    None where the columns of X are no combinations of the others; shape (other, fixed).
    """
    scale = np.linalg.norm(other, axis=0)
    B = np.linalg.lstsq(other / scale, X, rcond=None)[0]
    apart = np.linalg.norm(other / scale @ B - X, axis=0)
    if np.any(apart > 1e-8 * np.linalg.norm(X, axis=0)):
        return None
    return B / scale[:, None]
