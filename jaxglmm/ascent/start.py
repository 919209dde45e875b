"""Where the optimiser starts: least squares, moments of residuals, moments of scores."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm import curvature
from jaxglmm.ascent.fixed import (
    FixedFit,
    constant_others,
    derivatives,
    fit_fixed,
    information_of,
)
from jaxglmm.ascent.moments import joint_moments, limits, row_error
from jaxglmm.ascent.sparse import disperses
from jaxglmm.mode import predictor_at
from jaxglmm.params import Params
from jaxglmm.predictor import (
    Effects,
    Predictors,
    by_column,
    fixed_change,
    fixed_part,
    reduce,
    sum_columns,
    total,
    transpose_fixed,
)
from jaxglmm.rows import Rows

TO_A_UNIT, TO_THE_LIMIT = 1, 2
"""How far random effects are raised."""

_MAX_VARIANCE = 2.0  # beyond it the expansion of the mean in the random effects is no guide
_LEAST_SHARE = 1 / 3  # of a marginal variance to the conditional one
_SPREAD = 0.75  # of the variance of transformed counts is not that of their law, in the mean row
_REWEIGHTED = 3  # times, which settles a variance that is large beside the law's
_RAISED = 3.0  # errors of a row are large for random effects,
_NEXT_TO_NONE = 1e-3  # and so much of the spread leaves a dispersion little
_LEAST_OWN = 0.05  # of the spread about the fixed effects is that of the rows themselves


class Start(NamedTuple):
    """Starting values and what later judgements are relative to."""

    params: Params
    information: Array  # X' W X at the responses' own means, (fixed, fixed)
    phi: Array  # of the model with a constant mean


def start(rows: Rows, raised: Array | None = None) -> Start:
    """Parameters near the maximum, from closed forms only.

    beta: Newton steps of the model without random effects from the transformed responses (from
    the transformed mean response where that leaves the law's domain); phi: moments of the
    residuals; theta: each column's variance by the method of moments of its scores,
    E s^2 = I + tau^2 I^2 for a level with score s and information I, or with several factors
    the variances of all together and the rows' own (`joint_moments`); then both move
    from the marginal to the conditional mean (`_conditional`). A dispersion that is known is
    taken for unknown here: beside none at all, random effects of any size would look large.

    raised: 0, or how far random effects are raised to look for another maximum: `TO_A_UNIT` of the
    linear predictor, or `TO_THE_LIMIT`, as large as they may be; None for never.
    """
    own = rows.family.num_phi
    rows = dataclasses.replace(rows, family=rows.family.free())
    family = rows.family
    mean = family.initial_mean(rows.y, rows.weight)
    count = jnp.maximum(total(rows, rows.multiplier), 1.0)
    constant = jnp.reshape(total(rows, rows.multiplier * mean) / count, (1, 1))
    phi = family.initial_phi(rows.y, constant, rows.weight, rows.multiplier)
    fit = fit_fixed(rows, phi, mean, constant)
    fitted = family.link.mean(fixed_part(rows, fit.beta)[0])
    moments = family.initial_phi(rows.y, fitted, rows.weight, rows.multiplier)
    plain, phi = phi, jnp.where(jnp.isfinite(moments), moments, phi)
    s, weights = derivatives(rows, fixed_part(rows, fit.beta), phi)
    if len(rows.groupings) > 1:
        weights = (_expected(rows, fit.beta, fitted, phi), *weights[1:])
        sds, residual = joint_moments(rows, s, weights)
        phi = _own_phi(rows, fitted, residual, phi)
    else:
        sds = _moment_sds(rows, s, weights)
    if "disp" in family.components:
        fit = _own_dispersion(rows, fit, fitted, sds, weights)
    beta, sds = _conditional(rows, fit, sds, weights)
    if _counts_alone(rows):
        beta, sds = _spread_out(rows, mean, beta, sds)
    if raised is not None:
        sds, phi = _raised(rows, fitted, weights, sds, phi, raised)
    phi = _beside_held(rows, phi[:own])
    params = Params(beta=beta, theta=_theta(rows, sds, s, weights), phi=phi)
    return Start(params, fit.reference, plain[:own])


def _own_phi(rows: Rows, fitted: Array, share: Array | float, phi: Array) -> Array:
    """Moments of the rows' own share of the residuals' variance, the rest being that of the random
    effects; phi where they are not finite."""
    own_y = fitted + jnp.sqrt(share) * (rows.y - fitted)
    if rows.family.support == "unit_closed":  # responses at its ends are counted, not measured
        own_y = jnp.where((rows.y == 0.0) | (rows.y == 1.0), rows.y, own_y)
    moments = rows.family.initial_phi(own_y, fitted, rows.weight, rows.multiplier)
    return jnp.where(jnp.isfinite(moments), moments, phi)


def _raised(
    rows: Rows,
    fitted: Array,
    weights: Predictors,
    sds: tuple[Array, ...],
    phi: Array,
    raised: Array,
) -> tuple[tuple[Array, ...], Array]:
    """Standard deviations of a unit at least; or of `_RAISED` errors of a row of weight one, and
    next to none of the spread left to the dispersion."""
    far = raised == TO_THE_LIMIT
    there = (rows.multiplier > 0).astype(rows.dtype)
    of_one = total(rows, there) / jnp.maximum(total(rows, rows.multiplier), 1e-30)

    def least(k: int, z: Array, a: int) -> Array:
        error = row_error(rows, of_one * reduce(rows, k, z * z * weights[a]))
        return jnp.where(far, _RAISED * error, row_error(rows, reduce(rows, k, there * z * z)))

    factors = range(len(rows.groupings))
    large = [by_column(rows, k, functools.partial(least, k)) for k in factors]
    larger = (jnp.where(raised > 0, jnp.maximum(a, b), a) for a, b in zip(sds, large, strict=True))
    if disperses(rows.family):
        phi = jnp.where(far, _own_phi(rows, fitted, _NEXT_TO_NONE, phi), phi)
    return tuple(larger), phi


def _beside_held(rows: Rows, phi: Array) -> Array:
    """phi where the law is defined beside the entries that are held, which replace these later."""
    if rows.restriction is None:
        return phi
    held, values = (of[rows.num_theta :] for of in (rows.restriction.held, rows.restriction.values))
    return jnp.where(held, phi, rows.family.beside(held, jnp.where(held, values, phi)))


def _counts_alone(rows: Rows) -> bool:
    """A law of counts whose variance nothing but one factor's random effects adds to."""
    counts = rows.family.support in ("count", "positive_count")
    plain = rows.family.num_phi == 0 and rows.family.num_predictors == 1
    return counts and plain and len(rows.groupings) == 1


def _spread_out(
    rows: Rows, mean: Array, beta: Array, sds: tuple[Array, ...]
) -> tuple[Array, tuple[Array, ...]]:
    """beta and standard deviations where counts differ by far more than their law's error.

    A fit of their means then follows the few largest, however unlike the others these are, and
    finds next to no random effects. The transformed responses r have the errors 1 / W of the law,
    which hardly count beside the variance v of everything else: a linear model with the weights
    1 / (1 / W + v), whose variances have the same moments. Its coefficients are those given the
    random effects. Where it finds less of these than the means do, the counts differ within the
    levels (overdispersion), and the means are the better guide.
    """
    far = rows.family.link.predictor(mean)
    (s,), (weight,) = derivatives(rows, (far,), jnp.zeros((0,), rows.dtype))
    known = (weight > 0) & (rows.multiplier > 0)
    error = 1.0 / jnp.where(known, weight, 1.0)
    r = jnp.where(known, far + s * error - rows.offset, 0.0)
    count = jnp.maximum(total(rows, known.astype(rows.dtype)), 1.0)

    def weighted(variance: Array) -> Array:
        return jnp.where(known, 1.0 / (error + variance), 0.0)

    def fit(_: Any, state: tuple[Array, Array]) -> tuple[Array, Array]:
        w = weighted(state[1])
        own = curvature.solve(information_of(rows, (w,)), transpose_fixed(rows, (w * r,)))
        left = r - fixed_change(rows, own)[0]
        return own, total(rows, jnp.where(known, left * left, 0.0)) / count

    none, one = jnp.zeros((rows.num_fixed,), rows.dtype), jnp.ones((), rows.dtype)
    own, variance = jax.lax.fori_loop(0, _REWEIGHTED, fit, (none, one))
    w = weighted(variance)
    found = _moment_sds(rows, (w * (r - fixed_change(rows, own)[0]),), (w,))
    spread = total(rows, jnp.where(known, variance / (variance + error), 0.0)) > _SPREAD * count
    better = spread & (_size(found) > _size(sds))
    pairs = zip(found, sds, strict=True)
    return jnp.where(better, own, beta), tuple(jnp.where(better, a, b) for a, b in pairs)


def _size(sds: tuple[Array, ...]) -> Array:
    """The sum of all variances."""
    return jnp.sum(jnp.concatenate(sds) ** 2)


def _expected(rows: Rows, beta: Array, fitted: Array, phi: Array) -> Array:
    """The first predictor's weights at responses that equal their means.

    Observed ones of a law like the gamma's grow with the response, and with them would the
    information of the levels that have large scores.
    """
    y = fitted * rows.weight if rows.family.weight_role == "trials" else fitted
    rows = dataclasses.replace(rows, y=jnp.broadcast_to(y, rows.y.shape))
    return derivatives(rows, fixed_part(rows, beta), phi)[1][0]


def information(rows: Rows, params: Params, u: Effects) -> Array:
    """X' W X at these means of the responses; comparable with that of `Start`."""
    return information_of(rows, derivatives(rows, predictor_at(rows, params, u), params.phi)[1])


def _own_dispersion(
    rows: Rows, fit: FixedFit, fitted: Array, sds: tuple[Array, ...], weights: Predictors
) -> FixedFit:
    """The fit with a dispersion that no longer holds what the random effects make of the spread.

    Of the residuals' variance, which is that of the scores in units of the information, the random
    effects take sum w v / n; the rest is that of the rows themselves.
    """
    count = jnp.maximum(total(rows, rows.multiplier), 1.0)
    spread = total(rows, weights[0] * _variance(rows, sds)) / count
    share = jnp.clip(1.0 - spread, _LEAST_OWN, 1.0)
    own_y = jnp.where(rows.y == 0, rows.y, fitted + jnp.sqrt(share) * (rows.y - fitted))
    pairs = zip(
        constant_others(rows, fitted, own_y),
        constant_others(rows, fitted, rows.y),
        weights[1:],
        strict=True,
    )
    pulls = (w * (own - all_) for own, all_, w in pairs)
    pull = transpose_fixed(rows, (jnp.zeros((1, 1), rows.dtype), *pulls))
    return fit._replace(beta=fit.beta + curvature.solve(fit.information, pull))


def _conditional(
    rows: Rows, fit: FixedFit, sds: tuple[Array, ...], weights: Predictors
) -> tuple[Array, tuple[Array, ...]]:
    """beta and standard deviations given u = 0, from those of the marginal mean.

    E m(eta + e) = m(eta) + m''(eta) v / 2 for random effects e of variance v, so that a marginal
    predictor exceeds the conditional one by v m'' / (2 m'). The log link has bend m'' / m' = 1,
    this excess exactly, and marginal means whose relative variance, which the moments estimate,
    is exp(v) - 1; the inverse is used for every link with its mean square bend. Where the bend
    falls along eta, by `fade` in the mean, marginal slopes are less steep than conditional ones:
    marginal variances are v / (1 + fade v), as for the probit link, which has fade 1.
    """
    eta, w = fixed_part(rows, fit.beta)[0], weights[0]
    bend, change = jax.jvp(lambda e: _bend(rows, e), (eta,), (jnp.ones_like(eta),))
    count = jnp.maximum(total(rows, w), 1e-30)
    square = total(rows, w * bend * bend) / count + 1e-6
    sds = tuple(jnp.sqrt(jnp.log1p(square * sd * sd) / square) for sd in sds)
    variance = _variance(rows, sds)
    fade = jnp.maximum(-total(rows, w * jnp.where(jnp.isfinite(change), change, 0.0)) / count, 0.0)
    larger = 1.0 / jnp.maximum(1.0 - fade * total(rows, w * variance) / count, _LEAST_SHARE)
    excess = 0.5 * jnp.minimum(larger * variance, _MAX_VARIANCE) * bend
    others = tuple(jnp.zeros((1, 1), rows.dtype) for _ in weights[1:])
    pulled = transpose_fixed(rows, (w * excess, *others))
    sds = tuple(jnp.sqrt(larger) * sd for sd in sds)
    return fit.beta - curvature.solve(fit.information, pulled), sds


def _variance(rows: Rows, sds: tuple[Array, ...]) -> Array:
    """Of what the random effects add to the first linear predictor of each row."""
    variance = jnp.zeros((1, 1), rows.dtype)
    for k, values in enumerate(sds):
        variance = sum_columns(rows, k, 0, variance, lambda z, sd: (z * sd) ** 2, values)
    return variance


def _bend(rows: Rows, eta: Array) -> Array:
    """m'' / m' of the mean."""
    link, one = rows.family.link, jnp.ones_like(eta)
    slope, second = jax.jvp(lambda e: jax.jvp(link.mean, (e,), (one,))[1], (eta,), (one,))
    return jnp.where(jnp.isfinite(second / slope), second / slope, 0.0)


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
    return jnp.clip(jnp.sqrt(jnp.maximum(variance, 0.0)), *limits(rows, information))
