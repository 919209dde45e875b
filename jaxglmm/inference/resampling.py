"""Responses for a bootstrap and limits from its replicates, one parameter a column.

Davison & Hinkley (1997), "Bootstrap Methods and their Application", chapter 5; Efron (1987),
J. Amer. Statist. Assoc. 82:171-185. Replicates that are not finite (fits that failed) are left out.
"""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

Limits = tuple[np.ndarray, np.ndarray]

_FEW = 12  # groups up to which signs alone give too few different draws
_WEBB = np.sqrt([1.5, 1.0, 0.5])  # with either sign Webb's six-point law: mean 0, variance 1
_MOST_UNITS = 200


class Spread(NamedTuple):
    """Of the replicates: mean less the estimate, standard deviation, number."""

    bias: np.ndarray
    std_error: np.ndarray
    count: np.ndarray


def wild_responses(
    centre: np.ndarray, y: np.ndarray, codes: np.ndarray, seed: int, numbers: range
) -> np.ndarray:
    """centre + w_g (y - centre) sqrt(G / (G - 1)), draw by draw; shape (draw, obs).

    w_g is of mean 0 and variance 1 and its own for each of the G groups and each draw: -1 or 1, in
    few groups one of Webb's six numbers. A draw depends on the seed and its number alone. Modugno &
    Giannerini (2015), Comm. Statist. Theory Methods 44:4812-4825.

    Args:
        centre: X beta and offset; (obs,).
        y: responses; (obs,).
        codes: group of each row, 0, ..., G - 1.
        seed, numbers: of the draws.
    """
    groups = int(codes.max()) + 1
    w = np.empty((len(numbers), groups))
    for row, number in zip(w, numbers, strict=True):
        rng = np.random.default_rng([seed, number])
        row[:] = rng.choice([-1.0, 1.0], groups)
        if groups <= _FEW:
            row *= rng.choice(_WEBB, groups)
    return centre + np.sqrt(groups / max(groups - 1, 1)) * w[:, codes] * (y - centre)


def drawn(number: int, seed: int, numbers: range) -> np.ndarray:
    """So many of 0, ..., number - 1 with replacement, draw by draw; shape (draw, number).

    A draw depends on the seed and its number alone.
    """
    found = np.empty((len(numbers), number), np.int64)
    for row, which in zip(found, numbers, strict=True):
        row[:] = np.random.default_rng([seed, which]).integers(0, number, number)
    return found


def splits(inner: np.ndarray, outer: np.ndarray) -> bool:
    """Whether a level of `inner` has rows in several levels of `outer`."""
    pairs = np.unique(np.stack([inner, outer], axis=1), axis=0)
    return len(pairs) > len(np.unique(inner))


def units_of(codes: np.ndarray) -> np.ndarray:
    """The unit that each row leaves a jackknife with: its level, or several of very many together;
    (unit, obs), whether the row is of the unit."""
    units = codes % _MOST_UNITS
    return np.unique(units)[:, None] == units


def spread(estimate: np.ndarray, replicates: np.ndarray) -> Spread:
    """Replicates are (draw, param); NaN where there are fewer than two."""
    known = np.isfinite(replicates)
    count = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        total = np.sum(np.where(known, replicates, 0.0), axis=0)
        mean = np.where(count > 1, total / count, np.nan)
        squares = np.sum(np.where(known, replicates - mean, 0.0) ** 2, axis=0)
        return Spread(mean - estimate, np.sqrt(squares / (count - 1)), count)


def percentile(replicates: np.ndarray, level: float) -> Limits:
    """The quantiles of the replicates themselves; replicates are (draw, param)."""
    one = np.ones(replicates.shape[1])
    below, above = 0.5 * (1.0 - level), 0.5 * (1.0 + level)
    return _quantiles(replicates, below * one), _quantiles(replicates, above * one)


def basic(estimate: np.ndarray, replicates: np.ndarray, level: float) -> Limits:
    """2 estimate - the opposite quantile: the law of (replicate - estimate) is that of
    (estimate - truth). Davison & Hinkley, eq. (5.6)."""
    low, high = percentile(replicates, level)
    return 2.0 * estimate - high, 2.0 * estimate - low


def studentised(
    estimate: np.ndarray,
    error: np.ndarray,
    replicates: np.ndarray,
    errors: np.ndarray,
    level: float,
) -> Limits:
    """estimate - error z, z the opposite quantile of (replicate - estimate) / its own error.

    Davison & Hinkley, eq. (5.7). Draws without an error are left out.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        low, high = percentile((replicates - estimate) / errors, level)
    return estimate - error * high, estimate - error * low


def accelerated(
    estimate: np.ndarray, replicates: np.ndarray, left_out: np.ndarray, level: float
) -> Limits:
    """Efron's BCa limits: percentiles whose level is corrected for bias and acceleration.

    With z0 the normal quantile of the share of replicates below the estimate and a the skewness of
    the jackknife, the level alpha becomes Phi(z0 + (z0 + z) / (1 - a (z0 + z))), z its quantile
    (Efron 1987, eqs. 2.3 and 4.4). NaN where all replicates lie on one side of the estimate.

    Args:
        estimate: (param,).
        replicates: (draw, param).
        left_out: the estimates without one unit each; (unit, param).
        level: of the interval.
    """
    known, normal = np.isfinite(replicates), NormalDist()
    count = np.maximum(known.sum(axis=0), 1)
    below = np.sum(known & (replicates < estimate), axis=0)
    ties = np.sum(known & (replicates == estimate), axis=0)
    share = (below + 0.5 * ties) / count
    z0 = np.array([normal.inv_cdf(p) if 0 < p < 1 else np.nan for p in share])
    influence = np.nanmean(left_out, axis=0) - left_out
    squares = np.nansum(influence**2, axis=0)
    cubes = np.nansum(influence**3, axis=0)
    a = np.where(squares > 0, cubes / np.where(squares > 0, 6.0 * squares**1.5, 1.0), 0.0)

    def limit(alpha: float) -> np.ndarray:
        z = z0 + normal.inv_cdf(alpha)
        corrected = z0 + z / (1.0 - a * z)
        return _quantiles(replicates, np.array([normal.cdf(v) for v in corrected]))

    return limit(0.5 * (1.0 - level)), limit(0.5 * (1.0 + level))


def _quantiles(values: np.ndarray, levels: np.ndarray) -> np.ndarray:
    """Of each column at its own level, by (R + 1) level-th order statistics of R values (Davison &
    Hinkley, section 5.2.1); NaN of none, or at no level."""

    def quantile(column: np.ndarray, level: float) -> float:
        known = column[np.isfinite(column)]
        if not len(known) or not np.isfinite(level):
            return np.nan
        return float(np.quantile(known, level, method="weibull"))

    return np.array(
        [quantile(column, level) for column, level in zip(values.T, levels, strict=True)]
    )
