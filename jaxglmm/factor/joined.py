"""Random effects of several factors as one vector: by factor, then column, then level."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.factor import small, wide
from jaxglmm.predictor import Effects
from jaxglmm.rows import UNROLLED, Structure

_HALVED = 144  # size up to which a matrix is not halved (measured on CPU)


class Extent(NamedTuple):
    """The shape of one factor's effects."""

    num_columns: int
    num_levels: int


Groupings = tuple[Structure, ...] | tuple[Extent, ...]


def given(groupings: tuple[Structure, ...]) -> tuple[Extent, ...]:
    """The shapes of the effects b."""
    return tuple(Extent(g.num_columns, g.num_levels) for g in groupings)


def latent(groupings: tuple[Structure, ...]) -> tuple[Extent, ...]:
    """The shapes of the spherical effects u."""
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


def mix(
    M: Array,
    factors: tuple[Array, ...],
    groupings: tuple[Structure, ...],
    *,
    outward: bool = False,
) -> Array:
    """M Lambda over the effects along the last axis (M Lambda' if `outward`)."""
    parts = split(M, latent(groupings) if outward else given(groupings))
    mixed = [_mix(v, L if outward else L.T) for v, L in zip(parts, factors, strict=True)]
    return jnp.concatenate([v.reshape(*M.shape[:-1], -1) for v in mixed], axis=-1)


def _mix(v: Array, T: Array) -> Array:
    """T v for the columns, v being (..., column, level).

    Of many columns as a product for each entry of the leading axes: for one of all, XLA's CPU
    would transpose v there and back, which takes ten times as long.
    """
    if T.shape[1] <= UNROLLED:
        return jnp.einsum("...il,ji->...jl", v, T)
    flat = v.reshape(-1, *v.shape[-2:])
    product = wide.matmul(jnp.broadcast_to(T, (flat.shape[0], *T.shape)), flat)
    return product.reshape(*v.shape[:-2], *product.shape[1:])


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


def symmetric_product(X: Array, Y: Array) -> Array:
    """X Y', known to be symmetric: of a large one three of its four blocks are computed."""
    half = X.shape[0] // 2
    if half <= _HALVED:
        return X @ Y.T
    first, rest = X[:half] @ Y[:half].T, X[half:] @ Y.T
    return jnp.concatenate([jnp.concatenate([first, rest[:, :half].T], axis=1), rest])


def cholesky(matrix: Array, *, safe: bool) -> Array:
    """Lower Cholesky factor; where there is none, NaN or (`safe`) that of a diagonal matrix that
    dominates the one that failed (Gershgorin)."""
    lower = _written_out(matrix) if _is_small(matrix) else _of_lapack(matrix)
    if not safe:
        return lower
    bound = jnp.diag(jnp.sqrt(1.0 + jnp.sum(jnp.abs(matrix), axis=1)))
    return jnp.where(jnp.all(jnp.isfinite(lower)), lower, bound)


def _is_small(matrix: Array) -> bool:
    return 0 < matrix.shape[0] <= UNROLLED


def _of_lapack(matrix: Array) -> Array:
    return jax.lax.linalg.cholesky(matrix, symmetrize_input=False)


def _written_out(matrix: Array) -> Array:
    """Of a small matrix entry by entry: LAPACK takes those of a batch one by one."""
    n = matrix.shape[0]
    rows = small.cholesky([[matrix[i, j] for j in range(i + 1)] for i in range(n)], safe=False)
    none = jnp.zeros((), matrix.dtype)
    lower = jnp.stack([jnp.stack([*rows[i], *[none] * (n - 1 - i)]) for i in range(n)])
    return jnp.where(jnp.all(jnp.diagonal(lower) > 0), lower, jnp.nan)


def solve_lower(lower: Array, right: Array) -> Array:
    """L^-1 right; `right` has one column or more."""
    if _is_small(lower):
        return small.solve_lower(_entries(lower), right)
    return jax.lax.linalg.triangular_solve(lower, right, left_side=True, lower=True)


def _entries(lower: Array) -> list[list[Array]]:
    return [[lower[i, j] for j in range(i + 1)] for i in range(lower.shape[0])]


def solve(lower: Array, right: Array) -> Array:
    """(L L')^-1 right; `right` has one column or more."""
    x = solve_lower(lower, right)
    if _is_small(lower):
        return small.solve_upper(_entries(lower), x)
    return jax.lax.linalg.triangular_solve(lower, x, left_side=True, lower=True, transpose_a=True)


class Inverse(NamedTuple):
    """A symmetric positive definite matrix S = L L' by its inverse."""

    matrix: Array  # S^-1
    diagonal: Array  # of L


def invert(matrix: Array, *, safe: bool) -> Inverse:
    """S^-1; NaN, or (`safe`) a stand-in as that of `cholesky`, where there is no factor.

    Large matrices by halves: nearly all of the work is then in XLA's matrix products, two thirds of
    that of a factor and its inverse. LAPACK, which ends them, is quickest with one thread (`blas`).
    """
    found = _by_halves(matrix)
    if not safe:
        return found
    bound = jnp.sqrt(1.0 + jnp.sum(jnp.abs(matrix), axis=1))
    fine = jnp.all(jnp.isfinite(found.matrix))
    stand_in = jnp.diag(1.0 / bound**2)
    return Inverse(jnp.where(fine, found.matrix, stand_in), jnp.where(fine, found.diagonal, bound))


def _by_lapack(matrix: Array) -> Inverse:
    lower = jax.lax.linalg.cholesky(matrix, symmetrize_input=False)
    eye = jnp.eye(matrix.shape[0], dtype=matrix.dtype)
    upper = jax.lax.linalg.triangular_solve(
        lower, eye, left_side=True, lower=True, transpose_a=True
    )
    return Inverse(upper @ upper.T, jnp.diagonal(lower))


def _by_halves(matrix: Array) -> Inverse:
    """With S = [[A, B'], [B, C]], X = A^-1 B' and c = (C - B X)^-1:

    S^-1 = [[A^-1 + X c X', -X c], [-c X', c]].

    No product has a transposed left side, for which XLA's CPU products take twice the time.
    """
    n = matrix.shape[0]
    if n <= _HALVED:
        return _by_lapack(matrix)
    h = _half(n)
    a, first = _by_halves(matrix[:h, :h])
    below = matrix[h:, :h]
    X = a @ below.T
    c, second = _by_halves(matrix[h:, h:] - below @ X)
    corner = X @ c
    inverse = jnp.block([[a + corner @ X.T, -corner], [-corner.T, c]])
    return Inverse(inverse, jnp.concatenate([first, second]))


def _half(n: int) -> int:
    """About half of n, a multiple of 8."""
    return -(-n // 16) * 8


def logdet(diagonal: Array) -> Array:
    """log det(L L') by the diagonal of L."""
    return 2.0 * jnp.sum(jnp.log(diagonal))
