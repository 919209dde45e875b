"""Quantiles from the two tails of a law."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.families.search import crossing, first_count
from jaxglmm.families.support import TailFunction, line

_ROUNDING = 1000  # units in the last place by which a tail may miss a probability it is to reach


def most_counts(dtype: np.dtype) -> float:
    """Whole numbers up to here differ from their neighbours."""
    return 2.0 ** jnp.finfo(dtype).nmant


def count_quantile(tails: TailFunction, p: Array, first: Array, last: Array | None) -> Array:
    """The least y = first, first + 1, ..., last with P(Y <= y) >= p; last None: no end.

    The comparison is made in the smaller tail, and forgives rounding. Counts that are not told
    apart from their neighbours, beyond 2^52 in double precision, are infinite.
    """
    eps = jnp.finfo(p.dtype).eps
    slack = _ROUNDING * eps

    def reached(y: Array) -> Array:
        below, above = tails(y)
        upper = above <= (1.0 - p) * (1.0 + slack) + 2.0 * eps
        return jnp.where(p < 0.5, below >= p * (1.0 - slack), upper)

    end = jnp.asarray(most_counts(p.dtype) if last is None else last, p.dtype)
    y = first_count(reached, first, jnp.broadcast_to(end, p.shape))
    if last is None:
        y = jnp.where((p == 1.0) | (y == end), jnp.inf, y)
    return _of_probability(p, y)


def line_quantile(tails: TailFunction, p: Array, support: str) -> Array:
    """y with P(Y <= y) = p on the real line, its positive half or the unit interval.

    Where the law has mass at an end of the support the quantile may be that end.
    """
    on = line(support, p.dtype)

    def excess(t: Array) -> Array:
        below, above = tails(on.value(t))
        return jnp.where(p < 0.5, below - p, (1.0 - p) - above)

    t = crossing(excess, jnp.full_like(p, -on.reach), jnp.full_like(p, on.reach))
    y = jnp.where((t <= -on.reach) | (p == 0.0), on.bottom, on.value(t))
    return _of_probability(p, jnp.where((t >= on.reach) | (p == 1.0), on.top, y))


def _of_probability(p: Array, y: Array) -> Array:
    return jnp.where((p >= 0.0) & (p <= 1.0), y, jnp.nan)
