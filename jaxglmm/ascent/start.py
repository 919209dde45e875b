"""Where the optimiser starts: least squares, moments of residuals, moments of scores."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm import curvature
from jaxglmm.likelihood import log_kernel, score_and_weights
from jaxglmm.params import Params
from jaxglmm.predictor import (
    Predictors,
    by_column,
    fixed_column,
    fixed_part,
    reduce,
    sum_columns,
    total,
    transpose_fixed,
)
from jaxglmm.rows import Rows

_MAX_NEWTON = 6
_MAX_VARIANCE = 2.0  # beyond it the expansion of the mean in the random effects is no guide


class Start(NamedTuple):
    """Starting values and what later judgements are relative to."""

    params: Params
    information: Array  # X' W X at the responses' own means, (fixed, fixed)
    phi: Array  # of the model with a constant mean


def start(rows: Rows) -> Start:
    """Parameters near the maximum, from closed forms only.

    beta: Newton steps of the model without random effects from the transformed responses (from
    the transformed mean response where that leaves the law's domain); phi: moments of the
    residuals; theta: each column's variance by the method of moments of its scores,
    E s^2 = I + tau^2 I^2 for a level with score s and information I; then both move
    from the marginal to the conditional mean (`_conditional`). A dispersion that is known is
    taken for unknown here: beside none at all, random effects of any size would look large.
    """
    own = rows.family.num_phi
    rows = dataclasses.replace(rows, family=rows.family.free())
    family = rows.family
    mean = family.initial_mean(rows.y, rows.weight)
    count = jnp.maximum(total(rows, rows.multiplier), 1.0)
    constant = jnp.reshape(total(rows, rows.multiplier * mean) / count, (1, 1))
    phi = family.initial_phi(rows.y, constant, rows.weight, rows.multiplier)
    fit = _fit_fixed(rows, phi, mean, constant)
    fitted = family.link.mean(fixed_part(rows, fit.beta)[0])
    moments = family.initial_phi(rows.y, fitted, rows.weight, rows.multiplier)
    plain, phi = phi, jnp.where(jnp.isfinite(moments), moments, phi)
    s, weights = _derivatives(rows, fixed_part(rows, fit.beta), phi)
    sds = _moment_sds(rows, s, weights)
    beta, sds = _conditional(rows, fit, sds, weights)
    params = Params(beta=beta, theta=_theta(rows, sds, s, weights), phi=phi[:own])
    return Start(params, fit.reference, plain[:own])


def _derivatives(rows: Rows, eta: Predictors, phi: Array) -> tuple[Predictors, Predictors]:
    """Score and the size of the diagonal weights of every predictor, zero where not finite."""

    def finite(v: Array) -> Array:
        return jnp.where(jnp.isfinite(v), v, 0.0)

    s, W = score_and_weights(rows, eta, phi)
    return tuple(map(finite, s)), tuple(jnp.abs(finite(W[a][a])) for a in range(len(s)))


def _information(rows: Rows, weights: Predictors) -> Array:
    """X' W X over all predictors, with 1 on the diagonal of padding columns."""

    def column(k: Array) -> Array:
        pairs = zip(weights, fixed_column(rows, k), strict=True)
        return transpose_fixed(rows, tuple(w * x for w, x in pairs))

    gram = jax.lax.map(column, jnp.arange(rows.num_fixed)).reshape((rows.num_fixed,) * 2)
    return gram + jnp.diag(jnp.where(rows.free, 0.0, 1.0).astype(rows.dtype))


class _Fit(NamedTuple):
    """The model without random effects."""

    beta: Array
    eta: Predictors  # where the next step starts
    value: Array
    gain: Array
    information: Array  # where the last step started
    reference: Array  # where the first one did
    count: Array


def _fit_fixed(rows: Rows, phi: Array, mean: Array, constant: Array) -> _Fit:
    """Newton steps of the model without random effects while they gain 0.1 % of a unit a row.

    The first starts from a predictor of its own for every row, the transformed response.
    """
    link = rows.family.link
    others = tuple(jnp.zeros_like(mean) for _ in range(rows.family.num_predictors - 1))
    back = (link.predictor(constant), *others)
    enough = 1.0 + 1e-3 * rows.y.size
    infinite = jnp.asarray(jnp.inf, rows.dtype)
    none = jnp.zeros((rows.num_fixed,) * 2, rows.dtype)
    first = _Fit(
        beta=jnp.zeros((rows.num_fixed,), rows.dtype),
        eta=(link.predictor(mean), *others),
        value=-infinite,
        gain=infinite,
        information=none,
        reference=none,
        count=jnp.asarray(0),
    )
    return jax.lax.while_loop(
        lambda fit: (fit.gain > enough) & (fit.count < _MAX_NEWTON),
        lambda fit: _newton(rows, phi, back, fit),
        first,
    )


def _newton(rows: Rows, phi: Array, back: Predictors, fit: _Fit) -> _Fit:
    """A Newton step from `fit.eta`; `back` is where to begin again if the first one fails."""
    s, weights = _derivatives(rows, fit.eta, phi)
    offset = (rows.offset, *(jnp.zeros((1, 1), rows.dtype) for _ in s[1:]))
    working = tuple(
        jnp.where(w > 0, w * (e - o) + d, 0.0)
        for w, e, o, d in zip(weights, fit.eta, offset, s, strict=True)
    )
    information = _information(rows, weights)
    beta = curvature.solve(information, transpose_fixed(rows, working))
    eta = fixed_part(rows, beta)
    value = total(rows, log_kernel(rows, eta, phi))
    better = value > fit.value
    # Out of the law's domain at once: begin again from the mean response.
    again = (fit.count == 0) & ~better
    return _Fit(
        beta=jnp.where(better, beta, fit.beta),
        eta=tuple(jnp.where(again, b, e) for b, e in zip(back, eta, strict=True)),
        value=jnp.where(better, value, fit.value),
        gain=jnp.where(again, jnp.inf, value - fit.value),
        information=information,
        reference=jnp.where((fit.count == 0) | again, information, fit.reference),
        count=fit.count + 1,
    )


def _conditional(
    rows: Rows, fit: _Fit, sds: tuple[Array, ...], weights: Predictors
) -> tuple[Array, tuple[Array, ...]]:
    """beta and standard deviations given u = 0, from those of the marginal mean.

    E m(eta + e) = m(eta) + m''(eta) v / 2 for random effects e of variance v, so that a marginal
    predictor exceeds the conditional one by v m'' / (2 m'). The log link has bend m'' / m' = 1,
    this excess exactly, and marginal means whose relative variance, which the moments estimate,
    is exp(v) - 1; the inverse is used for every link with its mean square bend.
    """
    eta, w = fixed_part(rows, fit.beta)[0], weights[0]
    link, one = rows.family.link, jnp.ones_like(eta)
    slope, second = jax.jvp(lambda e: jax.jvp(link.mean, (e,), (one,))[1], (eta,), (one,))
    bend = jnp.where(jnp.isfinite(second / slope), second / slope, 0.0)
    square = total(rows, w * bend * bend) / jnp.maximum(total(rows, w), 1e-30) + 1e-6
    sds = tuple(jnp.sqrt(jnp.log1p(square * sd * sd) / square) for sd in sds)
    variance = jnp.zeros((1, 1), rows.dtype)
    for k, values in enumerate(sds):
        variance = sum_columns(rows, k, 0, variance, lambda z, sd: (z * sd) ** 2, values)
    excess = 0.5 * jnp.minimum(variance, _MAX_VARIANCE) * bend
    others = tuple(jnp.zeros((1, 1), rows.dtype) for _ in weights[1:])
    pulled = transpose_fixed(rows, (w * excess, *others))
    return fit.beta - curvature.solve(fit.information, pulled), sds


def _moment_sds(rows: Rows, s: Predictors, weights: Predictors) -> tuple[Array, ...]:
    """Moment estimates of the standard deviation of every column, by grouping factor."""
    return tuple(
        by_column(rows, k, lambda z, a, k=k: _moment_sd(rows, k, z, s[a], weights[a]))
        for k in range(len(rows.groupings))
    )


def _theta(rows: Rows, sds: tuple[Array, ...], s: Predictors, weights: Predictors) -> Array:
    """What each term's structure makes of the standard deviations of its columns."""
    parts = []
    for k, (grouping, constants) in enumerate(zip(rows.groupings, rows.constants, strict=True)):
        first = 0
        for term, own in zip(grouping.terms, constants, strict=True):
            last = first + term.covariance.dim
            if term.covariance.starts_from_correlations:
                R = _moment_correlations(rows, k, range(first, last), s, weights)
                part = term.covariance.start_correlated(sds[k][first:last], R, own)
            else:
                part = term.covariance.start(sds[k][first:last], own)
            parts.append(part)
            first = last
    return jnp.concatenate(parts) if parts else jnp.zeros((0,), rows.dtype)


def _moment_correlations(
    rows: Rows, k: int, columns: range, s: Predictors, weights: Predictors
) -> Array:
    """Correlations of columns that no row has two of, as those of a factor; (column, column).

    For these E s_i s_j = I_i I_j cov_ij, with the scores and informations of a level.
    """
    predictors = rows.groupings[k].predictors
    S = jnp.stack([reduce(rows, k, rows.Z[k][i] * s[predictors[i]]) for i in columns])
    info = jnp.stack([reduce(rows, k, rows.Z[k][i] ** 2 * weights[predictors[i]]) for i in columns])
    sd = jnp.stack(
        [
            _moment_sd(rows, k, rows.Z[k][i], s[predictors[i]], weights[predictors[i]])
            for i in columns
        ]
    )
    covariance = S @ S.T / jnp.maximum(info @ info.T, jnp.finfo(rows.dtype).tiny)
    correlations = jnp.clip(covariance / jnp.outer(sd, sd), -1.0, 1.0)
    return jnp.where(jnp.eye(len(columns), dtype=bool), 1.0, correlations)


def _moment_sd(rows: Rows, k: int, z: Array, s: Array, w: Array) -> Array:
    """sqrt(sum(s_l^2 - I_l) / sum(I_l^2)), between 0.2 of a level's and 5 of a row's error."""
    scores, information = reduce(rows, k, z * s), reduce(rows, k, z * z * w)
    tiny = jnp.finfo(rows.dtype).tiny
    square = jnp.maximum(jnp.sum(information * information), tiny)
    variance = jnp.sum(scores * scores - information) / square
    levels = jnp.maximum(jnp.sum(information > 0), 1)
    unit = 1.0 / jnp.sqrt(jnp.maximum(jnp.sum(information) / levels, tiny))
    row_unit = 1.0 / jnp.sqrt(
        jnp.maximum(
            total(rows, z * z * w) / total(rows, (rows.multiplier > 0).astype(rows.dtype)), tiny
        )
    )
    return jnp.clip(jnp.sqrt(jnp.maximum(variance, 0.0)), 0.2 * unit, 5.0 * row_unit)
