"""Elementwise searches on the line and among the whole numbers."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array, lax

_GOLDEN = 0.5 * (math.sqrt(5.0) - 1.0)
_CUTS = 64  # leave 1e-13 of the interval


def first_count(holds: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """The least whole number from `low` on for which `holds`, which stays so from there on.

    `high` if there is none below it. Steps double until it holds, and are then halved.
    """

    def go_on(state: tuple[Array, ...]) -> Array:
        below, above, _, _ = state
        return jnp.any(above - below > 1.0)

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        below, above, stride, found = state
        middle = jnp.floor(0.5 * (below + above))
        at = jnp.where(found, middle, jnp.minimum(below + stride, above - 1.0))
        yes = holds(at) & (above - below > 1.0)
        no = ~yes & (above - below > 1.0)
        return jnp.where(no, at, below), jnp.where(yes, at, above), 2.0 * stride, found | yes

    low, high = jnp.broadcast_arrays(low, high)
    start = (low - 1.0, high, jnp.ones_like(low), jnp.zeros(low.shape, bool))
    return lax.while_loop(go_on, step, start)[1]


def crossing(f: Callable[[Array], Array], low: Array, high: Array) -> Array:
    """Where the increasing function f changes its sign, by Chandrupatla's method.

    Inverse quadratic interpolation where three points make it safe, else bisection. `low` where f
    is not below zero there, `high` where it is not above. f takes points behind a further first
    axis. Chandrupatla (1997), Adv. Engin. Software 28:145-149.
    """
    tolerance = 4.0 * jnp.finfo(low.dtype).eps

    def width(a: Array, b: Array) -> Array:
        return tolerance * (1.0 + jnp.minimum(jnp.abs(a), jnp.abs(b))) / jnp.abs(b - a)

    def go_on(state: tuple[Array, ...]) -> Array:
        a, b, _, fa, fb, _, _ = state
        return jnp.any((width(a, b) < 0.5) & (fa != 0.0) & (fb != 0.0))

    def step(state: tuple[Array, ...]) -> tuple[Array, ...]:
        a, b, c, fa, fb, fc, t = state
        live = (width(a, b) < 0.5) & (fa != 0.0) & (fb != 0.0)
        x = a + t * (b - a)
        fx = f(x)
        same = (fx > 0.0) == (fa > 0.0)
        third, f_third = jnp.where(same, a, b), jnp.where(same, fa, fb)
        other, f_other = jnp.where(same, b, a), jnp.where(same, fb, fa)
        new = (x, other, third, fx, f_other, f_third, _share(x, other, third, fx, f_other, f_third))
        least = width(x, other)
        new = (*new[:-1], jnp.clip(new[-1], jnp.minimum(least, 0.5), 1.0 - jnp.minimum(least, 0.5)))
        return tuple(jnp.where(live, v, old) for v, old in zip(new, state, strict=True))

    first, last = f(jnp.stack([low, high]))
    above, below = first >= 0.0, last <= 0.0
    # No search where the sign does not change.
    begin = jnp.where(above | below, high, low)
    start = (high, begin, begin, last, first, first, jnp.full_like(low, 0.5))
    a, b, _, fa, fb, _, _ = lax.while_loop(go_on, step, start)
    found = jnp.where(jnp.abs(fa) <= jnp.abs(fb), a, b)
    return jnp.where(above, low, jnp.where(below, high, found))


def _share(a: Array, b: Array, c: Array, fa: Array, fb: Array, fc: Array) -> Array:
    """Where between a and b the inverse quadratic through the three points is zero, else half."""
    xi, ratio = (a - b) / (c - b), (fa - fb) / (fc - fb)
    safe = (ratio**2 < xi) & ((1.0 - ratio) ** 2 < 1.0 - xi)
    guess = fa / (fb - fa) * fc / (fb - fc) + (c - a) / (b - a) * fa / (fc - fa) * fb / (fc - fb)
    return jnp.where(safe & jnp.isfinite(guess), guess, 0.5)


def peak(f: Callable[[Array], Array], low: Array, high: Array) -> tuple[Array, Array]:
    """The maximum of a function with one between `low` and `high`, by golden section: x and f(x).

    NaN counts as minus infinity; between two such points the lower half is kept. f takes points
    behind a further first axis.
    """

    def value(x: Array) -> Array:
        fx = f(x)
        return jnp.where(jnp.isnan(fx), -jnp.inf, fx)

    def step(_: int, state: tuple[Array, ...]) -> tuple[Array, ...]:
        low, high, x, y, fx, fy = state
        left = fx >= fy
        low, high = jnp.where(left, low, x), jnp.where(left, y, high)
        fresh = jnp.where(left, high - _GOLDEN * (high - low), low + _GOLDEN * (high - low))
        f_fresh = value(fresh)
        x, y = jnp.where(left, fresh, y), jnp.where(left, x, fresh)
        fx, fy = jnp.where(left, f_fresh, fy), jnp.where(left, fx, f_fresh)
        return low, high, x, y, fx, fy

    low, high = jnp.broadcast_arrays(low, high)
    x, y = high - _GOLDEN * (high - low), low + _GOLDEN * (high - low)
    fx, fy = value(jnp.stack([x, y]))
    low, high, x, y, fx, fy = lax.fori_loop(0, _CUTS, step, (low, high, x, y, fx, fy))
    return jnp.where(fx >= fy, x, y), jnp.maximum(fx, fy)
