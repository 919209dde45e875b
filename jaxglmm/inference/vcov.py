"""Covariance matrices of the estimates."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.arrays import minus
from jaxglmm.factor import choose
from jaxglmm.likelihood import score_and_weights
from jaxglmm.mode import predictor_at
from jaxglmm.params import Params
from jaxglmm.predictor import (
    Effects,
    Predictors,
    fixed_column,
    random_effects,
    random_part,
    relative_factors,
    transpose_fixed,
    transpose_lambda,
    transpose_random,
    weigh,
)
from jaxglmm.rows import Rows

FLAT = 1e-9  # an eigenvalue of the scaled Hessian below this carries no information
_INVOLVED = 1e-4  # share of a parameter in a flat direction that makes its variance unknown


def joint(hessian: np.ndarray) -> np.ndarray:
    """(-Hessian)^-1 in all parameters, NaN for those that a flat direction involves.

    Args:
        hessian: of the log-likelihood at the maximum; shape (..., param, param), of many models
            one by one.
    """
    return without(*along_curved(hessian))


def along_curved(hessian: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(-Hessian)^-1 in the directions that are not flat, and which parameters the others involve.

    Arguments as in `joint`; shapes (..., param, param) and (..., param).
    """
    if hessian.shape[-1] == 0:
        return np.zeros_like(hessian), np.zeros(hessian.shape[:-1], bool)
    finite = np.all(np.isfinite(hessian), axis=(-2, -1))[..., None]
    hessian = np.where(finite[..., None], hessian, -np.eye(hessian.shape[-1]))
    square = _units(hessian)
    values, vectors = np.linalg.eigh(-hessian * square)
    flat = values < FLAT
    inverted = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, values))
    covariance = (vectors * inverted[..., None, :]) @ np.swapaxes(vectors, -2, -1) * square
    involved = (np.abs(vectors) > _INVOLVED) & flat[..., None, :]
    return covariance, np.any(involved, axis=-1) | ~finite


def _units(hessian: np.ndarray) -> np.ndarray:
    """By which its entries are multiplied for a diagonal of one in size; the shape of `hessian`."""
    diagonal = np.abs(np.diagonal(hessian, axis1=-2, axis2=-1))
    scale = np.where(diagonal > 0, 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 1.0)
    return scale[..., :, None] * scale[..., None, :]


def smallest_eigenvalue(hessian: np.ndarray) -> float:
    """Of the negative Hessian (param, param) scaled to a unit diagonal; NaN where it is not finite,
    infinite where there are no parameters."""
    if not np.all(np.isfinite(hessian)):
        return float("nan")
    values = np.linalg.eigvalsh(-hessian * _units(hessian))
    return float(np.min(values, initial=np.inf)) + 0.0  # no negative zero


def num_flat(hessian: np.ndarray) -> np.ndarray:
    """How many directions of (..., param, param) are flat, in each of many matrices."""
    return np.sum(np.linalg.eigvalsh(-hessian * _units(hessian)) < FLAT, axis=-1)


def without(covariance: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    """The matrices (..., param, param) with NaN for all that involves an unknown parameter."""
    return np.where(unknown[..., :, None] | unknown[..., None, :], np.nan, covariance)


def conditional(rows: Rows, params: Params, u: Effects) -> Array:
    """Cov(beta) with theta and phi taken as known: (X'WX - X'WZL H^-1 L'Z'WX)^-1.

    lme4's `vcov(use.hessian = FALSE)` (Bates et al. 2015, eq. 54) with the observed weights;
    shape (fixed, fixed), zero for padding columns.
    """
    if rows.num_fixed == 0:
        return jnp.zeros((0, 0), rows.dtype)
    W = score_and_weights(rows, predictor_at(rows, params, u), params.phi)[1]
    residual = after_random_effects(rows, params.theta, W)

    def information(j: Array) -> Array:
        """Column j of the Schur complement."""
        return transpose_fixed(rows, weigh(W, residual(j)))

    return inverse_information(rows, jax.lax.map(information, jnp.arange(rows.num_fixed)))


def after_random_effects(
    rows: Rows, theta: Array, W: tuple[Predictors, ...]
) -> Callable[[Array], Predictors]:
    """X_j less its random part by number j: W^-1 V^-1 X_j, where V = W^-1 + Z L L'Z'."""
    factor, lam = choose(rows), relative_factors(rows, theta)
    factored = factor.factorise(factor.assemble(rows, lam, W))

    def residual(j: Array) -> Predictors:
        x = fixed_column(rows, j)
        pulled = transpose_lambda(lam, transpose_random(rows, weigh(W, x)))
        explained = random_part(rows, random_effects(lam, factor.solve(factored, pulled)))
        return minus(x, explained)

    return residual


def inverse_information(rows: Rows, matrix: Array) -> Array:
    """The inverse of X'V^-1 X, zero for padding columns."""
    matrix = matrix + jnp.diag(jnp.where(rows.free, 0.0, 1.0).astype(rows.dtype))
    inverse = jnp.linalg.inv(0.5 * (matrix + matrix.T))
    return jnp.where(rows.free[:, None] & rows.free[None, :], inverse, 0.0)
