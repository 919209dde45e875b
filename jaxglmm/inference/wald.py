"""Wald statistics and intervals, with t or normal quantiles."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxglmm.inference.quantiles import f_tail, t_quantile, t_tail


class Wald(NamedTuple):
    """One entry a parameter."""

    std_error: np.ndarray
    statistic: np.ndarray
    df: np.ndarray
    p_value: np.ndarray
    low: np.ndarray
    high: np.ndarray


def wald(
    estimate: np.ndarray, variance: np.ndarray, level: float, df: float | np.ndarray = np.inf
) -> Wald:
    """estimate / se against t(df) (normal at df = inf), two-sided; estimate -+ quantile * se.

    Args:
        estimate, variance: of one shape; a NaN variance gives NaN everywhere.
        level: of the interval, in (0, 1).
        df: denominator degrees of freedom, one number or one of each estimate.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        se = np.sqrt(np.where(variance >= 0, variance, np.nan))
        statistic = estimate / se
    width = t_quantile(0.5 - 0.5 * level, df) * se
    p_value = 2.0 * t_tail(np.abs(statistic), df)
    freedom = np.broadcast_to(df, se.shape).astype(se.dtype)
    return Wald(se, statistic, freedom, p_value, estimate - width, estimate + width)


def joint_test(estimate: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """p-values of chi-squared tests that all parameters are zero, W = b' V^-1 b ~ chi2(k).

    Args:
        estimate: shape (..., k).
        covariance: V, shape (..., k, k); one that is not positive definite, or not known (NaN),
            gives NaN.
    """
    known = np.all(np.isfinite(covariance), axis=(-2, -1)) & np.all(np.isfinite(estimate), axis=-1)
    k = estimate.shape[-1]
    V = np.where(known[..., None, None], covariance, np.eye(k))
    b = np.where(known[..., None], estimate, 0.0)
    scale = np.sqrt(np.abs(np.diagonal(V, axis1=-2, axis2=-1)))
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(V / (scale[..., :, None] * scale[..., None, :]))
    positive = np.all(values > k * np.finfo(float).eps, axis=-1) & known
    values = np.where(positive[..., None], values, 1.0)
    along = np.swapaxes(vectors, -2, -1) @ (b / scale)[..., None]
    statistic = np.sum(along[..., 0] ** 2 / values, axis=-1)
    return np.where(positive, f_tail(statistic, k), np.nan)


def delta_errors(jacobian: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """Standard errors sqrt(diag(J V J')); NaN where an unknown (NaN) variance enters.

    Args:
        jacobian: shape (..., natural, param).
        covariance: shape (..., param, param).
    """
    unknown = np.isnan(np.diagonal(covariance, axis1=-2, axis2=-1))
    known = np.nan_to_num(covariance, nan=0.0)
    with np.errstate(invalid="ignore"):
        # As products of a model's own matrices: sums in an order that others have no part in.
        variance = (jacobian @ known)[..., None, :] @ jacobian[..., :, None]
        touched = np.any((jacobian != 0) & unknown[..., None, :], axis=-1)
        variance = np.where(touched, np.nan, variance[..., 0, 0])
        return np.sqrt(np.where(variance >= 0, variance, np.nan))


def on_log_scale(
    estimate: np.ndarray, se: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Limits of a positive parameter: exp(log(estimate) -+ z se / estimate)."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        factor = np.exp(t_quantile(0.5 - 0.5 * level) * se / estimate)
        return estimate / factor, estimate * factor


def on_fisher_scale(
    estimate: np.ndarray, se: np.ndarray, level: float
) -> tuple[np.ndarray, np.ndarray]:
    """Limits of a correlation: tanh(atanh(r) -+ z se / (1 - r^2))."""
    with np.errstate(invalid="ignore", divide="ignore"):
        width = t_quantile(0.5 - 0.5 * level) * se / (1.0 - estimate**2)
        centre = np.arctanh(estimate)
        return np.tanh(centre - width), np.tanh(centre + width)
