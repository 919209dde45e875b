"""Tails and quantiles of t and F; at infinite degrees of freedom of normal and chi-squared.

Normal ones come from the standard library: scipy.special takes 0.07 s to import, a tenth of a first
fit.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal, get_args

import numpy as np

Alternative = Literal["two-sided", "less", "greater"]  # scipy's words
ALTERNATIVES = get_args(Alternative)


def p_value(t: np.ndarray, df: float | np.ndarray, alternative: str = "two-sided") -> np.ndarray:
    """Of t statistics, elementwise: P(|T| > |t|), P(T < t) for "less", P(T > t) for "greater"."""
    if alternative == "two-sided":
        return 2.0 * t_tail(np.abs(t), df)
    return t_tail(-t if alternative == "less" else t, df)


def t_tail(x: np.ndarray, df: float | np.ndarray = np.inf) -> np.ndarray:
    """P(t(df) > x), elementwise; `df` one number or one of each."""
    if np.all(np.isinf(df)):
        tails = [0.5 * math.erfc(v / math.sqrt(2.0)) for v in np.ravel(x).tolist()]
        return np.array(tails).reshape(np.shape(x))
    from scipy import special

    finite = np.where(np.isinf(df), 1.0, df)
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(df), special.ndtr(-x), special.stdtr(finite, -x))


def t_quantile(tail: float, df: float | np.ndarray = np.inf) -> np.ndarray:
    """x with P(t(df) > x) = tail; of the shape of `df`."""
    normal = -NormalDist().inv_cdf(tail)
    if np.all(np.isinf(df)):
        return np.full(np.shape(df), normal)
    from scipy import special

    return np.where(np.isinf(df), normal, -special.stdtrit(df, tail))


def f_tail(x: float | np.ndarray, rank: int, df: float | np.ndarray = np.inf) -> np.ndarray:
    """P(rank F(rank, df) > x), elementwise: of a sum of squares, not of their mean."""
    from scipy import special

    chi_squared = special.chdtrc(rank, x)
    if np.all(np.isinf(df)):
        return chi_squared
    finite = np.where(np.isinf(df), 1.0, df)
    return np.where(np.isinf(df), chi_squared, special.fdtrc(rank, finite, x / rank))


def scheffe(level: float, rank: int, df: float = np.inf) -> float:
    """sqrt(x) with P(rank F(rank, df) <= x) = level.

    So many standard errors hold for all linear combinations of `rank` estimates together: of any of
    them |c'(estimate - truth)| / se is at most the root of the quadratic form of them all (Scheffe
    1953, Biometrika 40:87-104).
    """
    from scipy import special

    if rank == 0:
        return 0.0
    if np.isinf(df):
        return math.sqrt(float(special.chdtri(rank, 1.0 - level)))
    return math.sqrt(rank * float(special.fdtri(rank, df, level)))
