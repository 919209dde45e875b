"""Data in which most groups have no event.

A level whose responses are all at one end of the law's support (no count, no success, the lowest
category) is the better explained the further out its effect, and the weight of its rows vanishes
there. Where most levels are such, Laplace's log-likelihood can have a maximum at a variance of zero
and a higher one that the few others make.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from jaxglmm.families import AbstractFamily
from jaxglmm.predictor import reduce
from jaxglmm.rows import Rows

_MOST = 0.75
"""Of the levels, with a margin: of 1,718 data sets of nine designs, with two events in a hundred
rows to two in ten, 71 had a higher maximum than that at zero, all of them with 85 % or more."""

_LOWEST = {"count": 0.0, "positive_count": 1.0, "binomial": 0.0, "ordinal": 0.0}


def disperses(family: AbstractFamily) -> bool:
    """Whether the law has a dispersion of its own to estimate."""
    return family.num_phi > family.num_thresholds or "disp" in family.components


def can_be_sparse(rows: Rows) -> bool:
    """Whether these are counts, numbers of successes or categories, and the law has nothing of its
    own for zeros."""
    family = rows.family
    return family.support in _LOWEST and "zi" not in family.components and rows.num_theta > 0


def is_sparse(rows: Rows) -> Array:
    """Whether all responses of most levels of some factor are at one end of the support."""
    found = jnp.asarray(False)
    counted = rows.multiplier > 0
    if rows.family.support == "binomial":
        counted = counted & (rows.weight > 0)  # a row without trials says nothing
    ends = [counted & (rows.y != end) for end in _ends(rows)]
    for k in range(len(rows.groupings)):
        present = _any(rows, k, counted)
        inside = present
        for beyond in ends:
            inside = inside & _any(rows, k, beyond)
        most = _MOST * jnp.sum(present)
        found = found | (jnp.sum(present & ~inside) >= most)
    return found


def _ends(rows: Rows) -> tuple[Array | float, ...]:
    """The ends of the support where responses gather, by row or of all."""
    lowest = _LOWEST[rows.family.support]
    if rows.family.support == "binomial":
        return lowest, rows.weight
    return (lowest, float(rows.family.num_thresholds)) if rows.family.num_thresholds else (lowest,)


def _any(rows: Rows, k: int, which: Array) -> Array:
    """Whether some row of each level of factor k is one of these."""
    return reduce(rows, k, which.astype(rows.dtype)) > 0
