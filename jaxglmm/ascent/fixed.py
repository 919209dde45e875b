"""The model without random effects: where the start of the one with them begins."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm import curvature
from jaxglmm.likelihood import log_kernel, score_and_weights
from jaxglmm.predictor import (
    Predictors,
    fixed_column,
    fixed_part,
    offsets,
    total,
    transpose_fixed,
)
from jaxglmm.rows import Rows

_MAX_NEWTON = 6


def derivatives(rows: Rows, eta: Predictors, phi: Array) -> tuple[Predictors, Predictors]:
    """Score and the size of the diagonal weights of every predictor, zero where not finite."""

    def finite(v: Array) -> Array:
        return jnp.where(jnp.isfinite(v), v, 0.0)

    s, W = score_and_weights(rows, eta, phi)
    return tuple(map(finite, s)), tuple(jnp.abs(finite(W[a][a])) for a in range(len(s)))


def information_of(rows: Rows, weights: Predictors) -> Array:
    """X' W X over all predictors, with 1 on the diagonal of padding columns."""

    def column(k: Array) -> Array:
        pairs = zip(weights, fixed_column(rows, k), strict=True)
        return transpose_fixed(rows, tuple(w * x for w, x in pairs))

    gram = jax.lax.map(column, jnp.arange(rows.num_fixed)).reshape((rows.num_fixed,) * 2)
    return gram + jnp.diag(jnp.where(rows.free, 0.0, 1.0).astype(rows.dtype))


class FixedFit(NamedTuple):
    """The model without random effects."""

    beta: Array
    eta: Predictors  # where the next step starts
    value: Array
    gain: Array
    information: Array  # where the last step started
    reference: Array  # where the first one did
    count: Array
    stays: Array  # whether the next step leads where it starts, as near as its columns reach
    lifted: Array  # to the constant mean, once


class Floor(NamedTuple):
    """The constant mean."""

    eta: Predictors
    value: Array
    enough: float  # gain of a step that is not the last one


def fit_fixed(rows: Rows, phi: Array, mean: Array, constant: Array) -> FixedFit:
    """Newton steps of the model without random effects while they gain 0.1 % of a unit a row.

    The first starts from a predictor of its own for every row, the transformed response, and
    moves the first predictor alone: what the others are near shows about the fit. Steps that end
    lower than the constant mean begin again there (scores of truncated counts of one are large
    beside their weights).
    """
    link = rows.family.link
    others = constant_others(rows, constant, rows.y)
    back = (link.predictor(constant), *others)
    enough = 1.0 + 1e-3 * rows.y.size
    infinite = jnp.asarray(jnp.inf, rows.dtype)
    none = jnp.zeros((rows.num_fixed,) * 2, rows.dtype)
    floor = Floor(back, total(rows, log_kernel(rows, back, phi)), enough)
    first = FixedFit(
        beta=jnp.zeros((rows.num_fixed,), rows.dtype),
        eta=(link.predictor(mean), *others),
        value=-infinite,
        gain=infinite,
        information=none,
        reference=none,
        count=jnp.asarray(0),
        stays=jnp.asarray(False),
        lifted=jnp.asarray(False),
    )
    return jax.lax.while_loop(
        lambda fit: (fit.gain > enough) & (fit.count < _MAX_NEWTON),
        lambda fit: _lifted(floor, _newton(rows, phi, back, fit)),
        first,
    )


def constant_others(rows: Rows, mean: Array, y: Array) -> Predictors:
    """The predictors behind the first, constants near what they are about means like these."""
    found = rows.family.initial_others(y, mean, rows.weight, rows.multiplier)
    return tuple(jnp.full(rows.y.shape, value, rows.dtype) for value in found)


def _newton(rows: Rows, phi: Array, back: Predictors, fit: FixedFit) -> FixedFit:
    """A Newton step from `fit.eta`; `back` is where to begin again if the first one fails."""
    s, weights = derivatives(rows, fit.eta, phi)
    first = fit.count == 0
    stays = (fit.stays, *(fit.stays | first for _ in s[1:]))
    counts = jnp.where(rows.multiplier > 0, 1.0, 0.0).astype(rows.dtype)
    s = tuple(jnp.where(stay, 0.0, d) for stay, d in zip(stays, s, strict=True))
    weights = tuple(jnp.where(stay, counts, w) for stay, w in zip(stays, weights, strict=True))
    working = tuple(
        jnp.where(w > 0, w * (e - o) + d, 0.0)
        for w, e, o, d in zip(weights, fit.eta, offsets(rows), s, strict=True)
    )
    information = information_of(rows, weights)
    beta = curvature.solve(information, transpose_fixed(rows, working))
    eta = fixed_part(rows, beta)
    value = total(rows, log_kernel(rows, eta, phi))
    better = value > fit.value
    # Out of the law's domain at once: begin again from the mean response.
    again = first & ~better
    if len(s) > 1:
        nearer = constant_others(rows, rows.family.link.mean(eta[0]), rows.y)
        pairs = zip(nearer, eta[1:], strict=True)
        eta = (eta[0], *(jnp.where(first & jnp.isfinite(n), n, e) for n, e in pairs))
    return FixedFit(
        beta=jnp.where(better, beta, fit.beta),
        eta=tuple(jnp.where(again, b, e) for b, e in zip(back, eta, strict=True)),
        value=jnp.where(better, value, fit.value),
        gain=jnp.where(again, jnp.inf, value - fit.value),
        information=jnp.where(fit.stays, fit.information, information),
        reference=jnp.where((fit.count == 0) | again, information, fit.reference),
        count=fit.count + 1,
        stays=jnp.asarray(False),
        lifted=fit.lifted,
    )


def _lifted(floor: Floor, fit: FixedFit) -> FixedFit:
    """At the constant mean, if the last step was made and all of them ended lower; what is found
    from there counts if it is higher."""
    last = ~(fit.gain > floor.enough) | (fit.count >= _MAX_NEWTON)
    low = last & ~fit.lifted & ~(fit.value >= floor.value)
    return fit._replace(
        eta=tuple(jnp.where(low, b, e) for b, e in zip(floor.eta, fit.eta, strict=True)),
        gain=jnp.where(low, jnp.inf, fit.gain),
        count=jnp.where(low, 1, fit.count),
        stays=low,
        lifted=fit.lifted | low,
    )
