"""The conditional mode of the random effects: u maximises log p(y | u) - |u|^2 / 2.

Newton's method with step halving, one derivative pass an iteration. A step is judged by the slope
along it at its end, never by the objective (the log-density costs more than its derivatives): a
component of H (a level of the only grouping factor, say) whose slope has turned against it by more
than `_OVERSHOOT` of what it was goes back half way, all others move on. Plain Newton with a cap on
the step 2-cycles on about 1 in 700 easy data sets.

The mode is differentiable to any order by the implicit function theorem: with the gradient
g(u, params) = Lambda' Z' score - u,

    0 = g(u, params)   =>   du = H^-1 (dg at fixed u).
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import minus, plus
from jaxglmm.factor import AbstractFactor
from jaxglmm.likelihood import score, score_and_weights
from jaxglmm.params import Params
from jaxglmm.predictor import (
    Effects,
    Predictors,
    fixed_part,
    linear_predictor,
    random_effects,
    random_part,
    relative_factors,
    transpose_lambda,
    transpose_random,
)
from jaxglmm.rows import Rows

_OVERSHOOT = 0.9
_MAX_ITERATIONS = 100
_LOST = 30  # passes after which a point outside the law's domain is given up


class _State(NamedTuple):
    u: Effects  # current point
    step: Effects  # the move that led here
    slope: Array  # slope along `step` where it began, (component,)
    decrement: Array  # g' H^-1 g at the last point judged, a scalar in log-likelihood units
    iteration: Array


def zeros(rows: Rows) -> Effects:
    """u = 0."""
    return tuple(jnp.zeros((g.num_latent, g.num_levels), rows.dtype) for g in rows.groupings)


def gradient(rows: Rows, params: Params, u: Effects) -> Effects:
    """d/du of log p(y | u) - |u|^2 / 2."""
    lam = relative_factors(rows, params.theta)
    eta = linear_predictor(rows, params.beta, random_effects(lam, u))
    return penalised_gradient(rows, lam, score(rows, eta, params.phi), u)


def penalised_gradient(
    rows: Rows, lam: tuple[Array, ...], score_: Predictors, u: Effects
) -> Effects:
    """Lambda' Z' score - u."""
    pulled = transpose_lambda(lam, transpose_random(rows, score_))
    return minus(pulled, u)


def tight(rows: Rows) -> float:
    """Tolerance of `search` that leaves u at rounding level.

    g' H^-1 g can fall to the sum of squared rounding errors, far below eps ** 0.75.
    """
    return float(jnp.finfo(rows.dtype).eps) ** 0.75


def search(
    rows: Rows, factor: AbstractFactor, params: Params, start: Effects, tolerance: Array
) -> tuple[Effects, Array, Array]:
    """Newton's method from `start` until g' H^-1 g < tolerance; the last step is then taken.

    Returns the mode, the number of derivative passes and the last g' H^-1 g. That is the square of
    the last step's length in units of the conditional standard deviation; convergence is
    quadratic, so the error left in u is of its order, not of its root.
    """
    if not rows.groupings:
        return start, jnp.asarray(0), jnp.zeros((), rows.dtype)
    lam = relative_factors(rows, params.theta)
    fixed = fixed_part(rows, params.beta)
    eps = jnp.finfo(rows.dtype).eps

    def body(state: _State) -> _State:
        u = state.u
        random = random_part(rows, random_effects(lam, u))
        eta = plus(fixed, random)
        s, W = score_and_weights(rows, eta, params.phi)
        g = penalised_gradient(rows, lam, s, u)
        newton = factor.solve(factor.factorise_safely(factor.assemble(rows, lam, W)), g)
        along, decrement = factor.inner(rows, g, state.step), factor.inner(rows, g, newton)
        # At rounding level a slope has no sign to trust.
        judged = state.slope > 100 * eps
        back = judged & ~(along > -_OVERSHOOT * state.slope) | ~jnp.isfinite(decrement)
        halved = factor.per_component(rows, jnp.full_like(state.slope, -0.5), state.step)
        step = _select(rows, factor, back, halved, newton)
        moved = plus(u, step)
        # A component sent back keeps looking along the same direction from the same origin.
        kept = _select(rows, factor, back, tuple(-d for d in step), step)
        total = jnp.sum(jnp.where(back, jnp.inf, jnp.abs(decrement)))
        lost = (state.iteration >= _LOST) & ~jnp.all(jnp.isfinite(decrement))
        return _State(
            u=moved,
            step=kept,
            slope=jnp.where(back, 0.5 * state.slope, decrement),
            decrement=jnp.where(lost, -jnp.inf, total),
            iteration=state.iteration + 1,
        )

    def unfinished(state: _State) -> Array:
        return (state.decrement > tolerance) & (state.iteration < _MAX_ITERATIONS)

    none = factor.inner(rows, start, start) * 0.0
    infinite = jnp.asarray(jnp.inf, rows.dtype)
    state = _State(start, start, none, infinite, jnp.asarray(0))
    state = jax.lax.while_loop(unfinished, body, state)
    return state.u, state.iteration, state.decrement


def _select(rows: Rows, factor: AbstractFactor, which: Array, yes: Effects, no: Effects) -> Effects:
    """Component by component, NaN in the branch not taken staying out."""
    ones = tuple(jnp.ones_like(v) for v in yes)
    mask = factor.per_component(rows, which.astype(ones[0].dtype), ones)
    return tuple(jnp.where(m > 0.5, a, b) for m, a, b in zip(mask, yes, no, strict=True))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def find_mode(rows: Rows, factor: AbstractFactor, params: Params, start: Effects) -> Effects:
    """The mode of u, differentiable in `rows` and `params` to any order; `start` is a guess."""
    return search(rows, factor, params, start, jnp.asarray(tight(rows), rows.dtype))[0]


@find_mode.defjvp
def _find_mode_jvp(
    factor: AbstractFactor, primals: tuple[Any, ...], tangents: tuple[Any, ...]
) -> tuple[Effects, Effects]:
    rows, params, start = primals
    d_rows, d_params, _ = tangents
    u = find_mode(rows, factor, params, start)
    _, dg = jax.jvp(lambda r, p: gradient(r, p, u), (rows, params), (d_rows, d_params))
    lam = relative_factors(rows, params.theta)
    eta = linear_predictor(rows, params.beta, random_effects(lam, u))
    _, W = score_and_weights(rows, eta, params.phi)
    return u, factor.solve(factor.factorise(factor.assemble(rows, lam, W)), dg)
