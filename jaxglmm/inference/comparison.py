"""Likelihood-ratio statistics of nested models and what is known of their law."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxglmm.inference.quantiles import f_tail


class Null(NamedTuple):
    """The asymptotic law of a likelihood ratio under the smaller model: a mixture of chi-squared
    laws, one weight and one number of degrees of freedom each; none where it is not known."""

    weights: tuple[float, ...]
    dfs: tuple[int, ...]


class Tail(NamedTuple):
    """P(draw >= statistic) from draws, its Monte-Carlo error, and how many draws were used."""

    p_value: float
    error: float
    used: int


def null_law(df: int, at_bound: int | None) -> Null:
    """chi2(df) where the smaller model is inside the larger one; where it closes one direction
    that leaves a bound to one side only, chi2(df - 1) and chi2(df) in equal shares.

    Self & Liang (1987), J. Amer. Statist. Assoc. 82:605-610, cases 5 and 6; for a random effect
    beside q others Stram & Lee (1994), Biometrics 50:1171-1177, case 3. The weights of further
    cases depend on the information matrix.

    Args:
        df: difference of the numbers of parameters.
        at_bound: number of such directions, None if not known (see `nesting.Within`).
    """
    if at_bound == 0:
        return Null((1.0,), (df,))
    if at_bound == 1:
        return Null((0.5, 0.5), (df - 1, df))
    return Null((), ())


def tail(statistic: float, law: Null) -> float:
    """P(LR >= statistic), NaN if the law is not known; chi2(0) is all at zero."""
    if not law.weights or np.isnan(statistic):
        return float("nan")
    parts = [float(f_tail(statistic, df)) if df else float(statistic <= 0) for df in law.dfs]
    return float(np.dot(law.weights, parts))


def slack(small: np.ndarray, large: np.ndarray, tolerance: float) -> np.ndarray:
    """What a ratio of log-likelihoods of that size may be off by: each is short of its maximum by
    `tolerance` at most, and rounded."""
    rounding = 64.0 * np.finfo(float).eps * (np.abs(small) + np.abs(large))
    return 4.0 * tolerance + rounding


def ratio(small: np.ndarray, large: np.ndarray, tolerance: float) -> np.ndarray:
    """2 (large - small) of log-likelihoods, negative by no more than `slack` counting as zero.

    A more negative one, which stays as it is, tells of a larger model short of its maximum.
    """
    found = 2.0 * (large - small)
    return np.where(np.abs(found) <= slack(small, large, tolerance), 0.0, found)


def tail_of_draws(statistic: float, draws: np.ndarray, allowance: float) -> Tail:
    """p = (1 + number of draws >= statistic) / (1 + number of draws).

    Davison & Hinkley (1997), "Bootstrap Methods and their Application", eq. (4.11). Its error is
    that of a binomial number, sqrt(B p (1 - p)) / (B + 1).

    Args:
        statistic: of the data.
        draws: NaN for those that count for nothing; (draw,).
        allowance: by which a draw may fall short by rounding and still be a tie.
    """
    used = int(np.sum(np.isfinite(draws)))
    if not used:
        return Tail(float("nan"), float("nan"), 0)
    p = (1.0 + np.sum(draws >= statistic - allowance)) / (1.0 + used)
    return Tail(float(p), float(np.sqrt(used * p * (1.0 - p)) / (used + 1.0)), used)
