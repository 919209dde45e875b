"""One grouping factor: H is a stack of independent q x q blocks, everything is linear cost."""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxglmm.factor import chunks, small
from jaxglmm.factor.base import AbstractFactor, pair_sums
from jaxglmm.factor.small import Stack
from jaxglmm.predictor import Effects, Predictors, expand, reduce
from jaxglmm.rows import Rows

_LARGE = 1 << 24  # numbers in third-order sums that no speed would pay for

Cubic: TypeAlias = list[Stack] | Array
"""A stack for every column; of wide ones an array (level, column, column, column)."""


def choose_block(rows: Rows) -> BlockFactor:
    """With third-order sums, of q^3 numbers a level, where a level has as many rows as columns."""
    grouping = rows.groupings[0]
    q, num_levels = grouping.num_columns, grouping.num_levels
    affordable = q * num_levels <= rows.y.size and q**3 * num_levels <= _LARGE
    return BlockFactor(grouping.triangular, by_rows=grouping.wide and not affordable)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BlockFactor(AbstractFactor):
    """Independent blocks H_l = Lambda' (sum over rows of level l of W z z') Lambda + I.

    `triangular` says that Lambda is zero above its diagonal, `by_rows` that third-order sums by
    level would cost more than passes over the rows.
    """

    triangular: bool = dataclasses.field(default=False, metadata={"static": True})
    by_rows: bool = dataclasses.field(default=False, metadata={"static": True})

    @property
    def by_level(self) -> bool:
        return not self.by_rows

    @property
    def column_cost(self) -> float:
        return super().column_cost if self.by_rows else 1 / 12

    def gram(self, rows: Rows, W: tuple[Predictors, ...]) -> Stack:
        if rows.groupings[0].wide:
            return chunks.gram(rows, W)
        Z, predictors = rows.Z[0], rows.groupings[0].predictors
        return [
            [reduce(rows, 0, W[predictors[i]][predictors[j]] * Z[i] * Z[j]) for j in range(i + 1)]
            for i in range(len(predictors))
        ]

    def cubic(self, rows: Rows, T: tuple[tuple[Predictors, ...], ...]) -> Cubic:
        if rows.groupings[0].wide:
            return chunks.cubic(rows, T)
        Z, predictors = rows.Z[0], rows.groupings[0].predictors
        axes = range(len(predictors))

        def entry(i: int, j: int, k: int) -> Array:
            weights = T[predictors[i]][predictors[j]][predictors[k]]
            return reduce(rows, 0, weights * Z[i] * Z[j] * Z[k])

        once = {
            (i, j, k): entry(i, j, k) for i in axes for j in axes[: i + 1] for k in axes[: j + 1]
        }

        def any_order(*index: int) -> Array:
            k, j, i = sorted(index)
            return once[i, j, k]

        return [[[any_order(i, j, k) for j in range(i + 1)] for i in axes] for k in axes]

    def moved(self, A: Stack, cubic: Cubic, v: Effects) -> Stack:
        if not isinstance(cubic, list):
            return small.to_dense(A) - jnp.einsum(
                "lkij,kl->lij", cubic, v[0], precision=lax.Precision.HIGHEST
            )
        for A3, value in zip(cubic, v[0], strict=True):
            A = jax.tree.map(lambda m, a, value=value: m - a * value, A, A3)
        return A

    def contract_cubic(self, P: Stack, cubic: Cubic) -> Effects:
        if not isinstance(cubic, list):
            return (jnp.einsum("lkij,lij->kl", cubic, P, precision=lax.Precision.HIGHEST),)
        return (jnp.stack([small.products(A3, P) for A3 in cubic]),)

    def penalise(self, A: Stack, factors: tuple[Array, ...]) -> Stack:
        return small.plus_identity(small.congruence(A, factors[0], triangular=self.triangular))

    def spread(self, P: Stack, factors: tuple[Array, ...]) -> Stack:
        return small.written(small.outward(P, factors[0], triangular=self.triangular))

    def leverages(self, rows: Rows, Q: Stack) -> tuple[Predictors, ...]:
        if not isinstance(Q, list):
            return chunks.leverages(rows, Q)
        Z, predictors = rows.Z[0], rows.groupings[0].predictors
        nothing = jnp.zeros((1, 1), rows.dtype)
        h = [[nothing] * rows.family.num_predictors for _ in range(rows.family.num_predictors)]
        for i, a in enumerate(predictors):
            for j, b in enumerate(predictors[: i + 1]):
                share = expand(rows, 0, Q[i][j]) * Z[i] * Z[j]
                if a == b:
                    h[a][a] = h[a][a] + (share if i == j else 2.0 * share)
                else:
                    h[a][b] = h[b][a] = h[a][b] + share
        return tuple(tuple(row) for row in h)

    def times(self, M: Stack, a: Effects) -> Effects:
        return (small.times(M, a[0]),)

    def factorise(self, H: Stack) -> Stack:
        return small.cholesky(H, safe=False)

    def factorise_safely(self, H: Stack) -> Stack:
        return small.cholesky(H, safe=True)

    def solve(self, factor: Stack, g: Effects) -> Effects:
        return (small.solve(factor, g[0]),)

    def logdet(self, factor: Stack) -> Array:
        return small.logdet(factor)

    def selected_inverse(self, factor: Stack) -> Stack:
        return small.inverse(factor)

    def trace_products(self, H: Stack, factor: Stack, P: Stack, moved: Stack) -> Array:
        del H, factor
        halves = jax.vmap(lambda M: small.product(P, M))(moved)
        return pair_sums(halves, jnp.swapaxes(halves, 1, 2))

    def contract(self, P: Stack, H: Stack) -> Array:
        return small.products(P, H)

    def inner(self, rows: Rows, a: Effects, b: Effects) -> Array:
        return jnp.sum(a[0] * b[0], axis=0)

    def per_component(self, rows: Rows, values: Array, a: Effects) -> Effects:
        return (values * a[0],)

    def covariance_blocks(self, factor: Stack) -> Effects:
        return (small.to_array(small.inverse(factor)),)
