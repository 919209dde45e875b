"""Sums over rows for levels with many columns, by matrix products chunk by chunk.

The rows of a chunk lie within one level of the leading factor, so that with Z_c (slot, column)

    A_l = sum over the chunks c of level l of Z_c' W_c Z_c,        h_c = diag(Z_c Q_l Z_c').

Chunks are taken some at a time, so that their q x q matrices take no more memory than those of all
levels do (or a few megabytes).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxglmm.factor.wide import matmul
from jaxglmm.predictor import Predictors, by_column
from jaxglmm.rows import Rows

_AT_ONCE = 1 << 20  # numbers in the matrices of the chunks taken at a time, or those of all levels


class _Parts(NamedTuple):
    """Chunks a number at a time; the last part overlaps the one before it."""

    starts: np.ndarray  # first chunk of each part
    new: np.ndarray  # whether a chunk is in no part before; (part, chunk of the part)


def gram(rows: Rows, W: tuple[Predictors, ...]) -> Array:
    """Z'WZ of the leading factor; shape (level, column, column)."""
    num_levels, parts = rows.groupings[0].num_levels, _parts(rows)
    whole = [[jnp.broadcast_to(w, rows.y.shape) for w in row] for row in W]

    def products(start: Array, new: Array) -> Array:
        count = new.shape[0]
        Z = _chunks(rows.Z[0], start, count)
        W = [[_chunks(w, start, count) * new[:, None] for w in row] for row in whole]
        return _by_predictor(rows, lambda a, i, b, j: _weighed(_take(Z, i), W[a][b], _take(Z, j)))

    def add(A: Array, part: tuple[Array, Array]) -> tuple[Array, None]:
        levels = lax.dynamic_slice_in_dim(rows.codes[0], part[0], part[1].shape[0])
        return A.at[levels].add(products(*part), indices_are_sorted=True), None

    xs = (jnp.asarray(parts.starts), jnp.asarray(parts.new, rows.dtype))
    if rows.one_to_one:
        return products(xs[0][0], xs[1][0])
    q = rows.groupings[0].num_columns
    return lax.scan(add, jnp.zeros((num_levels, q, q), rows.dtype), xs)[0]


def cubic(rows: Rows, T: tuple[tuple[Predictors, ...], ...]) -> Array:
    """Z'(T z)Z for every column z; shape (level, column z, column, column)."""

    def along(z: Array, c: int) -> Array:
        return gram(rows, tuple(tuple(partials[c] * z for partials in row) for row in T))

    return jnp.moveaxis(by_column(rows, 0, along), 0, 1)


def leverages(rows: Rows, Q: Array) -> tuple[Predictors, ...]:
    """z_a' Q z_b of every row, by pair of predictors."""
    parts, m = _parts(rows), rows.family.num_predictors
    feeding = _feeding(rows)
    pairs = [(a, b) for a in feeding for b in feeding if b <= a]

    def some(start: Array) -> list[Array]:
        count = parts.new.shape[1]
        Z = _chunks(rows.Z[0], start, count)
        own = Q if rows.one_to_one else Q[lax.dynamic_slice_in_dim(rows.codes[0], start, count)]
        return [_forms(Z, own, feeding[a], feeding[b]) for a, b in pairs]

    num_chunks = rows.y.shape[1]
    found = [_joined(values, num_chunks) for values in lax.map(some, jnp.asarray(parts.starts))]
    h = [[jnp.zeros((1, 1), rows.dtype)] * m for _ in range(m)]
    for (a, b), values in zip(pairs, found, strict=True):
        h[a][b] = h[b][a] = values
    return tuple(tuple(row) for row in h)


def _parts(rows: Rows) -> _Parts:
    grouping, num_chunks = rows.groupings[0], rows.y.shape[1]
    few = max(grouping.num_levels, _AT_ONCE // grouping.num_columns**2)
    number = 1 if num_chunks <= 2 * few else -(-num_chunks // few)
    count = -(-num_chunks // number)
    planned = count * np.arange(number, dtype=np.int32)
    starts = np.minimum(planned, num_chunks - count)
    return _Parts(starts, starts[:, None] + np.arange(count) >= planned[:, None])


def _chunks(values: Array, start: Array, count: int) -> Array:
    """Some chunks of an array (column, slot, chunk) or (slot, chunk), in the reverse order."""
    return lax.dynamic_slice_in_dim(values, start, count, axis=values.ndim - 1).T


def _joined(parts: Array, num_chunks: int) -> Array:
    """Row values (slot, chunk) of overlapping parts (part, chunk, slot)."""
    before = parts[:-1].reshape(-1, parts.shape[2])
    last = parts[-1, parts.shape[1] + before.shape[0] - num_chunks :]
    return jnp.concatenate([before, last]).T


def _feeding(rows: Rows) -> dict[int, list[int]]:
    """The columns that feed each predictor, where there are any."""
    grouping = rows.groupings[0]
    return {a: grouping.columns_of(a) for a in sorted(set(grouping.predictors))}


def _take(values: Array, columns: list[int], axis: int = -1) -> Array:
    every = len(columns) == values.shape[axis]
    return values if every else jnp.take(values, np.asarray(columns), axis=axis)


def _weighed(left: Array, weight: Array, right: Array) -> Array:
    """left' W right of every chunk; factors are (chunk, slot, column), weights (chunk, slot)."""
    return matmul(jnp.swapaxes(left * weight[..., None], 1, 2), right)


def _forms(Z: Array, Q: Array, left: list[int], right: list[int]) -> Array:
    """z' Q z of every row over these columns of both z; shape (chunk, slot)."""
    inner = _take(_take(Q, left, -2), right, -1)
    return jnp.sum(matmul(_take(Z, left), inner) * _take(Z, right), axis=-1)


def _by_predictor(rows: Rows, block: Callable[[int, list[int], int, list[int]], Array]) -> Array:
    """The matrices whose blocks are those of pairs of predictors and their columns."""
    feeding = _feeding(rows)
    bands = [
        jnp.concatenate([block(a, i, b, j) for b, j in feeding.items()], axis=-1)
        for a, i in feeding.items()
    ]
    matrices = jnp.concatenate(bands, axis=-2)
    order = [column for columns in feeding.values() for column in columns]
    if order == sorted(order):
        return matrices
    place = np.argsort(order)
    return matrices[:, place][:, :, place]
