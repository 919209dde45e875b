"""Fixed effects among the inner variables of which the rows that count tell nothing.

Where the responses of a level are missing its column of X is zero in all rows that are left, or one
of several that depend on each other: S of `factor.bordered` would be singular, the mode no point.
Such columns are taken for columns that are not free. The maximum in all else is that of the model
without them.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm import curvature
from jaxglmm.ascent.fixed import information_of
from jaxglmm.rows import Rows


def told_of(rows: Rows) -> Array:
    """Of which columns of X the rows that count tell beside earlier ones, shape (fixed,); true of
    those that are parameters, and of those that are not free, of which nothing is to be told."""
    if not rows.fixed_inside:
        return jnp.ones(rows.X.shape[:1], bool)
    counted = ((rows.multiplier > 0) & (rows.weight > 0)).astype(rows.dtype)
    gram = information_of(rows.random_only, (counted,) * rows.family.num_predictors)
    outside = np.isin(np.arange(gram.shape[0]), rows.outside)
    return curvature.independent(jax.lax.stop_gradient(gram)) | outside


def within(rows: Rows, told: Array | None) -> Rows:
    """The rows in which columns that are not told are not free; as they are for None."""
    return rows if told is None else dataclasses.replace(rows, free=rows.free & told)
