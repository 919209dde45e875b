"""Wald statistics and intervals, with t or normal quantiles."""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np


class Wald(NamedTuple):
    """One entry a parameter."""

    std_error: np.ndarray
    statistic: np.ndarray
    df: np.ndarray
    p_value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def wald(estimate: np.ndarray, variance: np.ndarray, level: float, df: float = np.inf) -> Wald:
    """estimate / se against t(df) (normal at df = inf), two-sided; estimate -+ quantile * se.

    Args:
        estimate, variance: shape (param,); a NaN variance gives NaN everywhere.
        level: of the interval, in (0, 1).
        df: denominator degrees of freedom.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        se = np.sqrt(np.where(variance >= 0, variance, np.nan))
        statistic = estimate / se
    width = _quantile(0.5 + 0.5 * level, df) * se
    tail = -np.abs(statistic)
    p_value = 2.0 * _distribution(tail, df)
    freedom = np.full_like(se, df)
    return Wald(se, statistic, freedom, p_value, estimate - width, estimate + width)


def _distribution(x: np.ndarray, df: float) -> np.ndarray:
    """Of the t law, normal at df = inf; the latter from the standard library, as scipy.special
    takes 0.07 s to import, a tenth of a first fit."""
    if np.isinf(df):
        return np.array([0.5 * math.erfc(-v / math.sqrt(2.0)) for v in x])
    from scipy import special

    return special.stdtr(df, x)


def _quantile(p: float, df: float = np.inf) -> float:
    """Of the t law, normal at df = inf."""
    if np.isinf(df):
        return NormalDist().inv_cdf(p)
    from scipy import special

    return float(special.stdtrit(df, p))


def delta_errors(jacobian: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Standard errors sqrt(diag(J V J')); NaN where an unknown (NaN) variance enters.

    Args:
        jacobian: shape (natural, param).
        covariance: shape (param, param).
    """
    unknown = np.isnan(np.diagonal(covariance))
    known = np.nan_to_num(covariance, nan=0.0)
    with np.errstate(invalid="ignore"):
        variance = np.einsum("ij,jk,ik->i", jacobian, known, jacobian)
        variance[np.any((jacobian != 0) & unknown, axis=1)] = np.nan
        return np.sqrt(np.where(variance >= 0, variance, np.nan))


def on_log_scale(
    estimate: np.ndarray, se: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Limits of a positive parameter: exp(log(estimate) -+ z se / estimate)."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        factor = np.exp(_quantile(0.5 + 0.5 * level) * se / estimate)
        return estimate / factor, estimate * factor


def on_fisher_scale(
    estimate: np.ndarray, se: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Limits of a correlation: tanh(atanh(r) -+ z se / (1 - r^2))."""
    with np.errstate(invalid="ignore", divide="ignore"):
        width = _quantile(0.5 + 0.5 * level) * se / (1.0 - estimate**2)
        centre = np.arctanh(estimate)
        return np.tanh(centre - width), np.tanh(centre + width)
