"""The covariance of H (beta^ - beta) + K (b^ - b): fixed and random effects together.

Henderson's mixed model equations in spherical u, b = Lambda u, with all variance parameters known
(Henderson 1975, Biometrics 31:423-447; for other laws at the mode, Booth & Hobert 1998, J. Amer.
Statist. Assoc. 93:262-272, whose CMSEP this is). The inverse of

    [[X'WX, X'WZL], [L'Z'WX, H_u]],   H_u = L'Z'WZL + I,

gives with t = H_u^-1 L'k for a row k of K

    Cov = (h - X'WZL t) Phi (h - X'WZL t)' + k'L t,       Phi = Cov(beta).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.factor import choose
from jaxglmm.likelihood import score_and_weights
from jaxglmm.mode import predictor_at
from jaxglmm.params import Params
from jaxglmm.predictor import (
    Effects,
    random_effects,
    random_part,
    relative_factors,
    transpose_fixed,
    transpose_lambda,
    weigh,
)
from jaxglmm.rows import Rows


def of_random_effects(rows: Rows, params: Params, u: Effects, K: Effects) -> tuple[Array, Array]:
    """X'WZL t and k'L t of every row of K.

    Args:
        K: coefficients of b, (row, column, level) for each grouping factor.

    Returns:
        Shapes (row, fixed) and (row, row).
    """
    factor, lam = choose(rows), relative_factors(rows, params.theta)
    W = score_and_weights(rows, predictor_at(rows, params, u), params.phi)[1]
    factored = factor.factorise(factor.assemble(rows, lam, W))

    def solved(k: Effects) -> tuple[Array, Effects]:
        t = factor.solve(factored, transpose_lambda(lam, k))
        b = random_effects(lam, t)
        return transpose_fixed(rows, weigh(W, random_part(rows, b))), b

    shares, b = jax.lax.map(solved, K)
    parts = [jnp.einsum("rcl,scl->rs", k, v) for k, v in zip(K, b, strict=True)]
    return shares, sum(parts, jnp.zeros((shares.shape[0],) * 2, rows.dtype))
