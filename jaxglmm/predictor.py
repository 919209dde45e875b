"""The linear predictor and its transpose: eta = X beta + Z b + offset, b = Lambda(theta) u.

Random effects are a tuple with one array of shape (column, level) per grouping factor. A linear
predictor is a tuple with one (slot, chunk) array per predictor of the law.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsl
from jax import Array

from jaxglmm.rows import Rows

Effects = tuple[Array, ...]
Predictors = tuple[Array, ...]


def expand(rows: Rows, k: int, values: Array) -> Array:
    """Values of the levels of factor k, shape (level,), as seen by the rows (broadcastable)."""
    if k == 0:
        return (values if rows.one_to_one else values[rows.codes[0]])[None, :]
    return values[rows.codes[k]]


def reduce(rows: Rows, k: int, values: Array) -> Array:
    """Sums of row values over the levels of factor k: the transpose of `expand`."""
    num_levels = rows.groupings[k].num_levels
    if k > 0:
        return jax.ops.segment_sum(values.ravel(), rows.codes[k].ravel(), num_levels)
    # A product with ones is faster than a reduction (CPU, 20 x 50,000: 0.26 against 4 ms).
    sums = jnp.ones(values.shape[0], values.dtype) @ values
    if rows.one_to_one:
        return sums
    return jax.ops.segment_sum(sums, rows.codes[0], num_levels, indices_are_sorted=True)


def relative_factors(rows: Rows, theta: Array) -> tuple[Array, ...]:
    """Lambda of each grouping factor, shape (column, column): its terms' L on the diagonal."""
    factors, start = [], 0
    for grouping in rows.groupings:
        blocks = []
        for term in grouping.terms:
            stop = start + term.covariance.num_theta
            blocks.append(term.covariance.factor(theta[start:stop]))
            start = stop
        factors.append(blocks[0] if len(blocks) == 1 else jsl.block_diag(*blocks))
    return tuple(factors)


def random_effects(factors: tuple[Array, ...], u: Effects) -> Effects:
    """b = Lambda u."""
    return tuple(factor @ values for factor, values in zip(factors, u, strict=True))


def random_part(rows: Rows, b: Effects) -> Predictors:
    """Z b for every linear predictor."""
    parts = [jnp.zeros((1, 1), rows.dtype) for _ in range(rows.family.num_predictors)]
    for k, grouping in enumerate(rows.groupings):
        for column, a in enumerate(grouping.predictors):
            parts[a] = parts[a] + rows.Z[k][column] * expand(rows, k, b[k][column])
    return tuple(parts)


def fixed_part(rows: Rows, beta: Array) -> Predictors:
    """X beta + offset for every linear predictor."""
    parts = []
    for a in range(rows.family.num_predictors):
        columns = [j for j, predictor in enumerate(rows.predictors) if predictor == a]
        every = len(columns) == rows.num_fixed
        x = rows.X if every else rows.X[jnp.asarray(columns, int)]
        coefficients = beta if every else beta[jnp.asarray(columns, int)]
        part = jnp.tensordot(coefficients, x, axes=1)
        parts.append(part + rows.offset if a == 0 else part)
    return tuple(parts)


def linear_predictor(rows: Rows, beta: Array, b: Effects) -> Predictors:
    """eta of every linear predictor, shape (slot, chunk) each."""
    fixed, random = fixed_part(rows, beta), random_part(rows, b)
    return tuple(f + r for f, r in zip(fixed, random, strict=True))


def transpose_random(rows: Rows, r: Predictors) -> Effects:
    """Z' r, the gradient in b of sum(r * eta)."""
    return tuple(
        jnp.stack(
            [reduce(rows, k, rows.Z[k][column] * r[a]) for column, a in enumerate(g.predictors)]
        )
        for k, g in enumerate(rows.groupings)
    )
