"""How far a parameter can go before the likelihood has fallen by so much: its profile, inverted.

With t(psi) a parameter (`straight`) in units of its standard error, what is sought is

    max (or min) t(psi)   subject to   l(psi) = c,      c = l_max - zeta^2 / 2,

where the signed root zeta of the profile's deviance has a given value (Venzon & Moolgavkar 1988,
Applied Statistics 37:87-94). One evaluation with its Hessian makes a step: with lambda = dl/dt on
the way, a = grad t and A = -(hess l - lambda hess t) the curvature of the Lagrangian, P the
projection beside a and T the direction along which t changes by one and the tangent space is left
alone (P A T = 0, a'T = 1),

    psi* = psi + (P A P)^+ g + T dt,
    l(t + dt) = l + g'(P A P)^+ g / 2 + lambda dt - k dt^2 / 2,     lambda = g'T, k = T'A T:

the maximum under the constraint, and the profile as a parabola, which says where it meets c.
Convergence is quadratic. A step is taken back, and shortened, where its end is farther from such a
maximum than a step can mend. All is in the coordinates x, psi = origin + root x, in which the
log-likelihood is about -|x|^2 / 2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.arrays import AnyArray
from jaxglmm.ascent.objective import AbstractObjective, Point, along
from jaxglmm.inference.straight import Chosen, edges, straight
from jaxglmm.predictor import Effects
from jaxglmm.restriction import Share
from jaxglmm.rows import Rows

GOING, FOUND, AT_EDGE, UNREACHED, LOST = range(5)
"""How a walk stands: it goes on; the level is met; the parameter has come to its bound, or goes on
without end, and the likelihood is still higher; no step is short enough."""

_MOST = 100  # steps
_RADIUS = 2.5  # of the first step, in standard errors
_FARTHEST = 1e3
_NEAR = 1.0  # squared distance from the constrained maximum that a step mends
_CLOSE = 1e-3  # of the last step, unseen: it misses by its square
_SETTLED = 1e-2  # share of the level's excess that a step may still add, at a bound
_EDGE = 1e-3  # distance from a bound, in standard errors, that is none
_SHARE = 0.8  # of the way to a bound that one step goes
_FLAT = 1e-6  # least curvature
_KICK = 0.3  # step along a direction of the wrong curvature, in its own units
_SHORTEST = 1e-6


class Frame(NamedTuple):
    """Where walks begin, and the units of their steps.

    Attributes:
        origin: free entries of psi near the maximum, off all points where parameters are even.
        u: the mode there, about.
        root: R R' is the inverse of the negative Hessian at the maximum, about.
    """

    origin: AnyArray
    u: Effects
    root: AnyArray


class Base(NamedTuple):
    """What one point says of the way."""

    t: Array
    level: Array  # log-likelihood at the constrained maximum
    slope: Array  # of the profile in t
    bend: Array
    decrement: Array  # squared distance to that maximum
    pull: Array  # the step to it, in x
    ahead: Array  # T, in x
    bent: Array  # the point is near a saddle


class Walk(NamedTuple):
    """State of a walk."""

    at: Point
    du: Effects
    kept: Any
    base: Base
    peak: Array  # l_max
    start: Array  # t at the origin is zero
    unit: Array  # standard error
    step: Array  # the next one, in x
    radius: Array
    code: Array
    iterations: Array


class Reached(NamedTuple):
    """The end of a walk.

    Attributes:
        psi: free entries.
        zeta: signed root of the deviance difference.
        gain: log-likelihood above that of the maximum which was met on the way.
        code: FOUND, AT_EDGE, UNREACHED or LOST.
        iterations: evaluations.
    """

    psi: AnyArray
    zeta: AnyArray
    gain: AnyArray
    code: AnyArray
    iterations: AnyArray


class Path(NamedTuple):
    """What is walked on, the same at every step."""

    rows: Rows
    objective: AbstractObjective
    share: Share | None
    frame: Frame


def begin(path: Path, chosen: Chosen) -> Walk:
    """At the origin, without evaluation."""
    psi, dtype = path.frame.origin, path.rows.dtype
    first = straight(path.rows, path.share, chosen, psi)
    zero, none = jnp.zeros((), dtype), jnp.zeros_like(psi)
    base = Base(zero, zero, zero, zero, zero, none, none, jnp.asarray(True))
    return Walk(
        at=path.objective.first(psi, path.frame.u),
        du=path.objective.uncurved(psi, path.frame.u).du,
        kept=path.objective.blank,
        base=base,
        peak=zero,
        start=first.value,
        unit=jnp.linalg.norm(path.frame.root.T @ first.gradient),
        step=none,
        radius=zero + _RADIUS,
        code=jnp.asarray(GOING),
        iterations=jnp.asarray(0),
    )


def unfinished(state: Walk) -> Array:
    """Whether a walk goes on."""
    return state.code == GOING


def advance(path: Path, chosen: Chosen, target: Array, state: Walk, live: Array) -> Walk:
    """One evaluation at the end of the planned step, and the plan of the next one.

    A lane that is not live takes no pass of the mode finder.
    """
    first = state.iterations == 0
    move = path.frame.root @ state.step
    promise = jnp.where(live, 0.0, jnp.nan).astype(move.dtype)
    guess = along(state.at.u, state.du, move)
    found = path.objective.evaluate(state.at.psi + move, guess, promise, state.kept)
    curved = path.objective.curve(found.point, found.pieces, jnp.asarray(True))
    base = _judge(path, chosen, state, found.point, curved.hessian)
    highest = base.level + jnp.where(base.bend > 0, 0.5 * base.slope**2 / base.bend, 0.0)
    peak = jnp.where(first, highest, state.peak)
    accept = first | _acceptable(state, found.point, base, peak - 0.5 * target**2)
    new = (found.point, curved.du, base)
    at, du, base = jax.tree.map(
        lambda a, b: jnp.where(accept, a, b), new, (state.at, state.du, state.base)
    )
    radius = _radius(state, base, accept)
    step, wanted = _plan(path, chosen, state, base, peak, target, radius)
    state = state._replace(at=at, du=du, base=base, kept=found.kept, peak=peak, radius=radius)
    code = _code(path, chosen, state, target, wanted)
    return state._replace(step=step, code=code, iterations=state.iterations + 1)


def end(path: Path, target: Array, state: Walk) -> Reached:
    """The last step taken unseen where the level is met."""
    found = state.code == FOUND
    step = jnp.where(found, state.step, jnp.where(state.base.bent, 0.0, state.base.pull))
    fall = jnp.maximum(state.peak - state.base.level, 0.0)
    return Reached(
        psi=state.at.psi + path.frame.root @ step,
        zeta=jnp.where(found, target, jnp.sign(target) * jnp.sqrt(2.0 * fall)),
        gain=jnp.maximum(state.at.value - state.peak, 0.0),
        code=state.code,
        iterations=state.iterations,
    )


def _judge(path: Path, chosen: Chosen, state: Walk, at: Point, hessian: Array) -> Base:
    root, here = path.frame.root, straight(path.rows, path.share, chosen, at.psi)
    g, a = root.T @ at.gradient, root.T @ here.gradient / state.unit
    square = a @ a
    beside = jnp.eye(a.shape[0], dtype=a.dtype) - jnp.outer(a, a) / square
    multiplier = (g @ a) / square
    A = root.T @ (multiplier / state.unit * here.hessian - hessian) @ root
    inner = beside @ A @ beside + jnp.outer(a, a) / square
    inner = 0.5 * (inner + inner.T)
    sound = jnp.all(jnp.isfinite(inner))
    values, vectors = jnp.linalg.eigh(jnp.where(sound, inner, jnp.eye(a.shape[0])))
    size = jnp.maximum(jnp.abs(values), _FLAT)
    wrong = values < -(_FLAT**0.5)
    pulled = vectors.T @ (beside @ g)
    away = jnp.where(pulled < 0, -1.0, 1.0) * _KICK * jnp.sqrt(size)
    pulled = jnp.where(wrong & (jnp.abs(pulled) < jnp.abs(away)), away, pulled)
    straight_on = a / square
    bent_back = vectors @ ((vectors.T @ (beside @ (A @ straight_on))) / size)
    ahead = straight_on - beside @ bent_back
    decrement = jnp.sum(pulled**2 / size)
    bent = jnp.any(wrong)
    return Base(
        t=(here.value - state.start) / state.unit,
        level=at.value + jnp.where(bent, 0.0, 0.5 * decrement),
        slope=g @ ahead,
        bend=ahead @ A @ ahead,
        decrement=jnp.where(sound & jnp.isfinite(at.value), decrement, jnp.nan),
        pull=beside @ (vectors @ (pulled / size)),
        ahead=ahead,
        bent=bent,
    )


def _acceptable(state: Walk, at: Point, base: Base, aim: Array) -> Array:
    """Whether a point is no farther from its constrained maximum than a step mends, and not below
    the aim by more than the way there was long; or, on the way from a point that is farther off or
    near a saddle, whether it is higher, but for what the parameter itself has moved."""
    old = state.base
    near = base.decrement <= _NEAR
    way = jnp.maximum(state.peak - aim, 1.0)
    onward = near & (base.level > aim - 4.0 * way)
    gain = at.value - state.at.value - old.slope * (base.t - old.t)
    higher = (gain > 0) & jnp.isfinite(base.decrement)
    return jnp.where(_is_off(old), higher, onward)


def _is_off(base: Base) -> Array:
    """Whether a point is not near a constrained maximum: the next step is one to there alone."""
    return base.bent | (base.decrement > _NEAR)


def _radius(state: Walk, base: Base, accept: Array) -> Array:
    length = jnp.linalg.norm(state.step)
    larger = jnp.where(base.decrement < 0.1 * _NEAR, 2.0 * length, state.radius)
    grown = jnp.minimum(jnp.maximum(state.radius, larger), _FARTHEST)
    return jnp.where(accept, grown, 0.25 * jnp.minimum(length, state.radius))


def _plan(
    path: Path,
    chosen: Chosen,
    state: Walk,
    base: Base,
    peak: Array,
    target: Array,
    radius: Array,
) -> tuple[Array, Array]:
    """The next step in x, and how far along t the level seems to be met."""
    way = jnp.sign(target)
    gap = base.level - (peak - 0.5 * target**2)
    slope = way * base.slope
    square = slope**2 + 2.0 * base.bend * gap
    below = jnp.sqrt(jnp.maximum(square, 0.0)) - slope
    meets = (square >= 0) & (below > 0)
    wanted = jnp.where(meets, 2.0 * gap / jnp.where(meets, below, 1.0), jnp.sign(gap) * radius)
    ahead = jnp.minimum(wanted, _SHARE * _room(path, chosen, state, base, way))
    ahead = jnp.where(_is_off(base), 0.0, ahead)
    pull = jnp.linalg.norm(base.pull)
    step = jnp.minimum(1.0, radius / jnp.maximum(pull, _SHORTEST)) * base.pull
    along_t = way * ahead * base.ahead
    long = jnp.linalg.norm(along_t)
    share = jnp.minimum(1.0, radius / jnp.maximum(long, _SHORTEST))
    return step + share * along_t, wanted


def _room(path: Path, chosen: Chosen, state: Walk, base: Base, way: Array) -> Array:
    """Standard errors to the bound ahead."""
    low, high = edges(path.rows, chosen)
    edge = jnp.where(way > 0, high, -low)
    return edge / state.unit - way * (base.t + state.start / state.unit)


def _code(path: Path, chosen: Chosen, state: Walk, target: Array, wanted: Array) -> Array:
    base, way = state.base, jnp.sign(target)
    gap = base.level - (state.peak - 0.5 * target**2)
    settled = ~base.bent & (base.decrement < _CLOSE**2) & (state.iterations > 0)
    found = settled & (jnp.abs(wanted) < _CLOSE)
    above = ~base.bent & (base.decrement < _SETTLED * gap) & (state.iterations > 0)
    edge = above & (_room(path, chosen, state, base, way) < _EDGE)
    # Approached without end, levels fall as exponentials do: by some multiple of slope times way.
    endless = -way * base.slope * jnp.abs(base.t) < 1e-3 * gap
    unreached = above & endless & (jnp.abs(base.t) > 1.0) & (base.bend < np.sqrt(_FLAT))
    lost = (state.radius < _SHORTEST) | (state.iterations >= _MOST)
    code = jnp.where(lost, LOST, GOING)
    code = jnp.where(unreached, UNREACHED, code)
    code = jnp.where(edge, AT_EDGE, code)
    return jnp.where(found, FOUND, code)
