"""One grouping factor: H is a stack of independent q x q blocks, everything is linear cost."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import jax.numpy as jnp
from jax import Array

from jaxglmm.factor import chunks, small
from jaxglmm.factor.base import AbstractFactor
from jaxglmm.factor.small import Stack
from jaxglmm.predictor import Effects, Predictors, expand, reduce
from jaxglmm.rows import Rows


@dataclasses.dataclass(frozen=True)
class BlockFactor(AbstractFactor):
    """Independent blocks H_l = Lambda' (sum over rows of level l of W z z') Lambda + I.

    `triangular` says that Lambda is zero above its diagonal.
    """

    triangular: bool = False
    wide: bool = False
    """A level has too many columns for sums over its rows of all their products by three."""

    @property
    def by_level(self) -> bool:
        return not self.wide

    @property
    def column_cost(self) -> float:
        return super().column_cost if self.wide else 1 / 12

    def gram(self, rows: Rows, W: tuple[Predictors, ...]) -> Stack:
        if rows.groupings[0].wide:
            return chunks.gram(rows, W)
        Z, predictors = rows.Z[0], rows.groupings[0].predictors
        return [
            [reduce(rows, 0, W[predictors[i]][predictors[j]] * Z[i] * Z[j]) for j in range(i + 1)]
            for i in range(len(predictors))
        ]

    def cubic(self, rows: Rows, T: tuple[tuple[Predictors, ...], ...]) -> list[Stack]:
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

    def penalise(self, A: Stack, factors: tuple[Array, ...]) -> Stack:
        return small.plus_identity(small.congruence(A, factors[0], triangular=self.triangular))

    def spread(self, P: Stack, factors: tuple[Array, ...]) -> Stack:
        return small.stored(small.outward(P, factors[0], triangular=self.triangular))

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

    def linearise_inverse(self, H: Stack, factor: Stack, P: Stack) -> Callable[[Stack], Stack]:
        if isinstance(P, list):
            return super().linearise_inverse(H, factor, P)
        return lambda d_H: -small.to_dense(small.sandwich(P, d_H))

    def contract(self, P: Stack, H: Stack) -> Array:
        return small.products(P, H)

    def inner(self, rows: Rows, a: Effects, b: Effects) -> Array:
        return jnp.sum(a[0] * b[0], axis=0)

    def per_component(self, rows: Rows, values: Array, a: Effects) -> Effects:
        return (values * a[0],)

    def covariance_blocks(self, factor: Stack) -> Effects:
        return (jnp.moveaxis(small.to_dense(small.inverse(factor)), 0, -1),)
