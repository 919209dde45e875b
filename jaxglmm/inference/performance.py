"""How well estimates do over replicates of a simulation, with Monte-Carlo errors (MCSE).

Measures and their errors are those of Morris, White & Crowther (2019), "Using simulation studies to
evaluate statistical methods", Statist. Med. 38:2074-2102, table 6. Every figure is over the
replicates that are usable; what those that are not could have done to a rate is told by its bounds.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Replicates(NamedTuple):
    """What one analysis made of the replicates; (replicate, param) but the last.

    `p_value` tests that the parameter is zero; NaN where there is no test, as `conf_low` and
    `conf_high` where there is no interval. usable: which fits are at a maximum; (replicate,).
    """

    estimate: np.ndarray
    std_error: np.ndarray
    conf_low: np.ndarray
    conf_high: np.ndarray
    p_value: np.ndarray
    usable: np.ndarray


class Rate(NamedTuple):
    """A share of the replicates that have an answer.

    low, high: the share of all, were the answer no, or yes, in all that have none.
    """

    value: np.ndarray
    mcse: np.ndarray
    low: np.ndarray
    high: np.ndarray


def averages(found: Replicates, truth: np.ndarray) -> dict[str, np.ndarray]:
    """Measures of the estimates and their standard errors, (param,) each.

    With n estimates e_i of mean e and the standard errors s_i:

        bias       e - truth                        sd / sqrt(n)
        sd         sqrt(sum (e_i - e)^2 / (n - 1))  sd / sqrt(2 (n - 1))
        rmse       sqrt(sum (e_i - truth)^2 / n)    sqrt(sum (d_i - d)^2 / (n (n - 1))) / (2 rmse)
        std_error  sqrt(sum s_i^2 / n)              sqrt(sum (v_i - v)^2 / (n (n - 1))) / (2 se)

    with d_i = (e_i - truth)^2 of mean d, v_i = s_i^2 of mean v, and errors by the delta method.
    NaN where there are too few, or the truth is not known (NaN).
    """
    e = np.where(found.usable[:, None], found.estimate, np.nan)
    s = np.where(found.usable[:, None], found.std_error, np.nan)
    mean, spread, n = _moments(e)
    square, of_square, _ = _moments((e - truth) ** 2)
    variance, of_variance, m = _moments(s**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        rmse, std_error = np.sqrt(square), np.sqrt(variance)
        return {
            "mean": mean,
            "bias": mean - truth,
            "bias_mcse": spread / np.sqrt(n),
            "sd": spread,
            "sd_mcse": spread / np.sqrt(2.0 * (n - 1)),
            "std_error": std_error,
            "std_error_mcse": of_variance / np.sqrt(m) / (2.0 * std_error),
            "rmse": rmse,
            "rmse_mcse": of_square / np.sqrt(n) / (2.0 * rmse),
        }


def coverage(found: Replicates, truth: np.ndarray) -> Rate:
    """How often the interval holds the truth."""
    inside = (found.conf_low <= truth) & (truth <= found.conf_high)
    return rate(inside, intervals(found), ~np.isnan(truth))


def intervals(found: Replicates) -> np.ndarray:
    """Which usable fits have an interval for which parameter; (replicate, param)."""
    return found.usable[:, None] & ~np.isnan(found.conf_low) & ~np.isnan(found.conf_high)


def rejection(found: Replicates, alpha: float, tested: np.ndarray) -> Rate:
    """How often the test of zero rejects at level alpha; NaN for parameters that have no test."""
    answered = found.usable[:, None] & ~np.isnan(found.p_value)
    return rate(found.p_value <= alpha, answered, tested)


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, standard deviation and number of those that are not NaN, column by column."""
    known = ~np.isnan(values)
    n = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.sum(values, axis=0, where=known) / n
        squares = np.sum((values - mean) ** 2, axis=0, where=known)
        return mean, np.where(n > 1, np.sqrt(squares / (n - 1)), np.nan), n


def rate(yes: np.ndarray, answered: np.ndarray, asked: np.ndarray) -> Rate:
    """The share of yes (replicate, param) among the answered; NaN for parameters of which it is
    not asked, (param,)."""
    attempted, n = len(yes), answered.sum(axis=0)
    total = np.sum(yes & answered, axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = total / n
        mcse = np.sqrt(share * (1.0 - share) / n)
    bounds = total / attempted, (total + attempted - n) / attempted
    return Rate(*(np.where(asked, part, np.nan) for part in (share, mcse, *bounds)))
