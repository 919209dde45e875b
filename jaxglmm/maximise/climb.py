"""Quasi-Newton ascent of the Laplace log-likelihood from a point and a metric."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.factor import AbstractFactor
from jaxglmm.marginal import laplace
from jaxglmm.mode import search
from jaxglmm.params import free_params, unflatten
from jaxglmm.predictor import Effects
from jaxglmm.rows import Rows

_ARMIJO = 1e-4
_SMALLEST_STEP = 1e-9


class Point(NamedTuple):
    """A parameter vector with its mode, value and gradient."""

    psi: Array
    u: Effects
    value: Array
    gradient: Array
    passes: Array


class Climb(NamedTuple):
    """State of the ascent: where it is, the metric, and the step it tries next."""

    at: Point
    metric: Array
    length: Array
    iterations: Array


def evaluate(
    rows: Rows, factor: AbstractFactor, psi: Array, start: Effects, tolerance: Array
) -> Point:
    """Mode, log-likelihood and gradient at psi; `tolerance` is the mode finder's."""
    u, passes = search(rows, factor, unflatten(psi, rows), start, tolerance)
    value, gradient = laplace.value_and_gradient(rows, factor, psi, u)
    gradient = jnp.where(free_params(rows, psi), gradient, 0.0)
    return Point(psi, u, value, gradient, passes)


def mode_tolerance(decrement: Array) -> Array:
    """How exactly modes are needed where a step still promises `decrement`.

    The mode's last Newton step leaves an error of the order of its tolerance, which enters the
    gradient: it should stay well below the gradient itself, whose size is sqrt(decrement).
    """
    eps = jnp.finfo(decrement.dtype).eps
    return jnp.clip(0.01 * jnp.sqrt(jnp.abs(decrement)), 0.05 * eps**0.5, 1e-3)


def climb(
    rows: Rows,
    factor: AbstractFactor,
    at: Point,
    metric: Array,
    tolerance: Array,
    max_iterations: Array,
) -> Climb:
    """BFGS until a step promises less than `tolerance`, makes no progress, or runs out.

    A trial point costs one evaluation, accepted by Armijo's rule; where the promise is below the
    rounding error of the value, by the slope at its end instead (Hager & Zhang 2005, eq. 23).
    """
    eps = jnp.finfo(rows.dtype).eps

    def unfinished(state: Climb) -> Array:
        promise = state.at.gradient @ state.metric @ state.at.gradient
        going = (promise > tolerance) & (state.iterations < max_iterations)
        return going & (state.length > _SMALLEST_STEP)

    def body(state: Climb) -> Climb:
        at = state.at
        direction = state.metric @ at.gradient
        slope = at.gradient @ direction
        step = state.length * direction
        trial = evaluate(rows, factor, at.psi + step, at.u, mode_tolerance(slope))
        noise = 50 * eps * (1.0 + jnp.abs(at.value))
        gain = trial.value - at.value
        risen = gain >= _ARMIJO * state.length * slope
        end_slope = trial.gradient @ direction
        level = (gain >= -noise) & (jnp.abs(end_slope) <= 0.9 * slope)
        finite = jnp.isfinite(trial.value) & jnp.all(jnp.isfinite(trial.gradient))
        accept = finite & (risen | level)
        metric = _bfgs(state.metric, step, at.gradient - trial.gradient)
        kept = jax.tree.map(lambda new, old: jnp.where(accept, new, old), trial, at)
        return Climb(
            at=kept._replace(passes=at.passes + trial.passes),
            metric=jnp.where(accept, metric, state.metric),
            length=jnp.where(accept, 1.0, _shorter(state.length, slope, gain)),
            iterations=state.iterations + 1,
        )

    one = jnp.ones((), rows.dtype)
    return jax.lax.while_loop(unfinished, body, Climb(at, metric, one, jnp.asarray(0)))


def _shorter(length: Array, slope: Array, gain: Array) -> Array:
    """The maximum of the parabola through the failed step, between 0.1 and 0.5 of its length."""
    bend = length * slope - gain
    vertex = 0.5 * length * length * slope / jnp.where(bend > 0, bend, 1.0)
    vertex = jnp.where(jnp.isfinite(gain) & (bend > 0), vertex, 0.25 * length)
    return jnp.clip(vertex, 0.1 * length, 0.5 * length)


def _bfgs(metric: Array, step: Array, change: Array) -> Array:
    """The inverse update; skipped where curvature along the step is not positive.

    Nocedal & Wright (2006), eq. (6.17), with `change` the fall of the gradient.
    """
    curvature = step @ change
    mc = metric @ change
    quadratic = change @ mc
    usable = curvature > 1e-10 * jnp.sqrt(jnp.abs(quadratic * curvature))
    safe = jnp.where(usable, curvature, 1.0)
    updated = (
        metric
        + (1.0 + quadratic / safe) / safe * jnp.outer(step, step)
        - (jnp.outer(mc, step) + jnp.outer(step, mc)) / safe
    )
    return jnp.where(usable & jnp.all(jnp.isfinite(updated)), updated, metric)
