"""Symmetric matrices with a block for each level and one for each cell that rows fill.

The sparsity of Z'WZ for any grouping factors: the diagonal blocks of each factor's levels, and for
each pair of factors a small block for every pair of levels that some row has. A cell counts twice,
above and below the diagonal.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import add
from jaxglmm.factor import small
from jaxglmm.factor.block import BlockFactor
from jaxglmm.factor.small import Stack
from jaxglmm.pattern import Cells
from jaxglmm.pattern.cells import pairs
from jaxglmm.predictor import Effects, Predictors, at_levels, expand, reduce
from jaxglmm.rows import Rows, Structure

Groupings = tuple[Structure, ...]


class Cellwise(NamedTuple):
    """Blocks by level of each factor; for each of `pairs` (column, column of the other, cell)."""

    blocks: tuple[Stack, ...]
    cells: tuple[Array, ...]


def gram(
    rows: Rows, groupings: Groupings, cells: tuple[Cells, ...], W: tuple[Predictors, ...]
) -> Cellwise:
    """Z'WZ."""

    def own(k: int) -> Stack:
        if k == 0:
            return BlockFactor().gram(rows, W)
        Z, predictors = rows.Z[k], groupings[k].predictors
        return small.from_entries(
            [
                [reduce(rows, k, W[a][predictors[j]] * Z[i] * Z[j]) for j in range(i + 1)]
                for i, a in enumerate(predictors)
            ]
        )

    def shared(k: int, m: int, c: Cells) -> Array:
        def entry(i: int, j: int) -> Array:
            weights = W[groupings[k].predictors[i]][groupings[m].predictors[j]]
            values = jnp.broadcast_to(weights * rows.Z[k][i] * rows.Z[m][j], rows.y.shape)
            return jax.ops.segment_sum(values.ravel(), c.of_row.ravel(), c.lead.shape[0])

        return table(groupings[k].num_columns, groupings[m].num_columns, entry)

    factors = range(len(groupings))
    between = zip(pairs(len(groupings)), cells, strict=True)
    return Cellwise(tuple(own(k) for k in factors), tuple(shared(*km, c) for km, c in between))


def penalise(groupings: Groupings, A: Cellwise, factors: tuple[Array, ...]) -> Cellwise:
    """Lambda' A Lambda + I."""
    blocks = [
        small.plus_identity(small.congruence(block, L, triangular=g.triangular))
        for block, L, g in zip(A.blocks, factors, groupings, strict=True)
    ]
    return Cellwise(tuple(blocks), _mixed(A.cells, factors, "ijc,ia,jb->abc"))


def spread(groupings: Groupings, P: Cellwise, factors: tuple[Array, ...]) -> Cellwise:
    """Lambda P Lambda'."""
    blocks = [
        small.written(small.outward(block, L, triangular=g.triangular))
        for block, L, g in zip(P.blocks, factors, groupings, strict=True)
    ]
    return Cellwise(tuple(blocks), _mixed(P.cells, factors, "ijc,ai,bj->abc"))


def _mixed(cells: tuple[Array, ...], factors: tuple[Array, ...], form: str) -> tuple[Array, ...]:
    return tuple(
        jnp.einsum(form, C, factors[k], factors[m])
        for C, (k, m) in zip(cells, pairs(len(factors)), strict=True)
    )


def leverages(
    rows: Rows, groupings: Groupings, cells: tuple[Cells, ...], Q: Cellwise
) -> tuple[Predictors, ...]:
    """z_a' Q z_b of every row, by pair of predictors."""
    h = [list(row) for row in BlockFactor().leverages(rows, Q.blocks[0])]

    def share(k: int, i: int, m: int, j: int, values: Array) -> None:
        """Add an entry of Q and, if it is none of the diagonal, its mirror image."""
        a, b = groupings[k].predictors[i], groupings[m].predictors[j]
        part = values * rows.Z[k][i] * rows.Z[m][j]
        h[a][b] = h[a][b] + part
        if (k, i) != (m, j):
            h[b][a] = h[b][a] + part

    for k, block in enumerate(Q.blocks[1:], 1):
        for i in range(groupings[k].num_columns):
            for j in range(i + 1):
                share(k, i, k, j, expand(rows, k, small.entry(block, i, j)))
    for (k, m), values, c in zip(pairs(len(groupings)), Q.cells, cells, strict=True):
        for i, j in itertools.product(range(values.shape[0]), range(values.shape[1])):
            share(k, i, m, j, at_levels(values[i, j], c.of_row))
    return tuple(tuple(row) for row in h)


def times(cells: tuple[Cells, ...], M: Cellwise, a: Effects) -> Effects:
    """M a."""
    product = [small.times(block, v) for block, v in zip(M.blocks, a, strict=True)]
    for (k, m), C, c in zip(pairs(len(a)), M.cells, cells, strict=True):
        product[k] = product[k] + to_first(c, C, a[m], a[k].shape[1])
        product[m] = product[m] + to_second(c, C, a[k], a[m].shape[1])
    return tuple(product)


def to_first(cells: Cells, C: Array, values: Array, num_levels: int) -> Array:
    """C v: sums over the cells of a level of the first factor, v by level of the second."""
    return sum_by(small.row_sums(C, at_levels(values, cells.level)), cells.lead, num_levels)


def to_second(cells: Cells, C: Array, values: Array, num_levels: int) -> Array:
    """C' v: sums over the cells of a level of the second factor, v by level of the first."""
    at = small.row_sums(jnp.swapaxes(C, 0, 1), at_levels(values, cells.lead))
    return sum_by(at, cells.level, num_levels)


def contract(P: Cellwise, H: Cellwise) -> Array:
    """sum(P * H), a scalar."""
    blocks = add(jnp.sum(small.products(p, h)) for p, h in zip(P.blocks, H.blocks, strict=True))
    return blocks + 2.0 * sum(jnp.sum(p * h) for p, h in zip(P.cells, H.cells, strict=True))


def outer(cells: tuple[Cells, ...], a: Effects, b: Effects) -> Cellwise:
    """(a b' + b a') / 2 on the sparsity."""

    def half(v: Array, w: Array) -> Array:
        return 0.5 * v[:, None] * w[None, :]

    blocks = [small.from_array(half(v, w) + half(w, v)) for v, w in zip(a, b, strict=True)]
    shared = []
    for (k, m), c in zip(pairs(len(a)), cells, strict=True):
        first = half(at_levels(a[k], c.lead), at_levels(b[m], c.level))
        shared.append(first + half(at_levels(b[k], c.lead), at_levels(a[m], c.level)))
    return Cellwise(tuple(blocks), tuple(shared))


def square(cells: tuple[Cells, ...], a: Effects) -> Cellwise:
    """a a' on the sparsity."""
    blocks = [small.from_array(v[:, None] * v[None, :]) for v in a]
    shared = [
        at_levels(a[k], c.lead)[:, None] * at_levels(a[m], c.level)[None, :]
        for (k, m), c in zip(pairs(len(a)), cells, strict=True)
    ]
    return Cellwise(tuple(blocks), tuple(shared))


def table(rows: int, columns: int, entry: Callable[[int, int], Array]) -> Array:
    """entry(i, j) as one array, (row, column, ...)."""
    return jnp.stack([jnp.stack([entry(i, j) for j in range(columns)]) for i in range(rows)])


def sum_by(values: Array, index: Array, size: int) -> Array:
    """Sums along the last axis; one scatter an entry of the leading axes, which is the fast way."""
    flat = values.reshape(-1, values.shape[-1])
    sums = [jax.ops.segment_sum(row, index, size) for row in flat]
    return jnp.stack(sums).reshape(*values.shape[:-1], size)
