"""Ascent of the Laplace log-likelihood: one loop of evaluations, exact Hessians when they are due.

A trial point costs one evaluation. The metric of a step is the absolute inverse of the exact
Hessian, computed anew after every step where parameters are few (Newton's method); where they are
many, or the end is one step away, BFGS carries it. An optimum is certified by exact curvature: a
point whose Newton step promises less than the tolerance. The steps left take the point to rounding
level, where a last Hessian is computed. Where the factor of H is dear, Hessians but for that last
one rest on estimated traces, right to a per cent or two: good metrics at a fraction of the price.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm import curvature
from jaxglmm.arrays import plus
from jaxglmm.ascent.objective import AbstractObjective, Point
from jaxglmm.predictor import Effects

_ARMIJO = 1e-4
_SMALLEST_STEP = 1e-9
_NEAR = 1e-7  # BFGS with an exact Hessian behind it takes 1e-5 of a promise to the next point


class Climb(NamedTuple):
    """State of the ascent: where it is, the metric, and the step it tries next."""

    at: Point
    curved: Any  # of the objective, where the Hessian was last due
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


def climb(
    objective: AbstractObjective,
    psi: Array,
    start: Effects,
    tolerance: float,
    max_iterations: int,
) -> Climb:
    """Ascend from psi until certified and at rounding level, or no step makes progress."""

    def unfinished(state: Climb) -> Array:
        # A certified point's failed step is rounding, not failure.
        shortest = jnp.where(state.certified, 0.99, _SMALLEST_STEP)
        going = (state.promise > _goal(psi)) & ~state.done & (state.length > shortest)
        return (going | state.forced) & (state.iterations < max_iterations)

    def body(state: Climb) -> Climb:
        return _advance(objective, state, tolerance)

    begin = _begin(objective, psi, start)
    return _land(jax.lax.while_loop(unfinished, body, begin))


def _goal(psi: Array) -> float:
    """Promise from which a step needs no evaluation: 1e-6 standard errors, or rounding level."""
    return max(100.0 * float(jnp.finfo(psi.dtype).eps), 1e-12)


def _land(state: Climb) -> Climb:
    """Take the last Newton step unseen: its error is of the order of the promise, not its root."""
    landed = state.certified & (state.promise <= _goal(state.at.psi))
    step = jnp.where(landed, state.metric @ state.at.gradient, 0.0)
    gain = jnp.where(landed, 0.5 * state.promise, 0.0)
    u = _along(state, step)
    return state._replace(
        at=state.at._replace(psi=state.at.psi + step, u=u, value=state.at.value + gain)
    )


def _along(state: Climb, step: Array) -> Effects:
    """Where the mode's tangents lead after a step."""
    return plus(state.at.u, tuple(jnp.tensordot(step, du, axes=1) for du in state.curved.du))


def _begin(objective: AbstractObjective, psi: Array, start: Effects) -> Climb:
    zero, none = jnp.zeros((), psi.dtype), jnp.zeros((psi.shape[0],) * 2, psi.dtype)
    return Climb(
        at=Point(psi, start, zero - jnp.inf, jnp.zeros_like(psi), zero),
        curved=objective.uncurved(psi, start),
        kept=objective.blank,
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


def _advance(objective: AbstractObjective, state: Climb, tolerance: float) -> Climb:
    """One evaluation, at the end of the step or at the point itself, and what follows from it."""
    at, goal = state.at, _goal(state.at.psi)
    direction = state.metric @ at.gradient
    step = jnp.where(state.forced, 0.0, state.length) * direction
    end, guess = at.psi + step, _along(state, step)
    trial, parts, kept, passes, exact = objective.evaluate(end, guess, state.promise, state.kept)
    accept = state.forced | _acceptable(state, trial, direction)
    updated = _bfgs(state.metric, step, at.gradient - trial.gradient)
    promised = trial.gradient @ updated @ trial.gradient
    # So near, one step with the updated metric ends at rounding level: no Hessian is due before.
    interval = int(at.psi.shape[0] * objective.column_cost) + (promised < _NEAR)
    # A promise that has grown so much is that of a metric bent by an indefinite region.
    stale = (state.age >= interval) | ~(promised > goal) | (promised > 10.0 * state.promise)
    # The last step ends with a Hessian of its own: the estimate's standard errors rest on it.
    done = accept & state.certified & (promised <= goal)
    due = state.forced | done | accept & stale & ~state.certified
    last = promised <= goal  # the standard errors rest on this one

    def curve(_: Any) -> Any:
        return _curve(objective, trial, parts, last)

    fresh = _when(due, curve, (state.curved, updated))
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
        kept=kept,
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
    objective: AbstractObjective, point: Point, pieces: Any, exact: Array
) -> tuple[Any, Array]:
    """The Hessian and its absolute inverse."""
    curved = objective.curve(point, pieces, exact)
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
