"""Random effects of several factors as one vector: by factor, then column, then level."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.predictor import Effects
from jaxglmm.rows import Structure

_HALVED = 288  # size up to which a triangle is not halved (measured on CPU)


class Extent(NamedTuple):
    """The shape of one factor's effects."""

    num_columns: int
    num_levels: int


Groupings = tuple[Structure, ...] | tuple[Extent, ...]


def latent(groupings: tuple[Structure, ...]) -> tuple[Extent, ...]:
    """The shapes of the spherical effects u, where `groupings` themselves have those of b."""
    return tuple(Extent(g.num_latent, g.num_levels) for g in groupings)


def extents(a: Effects) -> tuple[Extent, ...]:
    """The shapes of these effects."""
    return tuple(Extent(*values.shape) for values in a)


def size(groupings: Groupings) -> int:
    """Number of random effects."""
    return sum(g.num_columns * g.num_levels for g in groupings)


def join(a: Effects) -> Array:
    """One vector."""
    return jnp.concatenate([values.ravel() for values in a])


def split(vector: Array, groupings: Groupings) -> Effects:
    """The inverse of `join`, for the last axis; (..., column, level) by factor."""
    parts, start = [], 0
    for g in groupings:
        stop = start + g.num_columns * g.num_levels
        shape = (*vector.shape[:-1], g.num_columns, g.num_levels)
        parts.append(vector[..., start:stop].reshape(shape))
        start = stop
    return tuple(parts)


def diagonal_blocks(matrix: Array, groupings: Groupings) -> Effects:
    """The blocks of one level each; (column, column, level) by factor."""
    blocks, start = [], 0
    for g in groupings:
        q, levels = g.num_columns, g.num_levels
        stop = start + q * levels
        part = matrix[start:stop, start:stop].reshape(q, levels, q, levels)
        blocks.append(jnp.einsum("iljl->ijl", part))
        start = stop
    return tuple(blocks)


def cholesky(matrix: Array, *, safe: bool) -> Array:
    """Lower Cholesky factor; where there is none, NaN or (`safe`) that of a diagonal matrix that
    dominates the one that failed (Gershgorin)."""
    lower = jax.lax.linalg.cholesky(matrix, symmetrize_input=False)
    if not safe:
        return lower
    bound = jnp.diag(jnp.sqrt(1.0 + jnp.sum(jnp.abs(matrix), axis=1)))
    return jnp.where(jnp.all(jnp.isfinite(lower)), lower, bound)


def solve(lower: Array, right: Array) -> Array:
    """(L L')^-1 right; `right` has one column or more."""
    x = jax.lax.linalg.triangular_solve(lower, right, left_side=True, lower=True)
    return jax.lax.linalg.triangular_solve(lower, x, left_side=True, lower=True, transpose_a=True)


def inverse(lower: Array) -> Array:
    """(L L')^-1 = M M' with M = L^-T."""
    return _outer(_inverse_transposed(lower))


def _inverse_transposed(lower: Array) -> Array:
    """L^-T, an upper triangle, by halves: most of the work is then in matrix products."""
    n = lower.shape[0]
    if n <= _HALVED:
        eye = jnp.eye(n, dtype=lower.dtype)
        return jax.lax.linalg.triangular_solve(
            lower, eye, left_side=True, lower=True, transpose_a=True
        )
    h = n // 2
    a, c = _inverse_transposed(lower[:h, :h]), _inverse_transposed(lower[h:, h:])
    b = -(a @ lower[h:, :h].T) @ c
    return jnp.block([[a, b], [jnp.zeros((n - h, h), lower.dtype), c]])


def _outer(upper: Array) -> Array:
    """M M' of an upper triangle: half of the product's work is with zeros, which halves leave out.

    Written as M M', not M'M: XLA's CPU products of a transposed left side take twice the time.
    """
    n = upper.shape[0]
    if n <= _HALVED:
        return upper @ upper.T
    h = n // 2
    a, b, c = upper[:h, :h], upper[:h, h:], upper[h:, h:]
    corner = b @ c.T
    return jnp.block([[_outer(a) + b @ b.T, corner], [corner.T, _outer(c)]])


def logdet(lower: Array) -> Array:
    """log det(L L')."""
    return 2.0 * jnp.sum(jnp.log(jnp.diagonal(lower)))
