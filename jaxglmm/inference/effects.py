"""Random effects: conditional modes and their standard errors."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.factor import choose
from jaxglmm.marginal import laplace
from jaxglmm.params import Params, flatten, unflatten
from jaxglmm.predictor import Effects, random_effects, relative_factors
from jaxglmm.rows import Rows


def modes(rows: Rows, params: Params, u: Effects) -> Effects:
    """b = Lambda u: (column, level) for each grouping factor, on the scale of eta."""
    return random_effects(relative_factors(rows, params.theta), u)


def conditional_covariances(rows: Rows, params: Params, u: Effects) -> Effects:
    """Cov(b | y) with all parameters known: blocks of Lambda H^-1 Lambda' (lme4's condVar).

    One (column, column, level) array for each grouping factor.
    """
    factor = choose(rows)
    factored = factor.factorise(laplace.hessian_in_u(rows, factor, params, u))
    lam = relative_factors(rows, params.theta)
    return tuple(
        jnp.einsum("ik,klm,jl->ijm", L, block, L)
        for L, block in zip(lam, factor.covariance_blocks(factored), strict=True)
    )


def mode_variances(rows: Rows, params: Params, u: Effects, covariance: Array) -> Effects:
    """Variance that the uncertainty of the parameters adds: diag(J V J'), J = db/d(parameters).

    Added to the conditional variance this is the prediction variance of Kass & Steffey (1989,
    eq. 3.1) and of TMB's sdreport. `covariance` is that of (beta, theta, phi), with NaN replaced
    by zero; returns (column, level) for each grouping factor.
    """
    factor = choose(rows)

    def along(psi: Array) -> Effects:
        moved = laplace.chord(rows, factor, psi, u)
        return modes(rows, unflatten(psi, rows), moved)

    psi = flatten(params)
    _, pushforward = jax.linearize(along, psi)
    slopes = jax.lax.map(pushforward, jnp.eye(psi.shape[0], dtype=psi.dtype))
    return tuple(jnp.einsum("kcl,km,mcl->cl", s, covariance, s) for s in slopes)
