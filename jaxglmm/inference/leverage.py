"""Hat values: how much a response draws its own fitted value.

With H the penalised Hessian in the random effects and the coefficients of the mean together, and
z_a the row of [Z Lambda, X] that feeds linear predictor a,

    d mu_i / d y_i = sum_ab (d mu / d eta_a) h_ab (d^2 log p / d eta_b d y)

with h_ab = z_a' H^-1 z_b, covariance parameters and those of the law being known: the diagonal of
the hat matrix of the penalised least squares problem (Bates et al. 2015, J. Stat. Softw. 67(1),
section 3), as lme4's hatvalues; for laws that are no exponential family the same derivative.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import add
from jaxglmm.factor import choose
from jaxglmm.likelihood import score, score_and_weights
from jaxglmm.marginal.inside import inward
from jaxglmm.params import Params
from jaxglmm.predictor import (
    Effects,
    Predictors,
    linear_predictor,
    random_effects,
    relative_factors,
)
from jaxglmm.rows import Rows


def hat_values(rows: Rows, params: Params, u: Effects) -> Array:
    """d mu_i / d y_i of the conditional fit, (slot, chunk); y and mu are proportions where the law
    has trials."""
    rows = dataclasses.replace(rows, method="reml")  # fixed effects among the inner variables
    params, u = inward(rows, params, u)
    factor, lam = choose(rows), relative_factors(rows, params.theta)
    eta = linear_predictor(rows, params.beta, random_effects(lam, u))
    eta = tuple(jnp.broadcast_to(e, rows.y.shape) for e in eta)
    W = score_and_weights(rows, eta, params.phi)[1]
    factored = factor.factorise(factor.assemble(rows, lam, W))
    h = factor.leverages(rows, factor.spread(factor.measure(factored).inverse, lam))
    of_y, of_mean = _by_response(rows, eta, params.phi), _mean_slopes(rows, eta, params.phi)
    axes = range(len(eta))
    value = add(of_mean[a] * h[a][b] * of_y[b] for a in axes for b in axes)
    return value * rows.weight if rows.family.weight_role == "trials" else value


def _by_response(rows: Rows, eta: Predictors, phi: Array) -> Predictors:
    """d^2 log p / d eta_b d y."""

    def slopes(y: Array) -> Predictors:
        return score(dataclasses.replace(rows, y=y), eta, phi)

    return jax.jvp(slopes, (rows.y,), (jnp.ones_like(rows.y),))[1]


def _mean_slopes(rows: Rows, eta: Predictors, phi: Array) -> Predictors:
    """d mu / d eta_a."""

    def mean(eta: Predictors) -> Array:
        several = rows.family.num_predictors > 1
        return rows.family.response_mean(eta if several else eta[0], phi)

    def along(a: int) -> Array:
        tangents = tuple(jnp.full_like(e, float(a == k)) for k, e in enumerate(eta))
        return jax.jvp(mean, (eta,), (tangents,))[1]

    return tuple(along(a) for a in range(len(eta)))
