"""Tails and moments of a law from its log-density alone, by sums or an integral.

The law has one peak, or two at the ends of a bounded support. Its probabilities need not add up to
one: both tails are divided by their sum.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from jaxglmm.families.inversion import most_counts
from jaxglmm.families.search import crossing, first_count, peak
from jaxglmm.families.summation import NUM_NODES, sum_rule
from jaxglmm.families.support import Line, TailFunction
from jaxglmm.tails import Tails, unit_rule

Density = Callable[[Array], Array]
"""log p(y), elementwise, for rows behind a first axis of y's own."""

_NEGLIGIBLE = 40.0  # the window ends where the density is exp(-40) of its peak
_INNER = 128


def count_mode(log_p: Density, first: Array, last: Array | None = None) -> Array:
    """The least count from which the density does not rise."""

    def falls(k: Array) -> Array:
        here, behind = log_p(jnp.stack([k, k + 1.0]))
        return ~(behind > here)

    return first_count(falls, first, _end(first, last))


def count_window(log_p: Density, first: Array, last: Array | None) -> tuple[Array, Array]:
    """The least and the greatest count that matter, within `first`, ..., `last` (None: no end)."""
    end = _end(first, last)
    mode = count_mode(log_p, first, last)
    heights = log_p(jnp.stack([mode, first, end]))
    level = (heights[0] if last is None else jnp.max(heights, axis=0)) - _NEGLIGIBLE
    # Both searches in one: from the first count up to the mode, and from there on.
    inside = jnp.asarray([True, False]).reshape(2, *[1] * first.ndim)
    bounds = first_count(
        lambda k: (log_p(k) >= level) == inside, jnp.stack([first, mode]), jnp.stack([mode, end])
    )
    return bounds[0], bounds[1] if last is None else jnp.where(heights[2] >= level, end, bounds[1])


def _end(first: Array, last: Array | None) -> Array:
    return jnp.full_like(first, most_counts(first.dtype)) if last is None else last


def count_tails(log_p: Density, first: Array, last: Array | None) -> TailFunction:
    """The tails of a law on first, first + 1, ..., last; all of the shape of `first`.

    Beyond the window as many counts are added up as a sum has terms.
    """
    low, high = count_window(log_p, first, last)

    def tails(y: Array) -> Tails:
        cut = jnp.clip(jnp.floor(y), first - 1.0, jnp.inf if last is None else last)
        nearby = NUM_NODES - 1.0
        begin = jnp.maximum(first, jnp.minimum(low, cut - nearby))
        stop = jnp.maximum(high, cut + nearby)
        stop = stop if last is None else jnp.minimum(stop, last)
        x, weight = sum_rule(
            jnp.stack([begin, jnp.maximum(cut + 1.0, low)]),
            jnp.stack([jnp.minimum(cut, jnp.maximum(high, begin)), stop]),
        )
        below, above = jnp.sum(weight * _exp(log_p(x)), axis=0)
        return below / (below + above), above / (below + above)

    return tails


def count_variance(log_p: Density, first: Array, last: Array | None) -> Array:
    """Var Y."""
    x, weight = sum_rule(*count_window(log_p, first, last))
    return _spread(x, weight * _exp(log_p(x)))


def line_tails(log_p: Density, on: Line, like: Array) -> TailFunction:
    """The tails of a law with a density on a line, and mass at its ends where it has atoms."""
    low, top, high = line_window(log_p, on, like)
    atoms = [_exp(log_p(jnp.full_like(like, end))) for end in on.atoms]

    def tails(y: Array) -> Tails:
        cut = jnp.where(y <= on.bottom, low, jnp.where(y >= on.top, high, on.place(y)))
        cut = jnp.clip(cut, low, high)
        # The density may have a corner at its peak: no rule goes across it.
        before, behind = jnp.minimum(cut, top), jnp.maximum(cut, top)
        start = jnp.stack([low + 0.0 * cut, before, cut, behind])
        width = jnp.stack([before, cut, behind, high + 0.0 * cut]) - start
        node, weight = unit_rule(width, _INNER)
        t = start + width * node
        parts = width * jnp.sum(weight * _exp(log_p(on.value(t)) + on.log_slope(t)), axis=0)
        below, above = parts[0] + parts[1], parts[2] + parts[3]
        for end, share in zip(on.atoms, atoms, strict=True):
            below = below + jnp.where(y >= end, share, 0.0)
            above = above + jnp.where(y >= end, 0.0, share)
        whole = below + above
        return below / whole, above / whole

    return tails


def line_variance(log_p: Density, on: Line, like: Array) -> Array:
    """Var Y."""
    low, top, high = line_window(log_p, on, like)
    start, width = jnp.stack([low, top]), jnp.stack([top - low, high - top])
    node, weight = unit_rule(width, _INNER)
    t = start + width * node
    values = width * weight * _exp(log_p(on.value(t)) + on.log_slope(t))
    ends = [jnp.full_like(like, end)[None] for end in on.atoms]
    whole = (-1, *like.shape)
    x = jnp.concatenate([on.value(t).reshape(whole), *ends])
    masses = [_exp(log_p(end)) for end in ends]
    return _spread(x, jnp.concatenate([values.reshape(whole), *masses]))


def line_window(log_p: Density, on: Line, like: Array) -> tuple[Array, Array, Array]:
    """Where on the line the density of t begins to matter, has its peak, and ceases to matter."""

    def height(t: Array) -> Array:
        return log_p(on.value(t)) + on.log_slope(t)

    ends = jnp.full_like(like, -on.reach), jnp.full_like(like, on.reach)
    top, highest = peak(height, *ends)
    side = jnp.asarray([1.0, -1.0], like.dtype).reshape(2, *[1] * like.ndim)

    def rise(t: Array) -> Array:
        """Positive at the peak, negative where the density does not matter, on either side."""
        return side * jnp.where(height(t) >= highest - _NEGLIGIBLE, 1.0, -1.0)

    low, high = crossing(rise, jnp.stack([ends[0], top]), jnp.stack([top, ends[1]]))
    return low, top, high


def _exp(log_p: Array) -> Array:
    """The density; a NaN is outside the support."""
    return jnp.exp(jnp.where(jnp.isnan(log_p), -jnp.inf, log_p))


def _spread(x: Array, p: Array) -> Array:
    whole = jnp.sum(p, axis=0)
    centre = jnp.sum(x * p, axis=0) / whole
    return jnp.sum((x - centre) ** 2 * p, axis=0) / whole
