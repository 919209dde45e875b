"""Random effects of several factors as one vector: by factor, then column, then level."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.predictor import Effects
from jaxglmm.rows import Structure

_HALVED = 144  # size up to which a matrix is not halved (measured on CPU)


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


class Root(NamedTuple):
    """A symmetric positive definite matrix S = L L' by its inverse root."""

    upper: Array  # M = L^-T
    diagonal: Array  # of L


def root(matrix: Array, *, safe: bool) -> Root:
    """By halves: most of the work is in matrix products, which use all cores and depend on no
    other library's threads. NaN, or (`safe`) a stand-in as that of `cholesky`, where there is none.
    """
    found = _root(matrix)
    if not safe:
        return found
    bound = jnp.sqrt(1.0 + jnp.sum(jnp.abs(matrix), axis=1))
    fine = jnp.all(jnp.isfinite(found.upper))
    upper = jnp.where(fine, found.upper, jnp.diag(1.0 / bound))
    return Root(upper, jnp.where(fine, found.diagonal, bound))


def _root(matrix: Array) -> Root:
    """With S = [[A, B'], [B, C]], a = root of A and c = root of C - (B a)(B a)':

    M = [[a, -a (B a)' c], [0, c]].
    """
    n = matrix.shape[0]
    if n <= _HALVED:
        lower = jax.lax.linalg.cholesky(matrix, symmetrize_input=False)
        eye = jnp.eye(n, dtype=matrix.dtype)
        upper = jax.lax.linalg.triangular_solve(
            lower, eye, left_side=True, lower=True, transpose_a=True
        )
        return Root(upper, jnp.diagonal(lower))
    h = _half(n)
    a, first = _root(matrix[:h, :h])
    below = matrix[h:, :h] @ a
    c, second = _root(matrix[h:, h:] - below @ below.T)
    corner = -(a @ below.T) @ c
    upper = jnp.block([[a, corner], [jnp.zeros((n - h, h), matrix.dtype), c]])
    return Root(upper, jnp.concatenate([first, second]))


def root_solve(of: Root, right: Array) -> Array:
    """S^-1 right; `right` is a vector."""
    return of.upper @ (right @ of.upper)


def root_logdet(of: Root) -> Array:
    """log det S."""
    return 2.0 * jnp.sum(jnp.log(of.diagonal))


def root_inverse(of: Root) -> Array:
    """S^-1 = M M'."""
    return _outer(of.upper)


def _outer(upper: Array) -> Array:
    """M M' of an upper triangle: half of the product's work is with zeros, which halves leave out.

    Written as M M', not M'M: XLA's CPU products of a transposed left side take twice the time.
    """
    n = upper.shape[0]
    if n <= _HALVED:
        return upper @ upper.T
    h = _half(n)
    a, b, c = upper[:h, :h], upper[:h, h:], upper[h:, h:]
    corner = b @ c.T
    return jnp.block([[_outer(a) + b @ b.T, corner], [corner.T, _outer(c)]])


def _half(n: int) -> int:
    """About half of n, a multiple of 8."""
    return -(-n // 16) * 8


def logdet(lower: Array) -> Array:
    """log det(L L')."""
    return 2.0 * jnp.sum(jnp.log(jnp.diagonal(lower)))
