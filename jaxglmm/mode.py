"""The conditional mode of the random effects: u maximises log p(y | u) - |u|^2 / 2.

Newton's method with step halving, one derivative pass an iteration. A step is judged by the slope
along it at its end, never by the objective (the log-density costs more than its derivatives): a
component of H (a level of the only grouping factor, say) whose slope has turned against it by more
than `_OVERSHOOT` of what it was goes back half way, all others move on. Plain Newton with a cap on
the step 2-cycles on about 1 in 700 easy data sets. With the fixed effects among the unknowns all
components are coupled: they go back only if their slopes have turned in sum, and nobody moves on
before that is mended.

The mode is differentiable to any order by the implicit function theorem: with the gradient
g(u, params) = Lambda' Z' score - u,

    0 = g(u, params)   =>   du = H^-1 (dg at fixed u).
"""

from __future__ import annotations

from collections.abc import Callable
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
    shrunk,
    transpose_lambda,
    transpose_random,
    weigh,
)
from jaxglmm.rows import Rows

_OVERSHOOT = 0.9
_MAX_ITERATIONS = 100
_SLOW = 0.2  # steps that shrink less with a kept factor cost more than a new one
_FARTHEST = 2.0  # of a step in the logarithm of a dispersion or the logit of a probability
_LOST = 30  # passes after which a point outside the law's domain is given up


class Kept(NamedTuple):
    """A factor of H at an earlier point, and whether it still serves."""

    factored: Any
    usable: Array


class _State(NamedTuple):
    u: Effects  # current point
    step: Effects  # the move that led here
    slope: Array  # slope along `step` where it began, (component,)
    total: Array  # g' H^-1 g at the last point judged, a scalar in log-likelihood units
    left: Array  # length of the error that the last step left
    kept: Any  # a `Kept` where the factor keeps, else nothing
    iteration: Array


def zeros(rows: Rows) -> Effects:
    """u = 0, and with it a beta inside."""
    shapes = [(g.num_latent, g.num_levels) for g in rows.groupings]
    if rows.fixed_inside:
        shapes.append((len(rows.inside), 1))
    return tuple(jnp.zeros(shape, rows.dtype) for shape in shapes)


def near(rows: Rows, factor: AbstractFactor, params: Params, u: Effects) -> Effects:
    """Where the search for the mode begins: at u; with a link whose mean is not monotone over the
    whole line, at the effects that the transformed responses eta* ask for, H^-1 Lambda' Z' (score +
    W (eta* - X beta)) with all at eta*.

    There eta = 0 is a barrier to every row with a response above zero, and the side where the
    search begins is the one where it ends. (Poisson with a square root, 300 rows in 15 groups: 9
    in log-likelihood.)
    """
    family = rows.family
    if family.link.is_monotone:
        return u
    lam, fixed = relative_factors(rows, params.theta), fixed_part(rows, params.beta)
    there = (family.link.predictor(family.initial_mean(rows.y, rows.weight)), *fixed[1:])
    s, W = score_and_weights(rows, there, params.phi)
    pulls = plus(s, weigh(W, minus(there, fixed)))
    pulls = tuple(jnp.where(jnp.isfinite(p), p, 0.0) for p in pulls)
    factored = factor.factorise_safely(factor.assemble(rows, lam, W))
    found = factor.solve(factored, transpose_lambda(lam, transpose_random(rows, pulls)))
    return tuple(jnp.where(jnp.isfinite(a), a, b) for a, b in zip(found, u, strict=True))


def predictor_at(rows: Rows, params: Params, u: Effects) -> Predictors:
    """eta of every linear predictor at parameters and effects."""
    b = random_effects(relative_factors(rows, params.theta), u)
    return linear_predictor(rows, params.beta, b)


def gradient(rows: Rows, params: Params, u: Effects) -> Effects:
    """d/du of log p(y | u) - |u|^2 / 2."""
    lam = relative_factors(rows, params.theta)
    eta = linear_predictor(rows, params.beta, random_effects(lam, u))
    return penalised_gradient(rows, lam, score(rows, eta, params.phi), u)


def penalised_gradient(
    rows: Rows, lam: tuple[Array, ...], score_: Predictors, u: Effects
) -> Effects:
    """Lambda' Z' score - u (beta inside has no prior to pull it back)."""
    pulled = transpose_lambda(lam, transpose_random(rows, score_))
    return minus(pulled, shrunk(rows, u))


def tight(rows: Rows) -> float:
    """Tolerance of `search` that leaves u at rounding level.

    The square of a step's length can fall to the sum of squared rounding errors, and its root
    with it: far below eps ** 0.75.
    """
    return float(jnp.finfo(rows.dtype).eps) ** 0.75


def search(
    rows: Rows,
    factor: AbstractFactor,
    params: Params,
    start: Effects,
    tolerance: Array,
    kept: Kept | None = None,
) -> tuple[Effects, Array, Array]:
    """Newton's method from `start` until the error left in u falls below the tolerance.

    Returns the mode, the number of derivative passes and an estimate of that error's length in
    units of the conditional standard deviation. A step from u has the length sqrt(d),
    d = g' H^-1 g. With H taken at u convergence is quadratic, and the step leaves an error of the
    order of d. With an earlier H (`kept`, for factors that are dear) it is linear: steps shrink by
    some r each, and one leaves sqrt(d) r / (1 - r).
    """
    if not start:
        return start, jnp.asarray(0), jnp.zeros((), rows.dtype)
    lam = relative_factors(rows, params.theta)
    fixed = fixed_part(rows, params.beta)

    def factorise(W: tuple[Predictors, ...]) -> Any:
        return factor.factorise_safely(factor.assemble(rows, lam, W))

    def body(state: _State) -> _State:
        u = state.u
        random = random_part(rows, random_effects(lam, u))
        eta = plus(fixed, random)
        s, W = score_and_weights(rows, eta, params.phi)
        g = penalised_gradient(rows, lam, s, u)
        factored, fresh = (
            _factor(factorise, W, state.kept) if factor.keeps else (factorise(W), True)
        )
        newton, whole = _bounded(rows, lam, factor.solve(factored, g))
        along, decrement = factor.inner(rows, g, state.step), factor.inner(rows, g, newton)
        back = _turned(along, state.slope)
        waits = jnp.asarray(False)
        if factor.coupled:
            # One component's step can turn another's slope: judge their sum, then each. Those in
            # order wait, as Newton's step for one depends on where all others are.
            # Where that does not help at once, all go back: one that has gone too far turns others.
            together = _turned(jnp.sum(along), jnp.sum(state.slope))
            again = (state.iteration > 1) & ~jnp.isfinite(state.total)
            back = together & (back | ~jnp.any(back) | again)
            waits = together
        back = back | ~jnp.isfinite(decrement)
        halved = factor.per_component(rows, jnp.full_like(state.slope, -0.5), state.step)
        ahead = tuple(jnp.where(waits, 0.0, d) for d in newton)
        step = _select(rows, factor, back, halved, ahead)
        moved = plus(u, step)
        # A component sent back keeps looking along the same direction from the same origin.
        kept_step = tuple(jnp.where(waits, d, e) for d, e in zip(state.step, newton, strict=True))
        onward = _select(rows, factor, back, tuple(-d for d in step), kept_step)
        total = jnp.sum(jnp.where(back, jnp.inf, jnp.abs(decrement)))
        shrinks = jnp.sqrt(jnp.minimum(total / state.total, 0.99))
        known = jnp.isfinite(state.total)  # the first step tells nothing
        shrinks = jnp.where(known, shrinks, 0.5)
        stale = jnp.sqrt(total) * shrinks / (1.0 - shrinks)
        lost = (state.iteration >= _LOST) & ~jnp.all(jnp.isfinite(decrement))
        left = jnp.where(fresh, total, jnp.where(jnp.isfinite(total), stale, total))
        left = jnp.where(whole, left, jnp.inf)
        return _State(
            u=moved,
            step=onward,
            slope=jnp.where(back, 0.5 * state.slope, jnp.where(waits, state.slope, decrement)),
            total=jnp.where(jnp.any(back), jnp.inf, total),
            left=jnp.where(lost, -jnp.inf, left),
            kept=Kept(factored, ~jnp.any(back) & (fresh | ~known | (shrinks < _SLOW)))
            if factor.keeps
            else (),
            iteration=state.iteration + 1,
        )

    def unfinished(state: _State) -> Array:
        return (state.left > tolerance) & (state.iteration < _MAX_ITERATIONS)

    none = factor.inner(rows, start, start) * 0.0
    infinite = jnp.asarray(jnp.inf, rows.dtype)
    if factor.keeps and kept is None:
        kept = no_factor(rows, factor)
    state = _State(
        start, start, none, infinite, infinite, kept if factor.keeps else (), jnp.asarray(0)
    )
    state = jax.lax.while_loop(unfinished, body, state)
    return state.u, state.iteration, state.left


def _bounded(rows: Rows, lam: tuple[Array, ...], step: Effects) -> tuple[Effects, Any]:
    """A step no longer than `_FARTHEST` in every linear predictor behind the first, and whether
    that is the whole one.

    These are logarithms and logits, and no law is log-concave in them and the first together: where
    H is hardly positive definite a step may lead to dispersions of exp(-80).
    """
    if rows.family.num_predictors == 1:
        return step, True
    moved = random_part(rows, random_effects(lam, step))[1:]
    counts = rows.multiplier > 0
    longest = jnp.max(jnp.stack([jnp.max(jnp.where(counts, jnp.abs(d), 0.0)) for d in moved]))
    share = jnp.where(longest > _FARTHEST, _FARTHEST / longest, 1.0)
    return tuple(share * part for part in step), share == 1.0


def no_factor(rows: Rows, factor: AbstractFactor) -> Any:
    """A `Kept` that is of no use yet; nothing for factors that are made anew each time."""
    if not factor.keeps:
        return ()
    axes = range(rows.family.num_predictors)

    def shape() -> Any:
        theta = jnp.zeros((rows.num_theta,), rows.dtype)
        W = tuple(tuple(rows.y for _ in axes) for _ in axes)
        return factor.factorise(factor.assemble(rows, relative_factors(rows, theta), W))

    zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(shape))
    return Kept(zeros, jnp.asarray(False))


def _factor(factorise: Callable[[Any], Any], W: Any, kept: Kept) -> tuple[Any, Array]:
    """The kept factor while it is of use, else that of W; and whether it is the latter."""
    factored = jax.lax.cond(kept.usable, lambda: kept.factored, lambda: factorise(W))
    return factored, ~kept.usable


def _turned(along: Array, slope: Array) -> Array:
    """Whether the slope at the end of a step has turned against that at its beginning.

    At rounding level a slope has no sign to trust.
    """
    judged = slope > 100 * jnp.finfo(slope.dtype).eps
    return judged & ~(along > -_OVERSHOOT * slope)


def _select(rows: Rows, factor: AbstractFactor, which: Array, yes: Effects, no: Effects) -> Effects:
    """Component by component, NaN in the branch not taken staying out."""
    ones = tuple(jnp.ones_like(v) for v in yes)
    mask = factor.per_component(rows, which.astype(ones[0].dtype), ones)
    return tuple(jnp.where(m > 0.5, a, b) for m, a, b in zip(mask, yes, no, strict=True))


def mode_at(rows: Rows, factor: AbstractFactor, params: Params) -> Effects:
    """`find_mode` from a guess of its own."""
    return find_mode(rows, factor, params, near(rows, factor, params, zeros(rows)))


@jax.custom_jvp
def find_mode(rows: Rows, factor: AbstractFactor, params: Params, start: Effects) -> Effects:
    """The mode of u, differentiable in `rows` and `params` to any order; `start` is a guess."""
    return search(rows, factor, params, start, jnp.asarray(tight(rows), rows.dtype))[0]


@find_mode.defjvp
def _find_mode_jvp(primals: tuple[Any, ...], tangents: tuple[Any, ...]) -> tuple[Effects, Effects]:
    rows, factor, params, start = primals
    d_rows, _, d_params, _ = tangents
    u = find_mode(rows, factor, params, start)
    _, dg = jax.jvp(lambda r, p: gradient(r, p, u), (rows, params), (d_rows, d_params))
    lam = relative_factors(rows, params.theta)
    eta = linear_predictor(rows, params.beta, random_effects(lam, u))
    _, W = score_and_weights(rows, eta, params.phi)
    return u, factor.solve(factor.factorise(factor.assemble(rows, lam, W)), dg)
