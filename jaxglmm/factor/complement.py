"""The Schur complement of large crossed factors, known by its products.

Of the scaled H~ = T^-1 H T^-T, T = diag(chol D, L), with unit blocks D and cells K = C~,

    S~ x = R~ x - K' K x,       R~ = I + the diagonal blocks of K'K, and cells between the others.

Effects of the inner factors are joined to one vector where a Krylov space holds them.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import add
from jaxglmm.factor import cellwise, joined, krylov, small
from jaxglmm.factor.cellwise import Cellwise
from jaxglmm.factor.small import Stack
from jaxglmm.pattern import Cells
from jaxglmm.pattern.cells import pairs
from jaxglmm.predictor import Effects, at_levels


class Scaled(NamedTuple):
    """H and H~ = T^-1 H T^-T."""

    H: Cellwise
    lower: tuple[Stack, ...]  # T, by factor
    own: tuple[Array, ...]  # R~ by inner factor, (column, column, level)
    cells: tuple[Array, ...]  # of H~


@dataclasses.dataclass(frozen=True, eq=False)
class Complement:
    """S~ of one scaled matrix, and how vectors reach it."""

    inner: tuple[joined.Extent, ...]  # shapes of the inner spherical effects
    num_levels: int  # of the leading factor
    cells: tuple[Cells, ...]
    scaled: Scaled

    @property
    def size(self) -> int:
        """Number of inner effects."""
        return joined.size(self.inner)

    @property
    def between(self) -> list[tuple[int, int]]:
        """The factors that each table of cells is between."""
        return pairs(1 + len(self.inner))

    @property
    def lead(self) -> list[tuple[int, Cells]]:
        """The cells of the first factor with each inner one."""
        return list(enumerate(self.cells[: len(self.inner)]))

    def eliminated(self, x: Effects) -> Array:
        """K x of inner effects, by leading level."""
        cells, count = self.scaled.cells, self.num_levels
        return add(cellwise.to_first(c, cells[m], x[m], count) for m, c in self.lead)

    def from_lead(self, a: Array) -> Effects:
        """K' a, by inner level."""
        return tuple(
            cellwise.to_second(c, self.scaled.cells[m], a, self.inner[m].num_levels)
            for m, c in self.lead
        )

    def schur(self, x: Effects) -> Effects:
        """S~ x."""
        back = self.from_lead(self.eliminated(x))
        product = [
            small.row_sums(own, v) - b for own, v, b in zip(self.scaled.own, x, back, strict=True)
        ]
        tables = list(zip(self.between, self.cells, self.scaled.cells, strict=True))
        for (k, m), c, K in tables[len(self.inner) :]:
            first, second = product[k - 1], product[m - 1]
            product[k - 1] = first + cellwise.to_first(c, K, x[m - 1], first.shape[1])
            product[m - 1] = second + cellwise.to_second(c, K, x[k - 1], second.shape[1])
        return tuple(product)

    def product(self, x: Array) -> Array:
        """S~ x of joined effects."""
        return joined.join(self.schur(joined.split(x, self.inner)))

    def downward(self, g: Effects) -> Effects:
        """T^-1 g."""
        return tuple(small.solve_lower(L, v) for L, v in zip(self.scaled.lower, g, strict=True))

    def upward(self, g: Effects) -> Effects:
        """T'^-1 g."""
        return tuple(small.solve_upper(L, v) for L, v in zip(self.scaled.lower, g, strict=True))

    def reduced(self, g: Effects) -> Array:
        """The right side for the inner effects of scaled ones for all, joined."""
        back = self.from_lead(g[0])
        return joined.join(tuple(v - b for v, b in zip(g[1:], back, strict=True)))

    def completed(self, B: tuple[Array, ...], G: Cellwise) -> Cellwise:
        """G + I_DD + [-K; I] B [-K; I]' on the sparsity, B of inner blocks by level."""
        first = plus_identity(small.to_array(G.blocks[0]))
        cells = list(G.cells)
        for m, c in self.lead:
            K = self.scaled.cells[m]
            through = jnp.stack(
                [
                    small.row_sums(at_levels(jnp.swapaxes(B[m], 0, 1), c.level), K[i])
                    for i in range(K.shape[0])
                ]
            )
            cells[m] = cells[m] - through
            change = jnp.sum(through[:, None] * K[None, :], axis=2)
            first = first + cellwise.sum_by(change, c.lead, first.shape[-1])
        inner = [small.to_array(g) + b for g, b in zip(G.blocks[1:], B, strict=True)]
        blocks = tuple(small.from_array(block) for block in (first, *inner))
        return Cellwise(blocks, tuple(cells))

    def unscaled(self, P: Cellwise) -> Cellwise:
        """T'^-1 P T^-1."""
        blocks = [
            small.from_array(congruent(small.solve_upper, L, small.to_array(p)))
            for L, p in zip(self.scaled.lower, P.blocks, strict=True)
        ]
        cells = []
        for (k, m), c, C in zip(self.between, self.cells, P.cells, strict=True):
            first, second = self.scaled.lower[k], self.scaled.lower[m]
            half = small.on_rows(small.solve_upper, small.take(first, c.lead), C)
            cells.append(small.on_columns(small.solve_upper, small.take(second, c.level), half))
        return Cellwise(tuple(blocks), tuple(cells))

    def random(self, z: Array) -> Effects:
        """Effects u with the mean square [-V; I] S^-1 [-V; I]' over the probes: all of H^-1 but
        D^-1."""
        space = krylov.lanczos(self.product, z)
        x = joined.split(krylov.apply(space, jax.lax.rsqrt), self.inner)
        return self.upward((-self.eliminated(x), *x))


def congruent(f: Any, L: Stack, M: Array) -> Array:
    """f(L, .) from the left, and its transpose from the right, of (row, column, level)."""
    return small.on_columns(f, L, small.on_rows(f, L, M))


def plus_identity(M: Array) -> Array:
    """M + I, by level along the last axis."""
    return M + jnp.eye(M.shape[0], dtype=M.dtype)[:, :, None]
