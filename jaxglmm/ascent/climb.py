"""Ascent of the Laplace log-likelihood: one loop of evaluations, exact Hessians when they are due.

A trial point costs one evaluation. The metric of a step is the absolute inverse of the exact
Hessian, computed anew after every step where parameters are few (Newton's method); where they are
many, or the end is one step away, BFGS carries it. An optimum is certified by exact curvature: a
point whose Newton step promises less than the tolerance. The steps left take the point to rounding
level, where a last Hessian is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm import curvature
from jaxglmm.arrays import plus
from jaxglmm.factor import AbstractFactor
from jaxglmm.marginal import laplace
from jaxglmm.marginal.hessian import Curved, hessian_of_pieces
from jaxglmm.mode import Kept, no_factor, search, tight
from jaxglmm.params import flatten, free_params, unflatten
from jaxglmm.predictor import Effects
from jaxglmm.rows import Rows

_ARMIJO = 1e-4
_SMALLEST_STEP = 1e-9
_NEAR = 1e-7  # BFGS with an exact Hessian behind it takes 1e-5 of a promise to the next point


class Point(NamedTuple):
    """A parameter vector with its mode, value and gradient."""

    psi: Array
    u: Effects
    value: Array
    gradient: Array


class Climb(NamedTuple):
    """State of the ascent: where it is, the metric, and the step it tries next."""

    at: Point
    curved: Curved  # where the Hessian was last due
    kept: Any  # the factor of H at the last point evaluated, where the factor keeps
    metric: Array
    promise: Array  # of a full step, in log-likelihood
    length: Array
    age: Array  # steps since the last Hessian
    forced: Array  # the point itself is evaluated next, with its Hessian
    certified: Array
    done: Array
    iterations: Array
    passes: Array


class Evaluation(NamedTuple):
    """A point, what it is made of, and how its mode was found."""

    point: Point
    pieces: laplace.Pieces
    passes: Array
    exact: Array  # the mode is right to rounding


def evaluate(
    rows: Rows,
    factor: AbstractFactor,
    psi: Array,
    start: Effects,
    tolerance: Array,
    kept: Any = None,
) -> Evaluation:
    """Mode, log-likelihood and gradient at psi; `tolerance` and `kept` are the mode finder's."""
    params = unflatten(psi, rows)
    u, passes, left = search(rows, factor, params, start, tolerance, kept)
    at = laplace.pieces(rows, factor, params, u, order=4)
    gradient = flatten(laplace.gradient(rows, factor, params, at))
    gradient = jnp.where(free_params(rows, psi), gradient, 0.0)
    return Evaluation(Point(psi, u, at.value, gradient), at, passes, left < tight(rows))


def mode_tolerance(rows: Rows, promise: Array) -> Array:
    """How exactly modes are needed where a step still promises `promise`.

    The mode's last Newton step leaves an error of the order of its tolerance, which enters value
    and gradient: it should stay well below the gradient itself, whose size is sqrt(promise). At
    a point that may be the last one nothing but rounding is to be left.
    """
    loose = jnp.clip(0.01 * jnp.sqrt(jnp.abs(promise)), tight(rows), 1e-3)
    return jnp.where(promise < 1e-4, tight(rows), loose)


def climb(
    rows: Rows,
    factor: AbstractFactor,
    psi: Array,
    start: Effects,
    tolerance: float,
    max_iterations: int,
) -> Climb:
    """Ascend from psi until certified and at rounding level, or no step makes progress."""

    def unfinished(state: Climb) -> Array:
        # A certified point's failed step is rounding, not failure.
        shortest = jnp.where(state.certified, 0.99, _SMALLEST_STEP)
        going = (state.promise > _goal(rows)) & ~state.done & (state.length > shortest)
        return (going | state.forced) & (state.iterations < max_iterations)

    def body(state: Climb) -> Climb:
        return _advance(rows, factor, state, tolerance)

    return _land(rows, jax.lax.while_loop(unfinished, body, _begin(rows, factor, psi, start)))


def _goal(rows: Rows) -> float:
    """Promise from which a step needs no evaluation: 1e-6 standard errors, or rounding level."""
    return max(100.0 * float(jnp.finfo(rows.dtype).eps), 1e-12)


def _land(rows: Rows, state: Climb) -> Climb:
    """Take the last Newton step unseen: its error is of the order of the promise, not its root."""
    landed = state.certified & (state.promise <= _goal(rows))
    step = jnp.where(landed, state.metric @ state.at.gradient, 0.0)
    gain = jnp.where(landed, 0.5 * state.promise, 0.0)
    u = _along(state, step)
    return state._replace(
        at=state.at._replace(psi=state.at.psi + step, u=u, value=state.at.value + gain)
    )


def _along(state: Climb, step: Array) -> Effects:
    """Where the mode's tangents lead after a step."""
    return plus(state.at.u, tuple(jnp.tensordot(step, du, axes=1) for du in state.curved.du))


def _begin(rows: Rows, factor: AbstractFactor, psi: Array, start: Effects) -> Climb:
    zero, none = jnp.zeros((), rows.dtype), jnp.zeros((psi.shape[0],) * 2, rows.dtype)
    return Climb(
        at=Point(psi, start, zero - jnp.inf, jnp.zeros_like(psi)),
        curved=Curved(none, tuple(jnp.zeros((psi.shape[0], *u.shape), rows.dtype) for u in start)),
        kept=no_factor(rows, factor),
        metric=none,
        promise=zero + jnp.inf,
        length=zero + 1.0,
        age=jnp.asarray(0),
        forced=jnp.asarray(True),
        certified=jnp.asarray(False),
        done=jnp.asarray(False),
        iterations=jnp.asarray(-1),
        passes=jnp.asarray(0),
    )


def _advance(rows: Rows, factor: AbstractFactor, state: Climb, tolerance: float) -> Climb:
    """One evaluation, at the end of the step or at the point itself, and what follows from it."""
    at, goal = state.at, _goal(rows)
    direction = state.metric @ at.gradient
    step = jnp.where(state.forced, 0.0, state.length) * direction
    trial, parts, passes, exact = _follow(rows, factor, state, step)
    accept = state.forced | _acceptable(state, trial, direction)
    updated = _bfgs(state.metric, step, at.gradient - trial.gradient)
    promised = trial.gradient @ updated @ trial.gradient
    # So near, one step with the updated metric ends at rounding level: no Hessian is due before.
    interval = int(at.psi.shape[0] * factor.column_cost) + (promised < _NEAR)
    # A promise that has grown so much is that of a metric bent by an indefinite region.
    stale = (state.age >= interval) | ~(promised > goal) | (promised > 10.0 * state.promise)
    # The last step ends with a Hessian of its own: the estimate's standard errors rest on it.
    done = accept & state.certified & (promised <= goal)
    due = state.forced | done | accept & stale & ~state.certified
    fresh = _when(due, lambda _: _curve(rows, factor, trial, parts), (state.curved, updated))
    curved, metric = fresh[0], jnp.where(accept, fresh[1], state.metric)
    here = jax.tree.map(lambda new, old: jnp.where(accept, new, old), trial, at)
    promise = here.gradient @ metric @ here.gradient
    shorter = _shorter(state.length, state.promise, trial.value - at.value)
    # A step failed for its metric's sake, or a point would end the ascent with a rough mode.
    failed = ~accept & (state.age > 0) & (state.certified | (shorter < 1e-3))
    rough = accept & ~exact & (promise <= goal) & (state.promise > goal)
    return Climb(
        at=here,
        curved=curved,
        kept=Kept(parts.factored, jnp.isfinite(trial.value)) if factor.keeps else (),
        metric=metric,
        promise=promise,
        length=jnp.where(accept, 1.0, shorter),
        age=jnp.where(due, 0, state.age + accept),
        forced=failed | rough,
        certified=state.certified | due & (promise < tolerance),
        done=done,
        iterations=state.iterations + 1,
        passes=state.passes + passes,
    )


def _follow(rows: Rows, factor: AbstractFactor, state: Climb, step: Array) -> Evaluation:
    """The evaluation at the step's end, the mode sought from where its tangents lead."""
    tolerance = mode_tolerance(rows, state.promise)
    there, u = state.at.psi + step, _along(state, step)
    return evaluate(rows, factor, there, u, tolerance, state.kept)


def _acceptable(state: Climb, trial: Point, direction: Array) -> Array:
    """Armijo's rule; where the promise is below the rounding error of the value, the slope at the
    step's end instead (Hager & Zhang 2005, eq. 23)."""
    at, slope = state.at, state.promise
    noise = 50 * jnp.finfo(slope.dtype).eps * (1.0 + jnp.abs(at.value))
    gain = trial.value - at.value
    risen = gain >= _ARMIJO * state.length * slope
    level = (gain >= -noise) & (jnp.abs(trial.gradient @ direction) <= 0.9 * slope)
    finite = jnp.isfinite(trial.value) & jnp.all(jnp.isfinite(trial.gradient))
    return finite & (risen | level)


def _curve(
    rows: Rows, factor: AbstractFactor, point: Point, parts: laplace.Pieces
) -> tuple[Curved, Array]:
    """The exact Hessian, coefficients of padding columns held, and its absolute inverse."""
    curved = hessian_of_pieces(rows, factor, unflatten(point.psi, rows), parts)
    free = free_params(rows, point.psi)
    held = jnp.diag(jnp.where(free, 0.0, -1.0).astype(rows.dtype))
    curved = curved._replace(hessian=jnp.where(free[:, None] & free[None, :], curved.hessian, held))
    return curved, curvature.ascent_metric(curvature.spectrum(-curved.hessian))


def _when(condition: Array, f: Callable[[Any], Any], x: Any) -> Any:
    """f(x) where the condition holds, else x; a loop, as a batched `cond` would compute both."""
    once = jax.lax.while_loop(
        lambda state: state[0], lambda state: (jnp.asarray(False), f(state[1])), (condition, x)
    )
    return once[1]


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
    curvature_ = step @ change
    mc = metric @ change
    quadratic = change @ mc
    usable = curvature_ > 1e-10 * jnp.sqrt(jnp.abs(quadratic * curvature_))
    safe = jnp.where(usable, curvature_, 1.0)
    updated = (
        metric
        + (1.0 + quadratic / safe) / safe * jnp.outer(step, step)
        - (jnp.outer(mc, step) + jnp.outer(step, mc)) / safe
    )
    return jnp.where(usable & jnp.all(jnp.isfinite(updated)), updated, metric)
