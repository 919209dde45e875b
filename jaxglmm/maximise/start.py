"""Where the optimiser starts: least squares, moments of residuals, moments of scores."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm import curvature
from jaxglmm.likelihood import log_kernel, score, score_and_weights
from jaxglmm.params import Params
from jaxglmm.predictor import Predictors, fixed_part, reduce
from jaxglmm.rows import Rows


_MAX_NEWTON = 6


class Start(NamedTuple):
    """Starting values and what later judgements are relative to."""

    params: Params
    information: Array  # X' W X at the responses' own means, (fixed, fixed)


def start(rows: Rows) -> Start:
    """Parameters near the maximum, from closed forms only.

    beta: weighted least squares of the transformed responses on X (the first step of Fisher
    scoring), or of the transformed mean response where that leaves the law's domain, then
    Newton steps of the model without random effects; phi: moments of the residuals; theta: each column's variance by the method of moments of its scores,
    E s^2 = I + tau^2 I^2 for a level with score s and information I.
    """
    family = rows.family
    mean = family.initial_mean(rows.y, rows.weight)
    total = jnp.maximum(jnp.sum(rows.multiplier), 1.0)
    constant = jnp.full_like(mean, jnp.sum(rows.multiplier * mean) / total)
    phi = family.initial_phi(rows.y, constant, rows.weight, rows.multiplier)

    def fit(mu: Array) -> tuple[Array, Array]:
        return _least_squares(rows, phi, family.link.predictor(mu))

    beta, information = fit(mean)
    inside = jnp.all(jnp.isfinite(score(rows, fixed_part(rows, beta), phi)[0]))
    beta, information = jax.lax.cond(
        inside, lambda: (beta, information), lambda: fit(constant)
    )
    beta = _fit_fixed(rows, beta, phi)
    fitted = family.link.mean(fixed_part(rows, beta)[0])
    moments = family.initial_phi(rows.y, fitted, rows.weight, rows.multiplier)
    phi = jnp.where(jnp.isfinite(moments), moments, phi)
    theta = _theta(rows, *_derivatives(rows, beta, phi))
    return Start(Params(beta=beta, theta=theta, phi=phi), information)


def _sizes(w: Array) -> Array:
    return jnp.where(jnp.isfinite(w), jnp.abs(w), 0.0)


def _derivatives(rows: Rows, beta: Array, phi: Array) -> tuple[Predictors, Predictors]:
    """Score and the size of the diagonal weights of every predictor at u = 0."""
    s, W = score_and_weights(rows, fixed_part(rows, beta), phi)
    finite = tuple(jnp.where(jnp.isfinite(v), v, 0.0) for v in s)
    return finite, tuple(_sizes(W[a][a]) for a in range(len(s)))


def _information(rows: Rows, weights: Predictors) -> Array:
    """X' W X over all predictors, with 1 on the diagonal of padding columns."""
    X = rows.X.reshape(rows.num_fixed, -1)
    gram = jnp.zeros((rows.num_fixed, rows.num_fixed), rows.dtype)
    for a, w in enumerate(weights):
        mine = jnp.asarray([predictor == a for predictor in rows.predictors])
        gram = gram + jnp.where(mine[:, None] & mine[None, :], (X * w.ravel()) @ X.T, 0.0)
    return gram + jnp.diag(jnp.where(rows.free, 0.0, 1.0).astype(rows.dtype))


def _least_squares(rows: Rows, phi: Array, eta: Array) -> tuple[Array, Array]:
    """Coefficients whose first predictor is closest to `eta` in the metric of its information.

    Further predictors start at zero. Returns the coefficients and the information.
    """
    others = tuple(jnp.zeros_like(eta) for _ in range(rows.family.num_predictors - 1))
    _, W = score_and_weights(rows, (eta, *others), phi)
    weights = tuple(_sizes(W[a][a]) for a in range(len(W)))
    information = _information(rows, weights)
    first = jnp.asarray([a == 0 for a in rows.predictors])
    pulled = jnp.where(weights[0] > 0, weights[0] * (eta - rows.offset), 0.0)
    X = rows.X.reshape(rows.num_fixed, -1)
    right = jnp.where(first, X @ pulled.ravel(), 0.0)
    return curvature.solve(information, right), information


def _fit_fixed(rows: Rows, beta: Array, phi: Array) -> Array:
    """Newton steps of the model without random effects while each gains more than one unit."""
    X = rows.X.reshape(rows.num_fixed, -1)

    def value(beta: Array) -> Array:
        return jnp.sum(log_kernel(rows, fixed_part(rows, beta), phi))

    def body(state: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
        beta, old, _, count = state
        s, weights = _derivatives(rows, beta, phi)
        pulled = jnp.zeros_like(beta)
        for a, v in enumerate(s):
            mine = jnp.asarray([predictor == a for predictor in rows.predictors])
            pulled = pulled + jnp.where(mine, X @ v.ravel(), 0.0)
        moved = beta + curvature.solve(_information(rows, weights), pulled)
        new = value(moved)
        better = new > old
        return jnp.where(better, moved, beta), jnp.where(better, new, old), new - old, count + 1

    def unfinished(state: tuple[Array, Array, Array, Array]) -> Array:
        return (state[2] > 1.0) & (state[3] < _MAX_NEWTON)

    first = (beta, value(beta), jnp.asarray(jnp.inf, rows.dtype), jnp.asarray(0))
    return jax.lax.while_loop(unfinished, body, first)[0]


def _theta(rows: Rows, s: Predictors, weights: Predictors) -> Array:
    """theta of uncorrelated random effects with moment estimates of their variances."""
    parts = []
    for k, grouping in enumerate(rows.groupings):
        sds = [
            _moment_sd(rows, k, rows.Z[k][column], s[a], weights[a])
            for column, a in enumerate(grouping.predictors)
        ]
        first = 0
        for term in grouping.terms:
            last = first + term.covariance.dim
            parts.append(term.covariance.start(jnp.stack(sds[first:last])))
            first = last
    return jnp.concatenate(parts) if parts else jnp.zeros((0,), rows.dtype)


def _moment_sd(rows: Rows, k: int, z: Array, s: Array, w: Array) -> Array:
    """sqrt(sum(s_l^2 - I_l) / sum(I_l^2)), at least 0.2 of a level's and at most 5 of a row's error."""
    scores, information = reduce(rows, k, z * s), reduce(rows, k, z * z * w)
    tiny = jnp.finfo(rows.dtype).tiny
    square = jnp.maximum(jnp.sum(information * information), tiny)
    variance = jnp.sum(scores * scores - information) / square
    levels = jnp.maximum(jnp.sum(information > 0), 1)
    unit = 1.0 / jnp.sqrt(jnp.maximum(jnp.sum(information) / levels, tiny))
    row_unit = 1.0 / jnp.sqrt(jnp.maximum(jnp.sum(z * z * w) / jnp.sum(rows.multiplier > 0), tiny))
    return jnp.clip(jnp.sqrt(jnp.maximum(variance, 0.0)), 0.2 * unit, 5.0 * row_unit)


