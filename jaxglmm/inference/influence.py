"""How far estimates move when rows are left out: measures, from estimates without each unit."""

from __future__ import annotations

import numpy as np


def cooks_distance(change: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """d' V^-1 d / p, d the change of p coefficients; NaN where V is not known.

    Cook (1977), Technometrics 19:15-18, with the covariance matrix of the model.

    Args:
        change: shape (unit, p).
        covariance: V of the fit to all rows; shape (p, p).
    """
    p = change.shape[1]
    if p == 0 or not np.isfinite(covariance).all():
        return np.full(len(change), np.nan)
    solved = np.linalg.lstsq(covariance, change.T, rcond=None)[0]
    return np.sum(change * solved.T, axis=1) / p


def cooks_by_leverage(pearson: np.ndarray, hat: np.ndarray, p: int) -> np.ndarray:
    """r^2 h / ((1 - h)^2 p): Cook's distance of single rows without a refit, to the first order.

    Exact in linear models with the variance known (Cook 1977), for others lme4's `cooks.distance`
    (Pregibon 1981, Ann. Statist. 9:705-724). NaN without coefficients, or where h is one.

    Args:
        pearson, hat: residuals in standard deviations of the law, and hat values; (obs,) each.
        p: number of fixed effects of the mean.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        found = pearson**2 * hat / ((1.0 - hat) ** 2 * p)
    return np.where(np.isfinite(found), found, np.nan)


def covariance_ratio(without: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """det V_i / det V, V_i without the unit (Belsley, Kuh & Welsch 1980, eq. 2.36); NaN where one
    of them is not known.

    Args:
        without: shape (unit, p, p).
        covariance: of the fit to all rows; shape (p, p).
    """
    known = np.all(np.isfinite(without), axis=(1, 2)) & np.all(np.isfinite(covariance))
    V = np.where(known[:, None, None], without, np.eye(covariance.shape[0]))
    base = np.linalg.slogdet(np.nan_to_num(covariance))[1]
    return np.where(known, np.exp(np.linalg.slogdet(V)[1] - base), np.nan)


def sums_by_unit(values: np.ndarray, units: np.ndarray, number: int) -> np.ndarray:
    """Sums of (param, obs) over the rows of each unit; shape (unit, param)."""
    return np.stack([np.bincount(units, row, number) for row in values], axis=1)
