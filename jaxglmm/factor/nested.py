"""Nested grouping factors, eliminated from the leaves to the root: everything is linear cost.

Factor k's levels lie within levels of every later factor m, their ancestors. H has blocks D_k by
level of k and borders C_km, also by level of k, to the one ancestor in m. Eliminating the levels
of k changes their ancestors only (m <= m' beyond k, summed over the levels of k within):

    V_km = D_k^-1 C_km,    C_mm' <- C_mm' - sum C_km' V_km'   (C_mm being D_m),

and from the root back to the leaves, with P = H^-1,

    P_km = -sum_m' V_km' P_m'm,     P_kk = D_k^-1 - sum_m P_km V_km'.

Levels of the root are independent of each other: they are the components.
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import add
from jaxglmm.factor import small
from jaxglmm.factor.base import AbstractFactor
from jaxglmm.factor.small import Stack
from jaxglmm.pattern import Nested
from jaxglmm.predictor import Effects, Predictors, expand, reduce
from jaxglmm.rows import Rows, Structure


class Tree(NamedTuple):
    """A symmetric matrix on the sparsity of H.

    `blocks[k]` by level of factor k; `borders[k][m - k - 1]` to the ancestor in factor m, shape
    (column of k, column of m, level of k).
    """

    blocks: list[Stack]
    borders: list[list[Array]]


class Eliminated(NamedTuple):
    """The factor of a `Tree`."""

    lower: list[Stack]
    V: list[list[Array]]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class NestedFactor(AbstractFactor):
    """A chain of factors with these structures, each nested in the next."""

    groupings: tuple[Structure, ...] = dataclasses.field(metadata={"static": True})
    pattern: Nested

    column_cost: ClassVar[float] = 0.5

    def gram(self, rows: Rows, W: tuple[Predictors, ...]) -> Tree:
        def entry(k: int, i: int, m: int, j: int) -> Array:
            a, b = self.groupings[k].predictors[i], self.groupings[m].predictors[j]
            return reduce(rows, k, W[a][b] * rows.Z[k][i] * rows.Z[m][j])

        def border(k: int, m: int) -> Array:
            p, q = range(self.groupings[k].num_columns), range(self.groupings[m].num_columns)
            return jnp.stack([jnp.stack([entry(k, i, m, j) for j in q]) for i in p])

        factors = range(len(self.groupings))
        columns = [range(g.num_columns) for g in self.groupings]
        return Tree(
            blocks=[
                small.from_entries([[entry(k, i, k, j) for j in range(i + 1)] for i in columns[k]])
                for k in factors
            ],
            borders=[[border(k, m) for m in factors[k + 1 :]] for k in factors],
        )

    def penalise(self, A: Tree, factors: tuple[Array, ...]) -> Tree:
        blocks = [
            small.plus_identity(small.congruence(M, L, triangular=g.triangular))
            for M, L, g in zip(A.blocks, factors, self.groupings, strict=True)
        ]
        return Tree(blocks, _mixed(A.borders, factors, "ijl,ia,jb->abl"))

    def spread(self, P: Tree, factors: tuple[Array, ...]) -> Tree:
        blocks = [
            small.outward(M, L, triangular=g.triangular)
            for M, L, g in zip(P.blocks, factors, self.groupings, strict=True)
        ]
        return Tree(blocks, _mixed(P.borders, factors, "ijl,ai,bj->abl"))

    def leverages(self, rows: Rows, Q: Tree) -> tuple[Predictors, ...]:
        m = rows.family.num_predictors
        h = [[jnp.zeros((1, 1), rows.dtype)] * m for _ in range(m)]

        def share(k: int, i: int, other: int, j: int, values: Array) -> None:
            """Add z_ki q z_mj to h at the predictors of both columns, in this order."""
            a, b = self.groupings[k].predictors[i], self.groupings[other].predictors[j]
            h[a][b] = h[a][b] + expand(rows, k, values) * rows.Z[k][i] * rows.Z[other][j]
            h[b][a] = h[a][b]

        for k, g in enumerate(self.groupings):
            for i in range(g.num_columns):
                for j in range(i + 1):
                    # Both orders of a pair of columns on one predictor count there.
                    twice = i != j and g.predictors[i] == g.predictors[j]
                    share(k, i, k, j, (2.0 if twice else 1.0) * small.entry(Q.blocks[k], i, j))
            for border, (other, to) in zip(Q.borders[k], self._beyond(k), strict=True):
                for i in range(g.num_columns):
                    for j in range(to.num_columns):
                        twice = g.predictors[i] == to.predictors[j]
                        share(k, i, other, j, (2.0 if twice else 1.0) * border[i, j])
        return tuple(tuple(row) for row in h)

    def _up(self, k: int, m: int) -> Array:
        """The ancestor in factor m of each level of factor k."""
        return self.pattern.ancestors(k, m)

    def _beyond(self, k: int) -> list[tuple[int, Structure]]:
        """The ancestors of factor k and their numbers."""
        return list(enumerate(self.groupings))[k + 1 :]

    def times(self, M: Tree, a: Effects) -> Effects:
        product = [small.times(block, v) for block, v in zip(M.blocks, a, strict=True)]
        for k, borders in enumerate(M.borders):
            for border, (m, to) in zip(borders, self._beyond(k), strict=True):
                up = self._up(k, m)
                there = _down(a[m], up)
                product[k] = product[k] + jnp.einsum("ijl,jl->il", border, there)
                pulled = jnp.einsum("ijl,il->jl", border, a[k])
                product[m] = product[m] + _lift(pulled, up, to.num_levels)
        return tuple(product)

    def factorise(self, H: Tree) -> Eliminated:
        return self._eliminate(H, safe=False)

    def factorise_safely(self, H: Tree) -> Eliminated:
        return self._eliminate(H, safe=True)

    def _eliminate(self, H: Tree, *, safe: bool) -> Eliminated:
        blocks, borders = list(H.blocks), [list(row) for row in H.borders]
        lower: list[Stack] = []
        V: list[list[Array]] = []
        for k in range(len(self.groupings)):
            lower.append(small.cholesky(blocks[k], safe=safe))
            V.append([small.on_rows(small.solve, lower[k], C) for C in borders[k]])
            for m, to in self._beyond(k):
                for n, _ in self._beyond(m - 1):
                    change = jnp.einsum("ial,ibl->abl", borders[k][m - k - 1], V[k][n - k - 1])
                    change = _lift(change, self._up(k, m), to.num_levels)
                    if n == m:
                        blocks[m] = small.minus(blocks[m], change)
                    else:
                        borders[m][n - m - 1] = borders[m][n - m - 1] - change
        return Eliminated(lower, V)

    def solve(self, factor: Eliminated, g: Effects) -> Effects:
        rest = list(g)
        for k, row in enumerate(factor.V):
            for V, (m, to) in zip(row, self._beyond(k), strict=True):
                up = self._up(k, m)
                pulled = jnp.einsum("ijl,il->jl", V, rest[k])
                rest[m] = rest[m] - _lift(pulled, up, to.num_levels)
        x = [small.solve(L, v) for L, v in zip(factor.lower, rest, strict=True)]
        for k in reversed(range(len(x))):
            for V, (m, _) in zip(factor.V[k], self._beyond(k), strict=True):
                x[k] = x[k] - jnp.einsum("ijl,jl->il", V, _down(x[m], self._up(k, m)))
        return tuple(x)

    def logdet(self, factor: Eliminated) -> Array:
        return sum((small.logdet(L) for L in factor.lower[1:]), small.logdet(factor.lower[0]))

    def selected_inverse(self, factor: Eliminated) -> Tree:
        blocks = [small.inverse(L) for L in factor.lower]
        borders: list[list[Array]] = [[] for _ in blocks]
        for k in reversed(range(len(blocks))):
            beyond = [m for m, _ in self._beyond(k)]

            def between(a: int, b: int, k: int = k) -> Array:
                """P of the ancestors of a level of k, (column of a, column of b, level of k)."""
                if a > b:
                    return jnp.swapaxes(between(b, a, k), 0, 1)
                P = small.to_array(blocks[a]) if a == b else borders[a][b - a - 1]
                return _down(P, self._up(k, a))

            for m in beyond:
                parts = [
                    jnp.einsum("ial,abl->ibl", V, between(a, m))
                    for V, a in zip(factor.V[k], beyond, strict=True)
                ]
                borders[k].append(-sum(parts[1:], parts[0]))
            for P, V in zip(borders[k], factor.V[k], strict=True):
                blocks[k] = small.minus(blocks[k], jnp.einsum("ial,jal->ijl", P, V))
        return Tree(blocks, borders)

    def contract(self, P: Tree, H: Tree) -> Array:
        pairs = zip(jax.tree.leaves(P.borders), jax.tree.leaves(H.borders), strict=True)
        borders = add(2.0 * jnp.sum(p * h) for p, h in pairs)
        blocks = zip(P.blocks, H.blocks, strict=True)
        return (borders + add(jnp.sum(small.products(p, h)) for p, h in blocks))[None]

    def inner(self, rows: Rows, a: Effects, b: Effects) -> Array:
        root, last = len(a) - 1, jnp.sum(a[-1] * b[-1], axis=0)
        lifted = [
            _lift(jnp.sum(a[k] * b[k], axis=0), self._up(k, root), last.shape[0])
            for k in range(root)
        ]
        return sum(lifted, last)

    def per_component(self, rows: Rows, values: Array, a: Effects) -> Effects:
        root = len(a) - 1
        parts = [_down(values, self._up(k, root)) * a[k] for k in range(root)]
        return (*parts, values * a[root])

    def covariance_blocks(self, factor: Eliminated) -> Effects:
        return tuple(small.to_array(block) for block in self.selected_inverse(factor).blocks)


def _lift(values: Array, up: Array, num_levels: int) -> Array:
    """Sums over the levels within each ancestor; the last axis is that of levels."""
    moved = jnp.moveaxis(values, -1, 0)
    return jnp.moveaxis(jax.ops.segment_sum(moved, up, num_levels), 0, -1)


def _down(values: Array, up: Array) -> Array:
    """The ancestor's values for every level: the transpose of `_lift`."""
    return values[..., up]


def _mixed(borders: list[list[Array]], factors: tuple[Array, ...], form: str) -> list[list[Array]]:
    return [
        [jnp.einsum(form, C, factors[k], factors[k + 1 + m]) for m, C in enumerate(row)]
        for k, row in enumerate(borders)
    ]
