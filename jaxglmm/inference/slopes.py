"""How Cov(beta) given the variance parameters moves with them.

With V = W^-1 + Z Sigma Z' and Phi = (X'V^-1 X)^-1,

    dPhi = Phi X'V^-1 dV V^-1 X Phi,

where X'V^-1 dV V^-1 X is B' dSigma B with B = Z'V^-1 X for theta, and -R' dW R with R = W^-1 V^-1 X
for phi: the factorisation of V itself is not differentiated.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.inference.vcov import after_random_effects, inverse_information
from jaxglmm.likelihood import score_and_weights
from jaxglmm.mode import predictor_at
from jaxglmm.params import Params
from jaxglmm.predictor import (
    Effects,
    Predictors,
    factors_of_groups,
    transpose_fixed,
    transpose_random,
    weigh,
)
from jaxglmm.rows import Rows


def conditional_with_slopes(rows: Rows, params: Params, u: Effects) -> tuple[Array, Array]:
    """`vcov.conditional` and its derivatives in (theta, phi), shape (param, fixed, fixed).

    Those of the working linear model at the mode: eta, of which the weights are functions, stays
    where it is. For the normal law with identity link they are exact.
    """
    p, eta = rows.num_fixed, predictor_at(rows, params, u)
    if p == 0:
        size = rows.num_theta + params.phi.shape[0]
        return jnp.zeros((0, 0), rows.dtype), jnp.zeros((size, 0, 0), rows.dtype)
    W = score_and_weights(rows, eta, params.phi)[1]
    residual = after_random_effects(rows, params.theta, W)

    def column(j: Array) -> tuple[Array, Predictors, Effects]:
        R = residual(j)
        weighed = weigh(W, R)
        return transpose_fixed(rows, weighed), R, transpose_random(rows, weighed)

    information, R, B = jax.lax.map(column, jnp.arange(p))
    Phi = inverse_information(rows, information)
    pairs = tuple(jnp.einsum("pcl,qdl->pqcd", own, own) for own in B)

    def of_random(theta: Array) -> Array:
        """B' Sigma B."""
        terms = zip(pairs, factors_of_groups(rows, theta), strict=True)
        return sum(
            (jnp.einsum("pqcd,cd->pq", G, L @ L.T) for G, L in terms), jnp.zeros((p, p), rows.dtype)
        )

    def of_weights(phi: Array) -> Array:
        """R' W R."""
        weights = score_and_weights(rows, eta, phi)[1]
        return jax.lax.map(lambda r: _products(R, weigh(weights, r)), R)

    by_theta = jax.jacfwd(of_random)(params.theta)
    by_phi = -jax.jacfwd(of_weights)(params.phi)
    middle = jnp.moveaxis(jnp.concatenate([by_theta, by_phi], axis=-1), -1, 0)
    return Phi, Phi @ middle @ Phi


def _products(R: Predictors, values: Predictors) -> Array:
    """R' values over all rows and predictors; (fixed,)."""
    return sum(
        (jnp.tensordot(r, v, axes=((1, 2), (0, 1))) for r, v in zip(R, values, strict=True)),
        jnp.zeros((), R[0].dtype),
    )
