"""Covariance matrices of the estimates."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.arrays import minus
from jaxglmm.factor import choose
from jaxglmm.likelihood import score_and_weights
from jaxglmm.params import Params
from jaxglmm.predictor import (
    Effects,
    fixed_column,
    linear_predictor,
    random_effects,
    random_part,
    relative_factors,
    transpose_fixed,
    transpose_lambda,
    transpose_random,
    weigh,
)
from jaxglmm.rows import Rows

_FLAT = 1e-9  # an eigenvalue of the scaled Hessian below this carries no information
_INVOLVED = 1e-4  # share of a parameter in a flat direction that makes its variance unknown


def joint(hessian: np.ndarray) -> np.ndarray:
    """(-Hessian)^-1 in all parameters, NaN for those that a flat direction involves.

    Args:
        hessian: of the log-likelihood at the maximum; shape (param, param).
    """
    if hessian.shape[0] == 0:
        return np.zeros((0, 0))
    if not np.all(np.isfinite(hessian)):
        return np.full_like(hessian, np.nan)
    diagonal = np.abs(np.diagonal(hessian))
    scale = np.where(diagonal > 0, 1.0 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)), 1.0)
    values, vectors = np.linalg.eigh(-hessian * np.outer(scale, scale))
    flat = values < _FLAT
    inverted = np.where(flat, 0.0, 1.0 / np.where(flat, 1.0, values))
    covariance = (vectors * inverted) @ vectors.T * np.outer(scale, scale)
    unknown = np.any(np.abs(vectors[:, flat]) > _INVOLVED, axis=1)
    covariance[unknown, :] = np.nan
    covariance[:, unknown] = np.nan
    return covariance


def conditional(rows: Rows, params: Params, u: Effects) -> Array:
    """Cov(beta) with theta and phi taken as known: (X'WX - X'WZL H^-1 L'Z'WX)^-1.

    lme4's `vcov(use.hessian = FALSE)` (Bates et al. 2015, eq. 54) with the observed weights;
    shape (fixed, fixed), zero for padding columns.
    """
    if rows.num_fixed == 0:
        return jnp.zeros((0, 0), rows.dtype)
    factor = choose(rows)
    lam = relative_factors(rows, params.theta)
    eta = linear_predictor(rows, params.beta, random_effects(lam, u))
    W = score_and_weights(rows, eta, params.phi)[1]
    factored = factor.factorise(factor.assemble(rows, lam, W))

    def information(j: Array) -> Array:
        """Column j of the Schur complement: weigh the residual of X_j after its random part."""
        x = fixed_column(rows, j)
        weighed = weigh(W, x)
        pulled = transpose_lambda(lam, transpose_random(rows, weighed))
        explained = random_part(rows, random_effects(lam, factor.solve(factored, pulled)))
        return transpose_fixed(rows, weigh(W, minus(x, explained)))

    matrix = jax.lax.map(information, jnp.arange(rows.num_fixed))
    matrix = matrix + jnp.diag(jnp.where(rows.free, 0.0, 1.0).astype(rows.dtype))
    inverse = jnp.linalg.inv(0.5 * (matrix + matrix.T))
    return jnp.where(rows.free[:, None] & rows.free[None, :], inverse, 0.0)
