"""Ascent of the Laplace log-likelihood: one loop of evaluations, exact Hessians when they are due.

A trial point costs one evaluation. The metric of a step is the absolute inverse of the exact
Hessian (of parameters that are not next to a limit), computed anew after every step where
parameters are few (Newton's method); where they are many, or the end is one step away, BFGS carries
it. An optimum is certified by exact curvature: a point whose Newton step promises less than the
tolerance. The steps left take the point to rounding level, where a last Hessian is computed. Where
the factor of H is dear, Hessians but for that last one rest on estimated traces, right to a per
cent or two: good metrics at a fraction of the price; and the last one is computed a step earlier if
no such step can change it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm import curvature
from jaxglmm.ascent.objective import TIGHT, AbstractObjective, Point, along
from jaxglmm.needed import where_needed
from jaxglmm.predictor import Effects

_ARMIJO = 1e-4
_SMALLEST_STEP = 1e-9
_NOWHERE = 0.1  # of a step that leads where there is no value
# Covariance parameters: two terms of eight correlated effects have 72 (40 evaluations for 45); with
# ten in one term it makes no difference.
_MANY = 16
_LEVEL = 3e-7  # slope in a parameter of the law that is next to nothing,
_FLAT = 1e-6  # and curvature
_WAS_FLAT = 1e-4  # a few steps before
_NEAR = 1e-7  # BFGS with an exact Hessian behind it takes 1e-5 of a promise to the next point,
_NEAR_IF_DEAR = 1e-4  # and 1e-3 with a rough one


class Ends(NamedTuple):
    """When an ascent ends, static.

    A step that promises less than `tolerance` is the last one, taken unseen, where it changes the
    Hessian by less than `unchanged` of itself (so that standard errors are right to half as much);
    otherwise the last step is one that promises rounding errors.
    """

    tolerance: float
    max_iterations: int
    unchanged: float = 0.0


class Climb(NamedTuple):
    """State of the ascent: where it is, the metric, and the step it tries next."""

    at: Point
    curved: Any  # of the objective, where the Hessian was last due
    kept: Any  # the factor of H at the last point evaluated, where the factor keeps
    metric: Array
    promise: Array  # of a full step, in log-likelihood
    length: Array
    sharp: Array  # the mode at the point is right to rounding
    third: Array  # size of third derivatives, in standard errors
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
    ends: Ends,
) -> Climb:
    """Ascend from psi until certified and at rounding level, or no step makes progress."""
    end = jax.lax.while_loop(
        lambda state: unfinished(state, ends),
        lambda state: advance(objective, state, ends),
        begin(objective, psi, start),
    )
    return land(objective, end)


def unfinished(state: Climb, ends: Ends) -> Array:
    """Whether an ascent goes on."""
    # A certified point's failed step is rounding, not failure.
    shortest = jnp.where(state.certified, 0.99, _SMALLEST_STEP)
    going = (state.promise > _goal(state.at.psi)) & ~state.done & (state.length > shortest)
    return (going | state.forced) & (state.iterations < ends.max_iterations)


def idle_unless(live: Array, state: Climb) -> Climb:
    """The same; unless it is live with nothing promised (NaN), so that to advance it takes no pass
    of the mode finder."""
    return state._replace(promise=jnp.where(live, state.promise, jnp.nan))


def _goal(psi: Array) -> float:
    """Promise from which a step needs no evaluation: 1e-6 standard errors, or rounding level."""
    return max(100.0 * float(jnp.finfo(psi.dtype).eps), 1e-12)


def land(objective: AbstractObjective, state: Climb) -> Climb:
    """Take the last Newton step unseen: its error is of the order of the promise, not its root."""
    landed = state.certified & (state.done | (state.promise <= _goal(state.at.psi)))
    step = jnp.where(landed, state.metric @ state.at.gradient, 0.0)
    gain = jnp.where(landed, 0.5 * state.promise, 0.0)
    return state._replace(at=objective.move(state.at, state.curved, step, gain))


def begin(objective: AbstractObjective, psi: Array, start: Effects) -> Climb:
    """The state before the first evaluation."""
    zero, none = jnp.zeros((), psi.dtype), jnp.zeros((psi.shape[0],) * 2, psi.dtype)
    return Climb(
        at=objective.first(psi, start),
        curved=objective.uncurved(psi, start),
        kept=objective.blank,
        metric=none,
        promise=zero + jnp.inf,
        length=zero + 1.0,
        sharp=jnp.asarray(True),
        third=zero + 1.0,
        age=jnp.asarray(0),
        forced=jnp.asarray(True),
        certified=jnp.asarray(False),
        done=jnp.asarray(False),
        iterations=jnp.asarray(-1),
        passes=jnp.asarray(0),
    )


class _Trial(NamedTuple):
    """The end of the step, or the point itself where that is forced, and what was found there."""

    point: Point
    parts: Any  # for the Hessian
    kept: Any
    passes: Array
    exact: Array  # whether the mode is right to rounding
    accept: Array
    step: Array
    change: Array  # the fall of the gradient


class _Plan(NamedTuple):
    """What follows from a trial before its Hessian is known."""

    updated: Array  # the metric that BFGS makes of the old one
    third: Array
    near: Array  # the next point is the last one
    done: Array
    due: Array  # the Hessian is computed


def advance(objective: AbstractObjective, state: Climb, ends: Ends) -> Climb:
    """One evaluation, at the end of the step or at the point itself, and what follows from it."""
    trial = _evaluate(objective, state)
    plan = _plan(objective, state, trial, ends)
    curved, metric = _metric(objective, state, trial, plan)
    accept, third, at = trial.accept, plan.third, state.at
    here = jax.tree.map(lambda new, old: jnp.where(accept, new, old), trial.point, at)
    promise = here.gradient @ metric @ here.gradient
    # Where the promise has grown again the point that was certified lay in a flat region.
    certified = (state.certified | plan.due) & (promise < ends.tolerance)
    last = _is_last(third, promise, ends)
    shorter = _shorter(state.length, state.promise, trial.point.value - at.value)
    # After a short step a whole one seldom succeeds at once (72 covariance parameters, some at
    # their bounds: 46 evaluations for 62).
    longer = jnp.maximum(2.0 * state.length, jnp.sqrt(state.length))
    longer = jnp.where(state.forced, 1.0, longer)
    return Climb(
        at=here,
        curved=curved,
        kept=trial.kept,
        metric=metric,
        promise=promise,
        length=jnp.where(
            accept, jnp.minimum(objective.reach(metric @ here.gradient), longer), shorter
        ),
        sharp=jnp.where(accept, trial.exact, state.sharp),
        third=jnp.where(accept, third, state.third),
        age=jnp.where(plan.due, 0, state.age + accept),
        forced=_has_failed(state, trial, shorter)
        | _ends_roughly(objective, state, trial, plan, promise, last),
        certified=certified,
        done=plan.done | accept & plan.due & plan.near & certified & last,
        iterations=state.iterations + 1,
        passes=state.passes + trial.passes,
    )


def _evaluate(objective: AbstractObjective, state: Climb) -> _Trial:
    at = state.at
    direction = state.metric @ at.gradient
    step = jnp.where(state.forced, 0.0, _step(objective, state, direction))
    end, ahead = at.psi + step, along(at.u, state.curved.du, step)
    guess = objective.guess(at.psi, end, at.u, ahead)
    point, parts, kept, passes, exact = objective.evaluate(end, guess, state.promise, state.kept)
    accept = state.forced | _acceptable(state, point, step)
    return _Trial(point, parts, kept, passes, exact, accept, step, at.gradient - point.gradient)


def _plan(objective: AbstractObjective, state: Climb, trial: _Trial, ends: Ends) -> _Plan:
    gradient, accept = trial.point.gradient, trial.accept
    updated = _bfgs(state.metric, trial.step, trial.change)
    moved = _moved(objective, state.curved.hessian, gradient, _WAS_FLAT)
    if moved is not None:
        updated = jnp.where(moved, updated, 0.0)
    promised = gradient @ updated @ gradient
    # No metric is known yet where the first Hessian is due.
    third = _third(objective, state, promised)
    near = _is_last(third, promised, ends) & trial.exact & (state.iterations >= 0)
    # So near, one step with the updated metric ends at rounding level: no Hessian is due before.
    so_near = promised < (_NEAR_IF_DEAR if objective.is_dear else _NEAR)
    interval = int(gradient.shape[0] * objective.column_cost) + so_near
    # A promise that has grown so much is that of a metric bent by an indefinite region.
    wild = ~(promised > _goal(gradient)) | (promised > 10.0 * state.promise)
    stale = (state.age >= interval) | wild
    # The last step ends with a Hessian of its own: the estimate's standard errors rest on it.
    done = accept & state.certified & near
    again = state.forced & ~state.sharp & (state.promise < TIGHT)  # for its mode alone
    due = state.forced & ~again | done | accept & (stale & ~again | near) & ~state.certified
    return _Plan(updated, third, near, done, due)


def _metric(
    objective: AbstractObjective, state: Climb, trial: _Trial, plan: _Plan
) -> tuple[Any, Array]:
    """The Hessian's parts and the metric of the next step: computed if due, else updated."""

    def curve(_: Any) -> tuple[Any, Array]:
        curved = objective.curve(trial.point, trial.parts, plan.near)
        return curved, _inverse(objective, curved.hessian, trial.point.gradient)

    curved, metric = where_needed(plan.due, curve, (), (state.curved, plan.updated))
    if objective.is_dear:
        mended = _mended(metric, trial.step, trial.change, plan.third)
        moved = _moved(objective, curved.hessian, trial.point.gradient, _FLAT)
        mended = mended if moved is None else jnp.where(moved, mended, 0.0)
        metric = jnp.where(plan.due & ~plan.near, mended, metric)
    return curved, jnp.where(trial.accept, metric, state.metric)


def _inverse(objective: AbstractObjective, hessian: Array, gradient: Array) -> Array:
    """The metric of a Hessian, for those parameters that are to be moved."""
    moved = _moved(objective, hessian, gradient, _FLAT)
    if moved is None:
        return curvature.metric(-hessian)
    bent = jnp.where(moved, -hessian, jnp.eye(hessian.shape[0], dtype=hessian.dtype))
    return jnp.where(moved, curvature.metric(bent), 0.0)


def _moved(
    objective: AbstractObjective, hessian: Array, gradient: Array, bend: float
) -> Array | None:
    """Which rows and columns of a metric move anything; None where all do.

    A parameter of the law is left where it is next to a limit at infinity. Towards it the value
    rises by less and less, its slope and its curvature falling alike, and nothing tells where to
    stop but rounding: of gamma rows with an effect each it grows as the dispersion falls, until
    neither value nor Hessian means anything.

    Args:
        objective: whose value this is.
        hessian: of the value, here or a few steps ago.
        gradient: of the value, here.
        bend: the curvature from which a parameter is moved in any case.
    """
    if not objective.of_law:
        return None
    places = np.asarray(objective.of_law)
    bent, slope = -jnp.diagonal(hessian)[places], jnp.abs(gradient[places])
    level = (bent >= 0.0) & (bent <= bend) & (slope <= _LEVEL)
    moved = jnp.ones(gradient.shape, bool).at[places].set(~level)
    return moved[:, None] & moved[None, :]


def _has_failed(state: Climb, trial: _Trial, shorter: Array) -> Array:
    """Whether a step failed for its metric's sake, or because the point's mode, and with it its
    value, is a rough one."""
    spoilt = (state.age > 0) & (state.certified | (shorter < 1e-3))
    return ~trial.accept & (spoilt | ~state.sharp & (state.promise < TIGHT))


def _ends_roughly(
    objective: AbstractObjective,
    state: Climb,
    trial: _Trial,
    plan: _Plan,
    promise: Array,
    last: Array,
) -> Array:
    """Whether the point would end the ascent with a rough mode or, of a dear factor, Hessian."""
    again = state.forced & (state.iterations >= 0)
    rough = trial.accept & ~trial.exact & last & ~again
    if not objective.is_dear:
        return rough
    return rough | plan.due & ~plan.near & (promise <= _goal(promise))


def _third(objective: AbstractObjective, state: Climb, promised: Array) -> Array:
    """What the last step of Newton's has missed, relative to its squared length: at least the third
    derivatives there, in standard errors (1 / sqrt(n), and below 1 in all that can be fitted).

    Of a dear factor the least of all steps: rough Hessians miss more.
    """
    stepped = ~state.forced & (state.length == 1.0)
    missed = jnp.sqrt(jnp.abs(promised)) / state.promise
    known = jnp.minimum(missed, state.third) if objective.is_dear else missed
    return jnp.where(stepped & jnp.isfinite(missed), known, state.third)


def _is_last(third: Array, promised: Array, ends: Ends) -> Array:
    """Whether the point that promises so much is the last to be looked at.

    A Newton step of squared length p (in standard errors) misses by k p and changes the Hessian by
    k sqrt(p), with third derivatives of size k.
    """
    last = promised <= _goal(promised)
    if not ends.unchanged:
        return last
    unchanged = third * jnp.sqrt(promised) < ends.unchanged
    return last | (promised < ends.tolerance) & unchanged


def _step(objective: AbstractObjective, state: Climb, direction: Array) -> Array:
    """The step tried next. Of many covariance parameters some are nearly flat, where the whole step
    is far too long; a shorter one is short along these alone."""
    if objective.num_theta < _MANY:
        return state.length * direction
    step = curvature.damped(state.metric, direction, state.promise, state.length)
    return jnp.minimum(objective.reach(step), 1.0) * step


def _acceptable(state: Climb, trial: Point, step: Array) -> Array:
    """Armijo's rule; where the promise is below the rounding error of the value, the slope at the
    step's end instead (Hager & Zhang 2005, eq. 23)."""
    at = state.at
    slope = step @ at.gradient
    gain = trial.value - at.value
    risen = gain >= _ARMIJO * slope
    level = (gain >= -rounding(at.value)) & (jnp.abs(trial.gradient @ step) <= 0.9 * slope)
    finite = jnp.isfinite(trial.value) & jnp.all(jnp.isfinite(trial.gradient))
    return finite & (risen | level)


def rounding(value: Array) -> Array:
    """How far values of a log-likelihood may lie from each other by rounding alone."""
    return 50 * jnp.finfo(value.dtype).eps * (1.0 + jnp.abs(value))


def _shorter(length: Array, slope: Array, gain: Array) -> Array:
    """The maximum of the parabola through the failed step, between 0.1 and 0.5 of its length."""
    bend = length * slope - gain
    vertex = 0.5 * length * length * slope / jnp.where(bend > 0, bend, 1.0)
    vertex = jnp.where(jnp.isfinite(gain) & (bend > 0), vertex, _NOWHERE * length)
    return jnp.clip(vertex, 0.1 * length, 0.5 * length)


def _mended(metric: Array, step: Array, change: Array, third: Array) -> Array:
    """The metric of a rough Hessian, corrected along the last step where that shows it wrong by
    more than the step's length explains: traces over few levels are poorly estimated."""
    curvature_ = step @ change
    wrong = jnp.abs(change @ metric @ change - curvature_)
    length = jnp.sqrt(jnp.abs(curvature_))
    return jnp.where(wrong > 2.0 * third * length**3, _bfgs(metric, step, change), metric)


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
