"""Large crossed factors: the first one eliminated, the Schur complement known by its products.

With H = [[D, C], [C', R]] as in `crossed`, S = R - C' D^-1 C is never formed. Its diagonal blocks
M, one a level of an inner factor, are sums over cells; with M = L L' the scaled
S~ = L^-1 S L^-T has a diagonal of ones and

    log det H = log det D + log det M + tr log S~,

the first two exact and the last one an average of z' (log S~ - S~ + I) z over vectors z of signs,
by Lanczos' method (`krylov`). The same z serve all evaluations, so that the estimate is a smooth
function of H. `selected_inverse` is its derivative in H: exact for it, and an unbiased estimate of
the entries of H^-1. Systems are solved by conjugate gradients on S~, to rounding.

The scaled H~ = T^-1 H T^-T, T = diag(chol D, L), has unit blocks D, cells K = C~, and

    S~ x = R~ x - K' K x,       R~ = I + the diagonal blocks of K'K, and cells between the others.

The derivative of x' S~ x is that of x' (L^-1 S L^-T) x: with w = L^-T x and p = (-D^-1 C w, w),
p' dH p (the first part is where p' H p is least), and L's own change with M. With
X = L^-1 dM L^-T, dL = L half(X), half taking the lower triangle and a half of the diagonal, that is

    -2 tr(half(X)' x (S~ x)') = -sum(X * mirrored lower triangle of x (S~ x)').

Kuendig & Sigrist (2025), "Iterative methods for Vecchia-Laplace / crossed random effects"; Gardner
et al. (2018) for the log-determinant by the same iterations that solve.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import add
from jaxglmm.factor import cellwise, joined, krylov, small
from jaxglmm.factor.base import AbstractFactor, Measured
from jaxglmm.factor.cellwise import Cellwise
from jaxglmm.factor.small import Stack
from jaxglmm.pattern import Cells, Iterative
from jaxglmm.pattern.cells import pairs
from jaxglmm.predictor import Effects, Predictors
from jaxglmm.rows import Rows, Structure

_TERMS = 50_000  # of an average that standard errors rest on; its noise is some 1 % of one's spread
_ROUGH = 1e-4  # relative residual of systems that only an average over probes sees


class Scaled(NamedTuple):
    """H and H~ = T^-1 H T^-T."""

    H: Cellwise
    lower: tuple[Stack, ...]  # T, by factor
    own: tuple[Array, ...]  # R~ by inner factor, (column, column, level)
    cells: tuple[Array, ...]  # of H~


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class IterativeFactor(AbstractFactor):
    """Crossed factors with these structures, as many levels as the cells fit in memory."""

    groupings: tuple[Structure, ...] = dataclasses.field(metadata={"static": True})
    pattern: Iterative

    @property
    def column_cost(self) -> float:
        return 0.5

    @property
    def _inner(self) -> tuple[joined.Extent, ...]:
        """Shapes of the inner spherical effects."""
        return joined.latent(self.groupings[1:])

    @property
    def _lead(self) -> list[tuple[int, Cells]]:
        """The cells of the first factor with each inner one."""
        return list(enumerate(self.pattern.cells[: len(self._inner)]))

    def gram(self, rows: Rows, W: tuple[Predictors, ...]) -> Cellwise:
        return cellwise.gram(rows, self.groupings, self.pattern.cells, W)

    def penalise(self, A: Cellwise, factors: tuple[Array, ...]) -> Cellwise:
        return cellwise.penalise(self.groupings, A, factors)

    def spread(self, P: Cellwise, factors: tuple[Array, ...]) -> Cellwise:
        return cellwise.spread(self.groupings, P, factors)

    def leverages(self, rows: Rows, Q: Cellwise) -> tuple[Predictors, ...]:
        return cellwise.leverages(rows, self.groupings, self.pattern.cells, Q)

    def times(self, M: Cellwise, a: Effects) -> Effects:
        return cellwise.times(self.pattern.cells, M, a)

    def contract(self, P: Cellwise, H: Cellwise) -> Array:
        return cellwise.contract(P, H)[None]

    def factorise(self, H: Cellwise) -> Scaled:
        return self._factorise(H, safe=False)

    def factorise_safely(self, H: Cellwise) -> Scaled:
        return self._factorise(H, safe=True)

    def _factorise(self, H: Cellwise, *, safe: bool) -> Scaled:
        lower = [small.cholesky(H.blocks[0], safe=safe)]
        half, own = [], []
        for m, c in self._lead:
            left = small.take(lower[0], c.lead)
            half.append(small.on_rows(small.solve_lower, left, H.cells[m]))
            sums = self._squares(half[m], c.level, self._inner[m].num_levels)
            lower.append(small.cholesky(small.minus(H.blocks[m + 1], sums), safe=safe))
            own.append(_plus_identity(_congruent(small.solve_lower, lower[m + 1], sums)))
        cells = []
        for (k, m), c, C in zip(self._pairs, self.pattern.cells, H.cells, strict=True):
            if k == 0:
                left = half[m - 1]
            else:
                left = small.on_rows(small.solve_lower, small.take(lower[k], c.lead), C)
            cells.append(small.on_columns(small.solve_lower, small.take(lower[m], c.level), left))
        return Scaled(H, tuple(lower), tuple(own), tuple(cells))

    @property
    def _pairs(self) -> list[tuple[int, int]]:
        return pairs(len(self.groupings))

    def _squares(self, K: Array, index: Array, size: int) -> Array:
        """sum of K'K by level of the inner factor, (column, column, level)."""

        def entry(i: int, j: int) -> Array:
            return jax.ops.segment_sum(jnp.sum(K[:, i] * K[:, j], axis=0), index, size)

        return cellwise.table(K.shape[1], K.shape[1], entry)

    def _eliminated(self, factor: Scaled, x: Effects) -> Array:
        """K x of inner effects, by leading level."""
        num_levels = self.groupings[0].num_levels
        return add(cellwise.to_first(c, factor.cells[m], x[m], num_levels) for m, c in self._lead)

    def _from_lead(self, factor: Scaled, a: Array) -> Effects:
        """K' a, by inner level."""
        return tuple(
            cellwise.to_second(c, factor.cells[m], a, self._inner[m].num_levels)
            for m, c in self._lead
        )

    def _schur(self, factor: Scaled, x: Effects) -> Effects:
        """S~ x."""
        back = self._from_lead(factor, self._eliminated(factor, x))
        product = [
            small.row_sums(own, v) - b for own, v, b in zip(factor.own, x, back, strict=True)
        ]
        between = list(zip(self._pairs, self.pattern.cells, factor.cells, strict=True))
        for (k, m), c, K in between[len(self._inner) :]:
            first, second = product[k - 1], product[m - 1]
            product[k - 1] = first + cellwise.to_first(c, K, x[m - 1], first.shape[1])
            product[m - 1] = second + cellwise.to_second(c, K, x[k - 1], second.shape[1])
        return tuple(product)

    def _product(self, factor: Scaled) -> krylov.Product:
        """S~ x of joined effects."""

        def product(x: Array) -> Array:
            return joined.join(self._schur(factor, joined.split(x, self._inner)))

        return product

    def _downward(self, factor: Scaled, g: Effects) -> Effects:
        """T^-1 g."""
        return tuple(small.solve_lower(L, v) for L, v in zip(factor.lower, g, strict=True))

    def _upward(self, factor: Scaled, g: Effects) -> Effects:
        """T'^-1 g."""
        return tuple(small.solve_upper(L, v) for L, v in zip(factor.lower, g, strict=True))

    def _reduced(self, factor: Scaled, g: Effects) -> Array:
        """The right side for the inner effects of scaled ones for all, joined."""
        back = self._from_lead(factor, g[0])
        return joined.join(tuple(v - b for v, b in zip(g[1:], back, strict=True)))

    def solve(self, factor: Scaled, g: Effects) -> Effects:
        g = self._downward(factor, g)
        x = krylov.solve(self._product(factor), self._reduced(factor, g))
        inner = joined.split(x, self._inner)
        return self._upward(factor, (g[0] - self._eliminated(factor, inner), *inner))

    def _mean(self, one: Any, like: Any, count: int | None = None) -> Any:
        """The mean of one(z) over the probes, or the first `count`, in shapes of `like`."""
        probes = tuple(p[:count] for p in self.pattern.probes)
        dtype = jax.tree.leaves(like)[0].dtype

        def more(total: Any, probe: Effects) -> tuple[Any, None]:
            z = joined.join(tuple(p.astype(dtype) for p in probe))
            return jax.tree.map(jnp.add, total, one(z)), None

        none = jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), like)
        total, _ = jax.lax.scan(more, none, probes)
        return jax.tree.map(lambda v: v / probes[0].shape[0], total)

    @property
    def num_probes(self) -> int:
        """Number of sign vectors."""
        return self.pattern.probes[0].shape[0]

    def measure(self, factor: Scaled) -> Measured:
        return _measure(self, factor)

    def logdet(self, factor: Scaled) -> Array:
        return _measure(self, factor).logdet

    def selected_inverse(self, factor: Scaled) -> Cellwise:
        return _measure(self, factor).inverse

    def _one_probe(self, factor: Scaled, z: Array) -> tuple[Array, Array, Any, Any]:
        """z' (log S~ - S~ + I) z, its square, and its derivative in scaled numbers: G, and the
        block sums of x (S~ x)' that L's change asks for."""
        space = krylov.lanczos(self._product(factor), z)
        value, form = krylov.log_remainder(space)

        def term(e: Array, total: tuple[Cellwise, tuple[Array, ...]]) -> Any:
            squares, products = total
            vector = form.vectors[:, e]
            x = joined.split(krylov.combine(space, vector), self._inner)
            moved = joined.split(krylov.combine(space, space.T @ vector), self._inner)
            p, weight = (-self._eliminated(factor, x), *x), form.weights[e]
            fresh = cellwise.square(self.pattern.cells, p)
            pairs_ = tuple(
                s + weight * v[:, None] * w[None, :]
                for s, v, w in zip(products, x, moved, strict=True)
            )
            return jax.tree.map(lambda s, v: s + weight * v, squares, fresh), pairs_

        none = jax.tree.map(jnp.zeros_like, (factor.H, factor.own))
        squares, products = jax.lax.fori_loop(0, form.count, term, none)
        return value, value * value, squares, products

    def _measured(self, factor: Scaled) -> Measured:
        def one(z: Array) -> Any:
            return self._one_probe(factor, z)

        zero = jnp.zeros((), factor.own[0].dtype)
        mean, square, G, products = self._mean(one, (zero, zero, factor.H, factor.own))
        exact = jnp.sum(jnp.stack([small.logdet(L) for L in factor.lower]))
        spread = jnp.maximum(square - mean * mean, 0.0) / max(self.num_probes - 1, 1)
        B = tuple(_plus_identity(-_mirrored(products_)) for products_ in products)
        inverse = self._unscaled(factor, self._completed(factor, B, G))
        return Measured(exact + mean, inverse, jnp.sqrt(spread))

    def _completed(self, factor: Scaled, B: tuple[Array, ...], G: Cellwise) -> Cellwise:
        """G + I_DD + [-K; I] B [-K; I]' on the sparsity, B of inner blocks by level."""
        first = small.to_array(G.blocks[0])
        first = _plus_identity(first)
        cells = list(G.cells)
        for m, c in self._lead:
            K = factor.cells[m]
            through = jnp.stack(
                [
                    small.row_sums(jnp.swapaxes(B[m], 0, 1)[:, :, c.level], K[i])
                    for i in range(K.shape[0])
                ]
            )
            cells[m] = cells[m] - through
            change = jnp.sum(through[:, None] * K[None, :], axis=2)
            first = first + cellwise.sum_by(change, c.lead, first.shape[-1])
        inner = [small.to_array(g) + b for g, b in zip(G.blocks[1:], B, strict=True)]
        blocks = tuple(small.from_array(block) for block in (first, *inner))
        return Cellwise(blocks, tuple(cells))

    def _unscaled(self, factor: Scaled, P: Cellwise) -> Cellwise:
        """T'^-1 P T^-1."""
        blocks = [
            small.from_array(_congruent(small.solve_upper, L, small.to_array(p)))
            for L, p in zip(factor.lower, P.blocks, strict=True)
        ]
        cells = []
        for (k, m), c, C in zip(self._pairs, self.pattern.cells, P.cells, strict=True):
            first, second = (
                small.take(factor.lower[k], c.lead),
                small.take(factor.lower[m], c.level),
            )
            half = small.on_rows(small.solve_upper, first, C)
            cells.append(small.on_columns(small.solve_upper, second, half))
        return Cellwise(tuple(blocks), tuple(cells))

    def _random(self, factor: Scaled, z: Array) -> Effects:
        """Effects u with the mean square [-V; I] S^-1 [-V; I]' over the probes: all of H^-1 but
        D^-1."""
        space = krylov.lanczos(self._product(factor), z)
        x = joined.split(krylov.apply(space, jax.lax.rsqrt), self._inner)
        return self._upward(factor, (-self._eliminated(factor, x), *x))

    def trace_products(self, H: Cellwise, factor: Scaled, P: Cellwise, moved: Cellwise) -> Array:
        """tr(P dH_i P dH_j) = tr(D^-1 dD_i D^-1 dD_j) + E(2 f_i' D^-1 f_j + r_i' S^-1 r_j),

        dH_j u having f_j in the leading factor and r_j reduced to the inner ones, u of `_random`.
        Each probe averages over all inner effects: of many effects a few probes do.
        """
        del H, P
        count = jax.tree.leaves(moved)[0].shape[0]
        blocks = jax.lax.map(
            lambda d: _congruent(small.solve_lower, factor.lower[0], small.to_array(d.blocks[0])),
            moved,
        )
        exact = jnp.einsum("aijl,bijl->ab", blocks, blocks)

        def one(z: Array) -> Array:
            u = self._random(factor, z)

            def parts(d: Cellwise) -> tuple[Array, Array, Array]:
                h = self._downward(factor, self.times(d, u))
                r = self._reduced(factor, h)
                return h[0].ravel(), r, krylov.solve(self._product(factor), r, _ROUGH)

            f, r, solved = jax.lax.map(parts, moved)
            return 2.0 * f @ f.T + r @ solved.T

        like = jnp.zeros((count, count), exact.dtype)
        few = max(4, -(-_TERMS // joined.size(self._inner)))
        return exact + self._mean(one, like, few)

    def inverse_tangent(self, factor: Scaled, d_H: Cellwise) -> Cellwise:
        """-H^-1 dH H^-1 on the sparsity, by u of `_random`:

        H^-1 dH u u' and D^-1 dH u u' together have twice its mean but for D^-1 dD D^-1."""

        def one(z: Array) -> Cellwise:
            u = self._random(factor, z)
            h = self.times(d_H, u)
            solved = self.solve(factor, h)
            first = small.solve(factor.lower[0], h[0])
            v = (solved[0] + first, *solved[1:])
            return cellwise.outer(self.pattern.cells, v, u)

        change = self._mean(one, factor.H)
        scaled = _congruent(small.solve_lower, factor.lower[0], small.to_array(d_H.blocks[0]))
        exact = small.from_array(_congruent(small.solve_upper, factor.lower[0], scaled))
        first = jax.tree.map(lambda a, b: a + b, change.blocks[0], exact)
        change = change._replace(blocks=(first, *change.blocks[1:]))
        return jax.tree.map(jnp.negative, change)

    def covariance_blocks(self, factor: Scaled) -> Effects:
        """Of H~^-1 = [-K; I] S~^-1 [-K; I]' + I_DD, unscaled. With E = I - S~,

            S~^-1 = I + E + E S~^-1 E,

        where I is exact, E has no diagonal blocks, and the last term is exact on eigenvectors of S~
        that one Krylov space holds, an average of squares elsewhere: inner blocks never fall below
        M^-1. In leading blocks K E K' is an average too.
        """
        product = self._product(factor)
        ones = jnp.ones((joined.size(self._inner),), factor.own[0].dtype)
        space = krylov.lanczos(product, ones)
        known = krylov.ritz(space)

        def lead(x: Array) -> Array:
            return self._eliminated(factor, joined.split(x, self._inner))

        def on_known(e: Array, total: Effects) -> Effects:
            y, value = krylov.combine(space, known.vectors[:, e]), known.values[e]
            inner = joined.split((1.0 - value) / jnp.sqrt(value) * y, self._inner)
            first, *rest = (_outer(v, v) for v in (lead(y), *inner))
            own = ((1.0 / value - 1.0) * first, *rest)
            return tuple(t + v for t, v in zip(total, own, strict=True))

        def beyond(z: Array) -> Effects:
            z = z - krylov.combine(space, known.vectors @ (known.vectors.T @ (space.basis @ z)))
            w = krylov.apply(krylov.lanczos(product, z), jax.lax.rsqrt)
            v = w - product(w)
            first = _outer(lead(v), lead(v)) + _outer(lead(z - product(z)), lead(z))
            return (first, *(_outer(part, part) for part in joined.split(v, self._inner)))

        none = jax.tree.map(jnp.zeros_like, factor.H)
        zeros = tuple(small.to_array(block) for block in none.blocks)
        found = jax.lax.fori_loop(0, known.values.shape[0], on_known, zeros)
        B = tuple(_plus_identity(v) for v in zeros[1:])
        exact = self._completed(factor, B, none).blocks
        parts = zip(exact, found, self._mean(beyond, zeros), strict=True)
        first, *rest = (small.to_array(e) + f + m for e, f, m in parts)
        scaled = (_at_least_identity(first), *rest)
        return tuple(
            _congruent(small.solve_upper, L, block)
            for L, block in zip(factor.lower, scaled, strict=True)
        )


@jax.custom_jvp
def _measure(factor: IterativeFactor, scaled: Scaled) -> Measured:
    return factor._measured(scaled)


@_measure.defjvp
def _measure_jvp(primals: Any, tangents: Any) -> tuple[Measured, Measured]:
    """d log det H = sum(P * dH), of the estimate too; P's own tangent is another estimate."""
    (factor, scaled), d_H = primals, tangents[1].H
    measured = _measure(factor, scaled)
    moved = Measured(
        cellwise.contract(measured.inverse, d_H),
        factor.inverse_tangent(scaled, d_H),
        jnp.zeros_like(measured.error),
    )
    return measured, moved


def _congruent(f: Any, L: Stack, M: Array) -> Array:
    """f(L, .) from the left, and its transpose from the right, of (row, column, level)."""
    return small.on_columns(f, L, small.on_rows(f, L, M))


def _plus_identity(M: Array) -> Array:
    return M + jnp.eye(M.shape[0], dtype=M.dtype)[:, :, None]


def _mirrored(M: Array) -> Array:
    """The lower triangle of (row, column, level) and its mirror image."""
    return small.to_array(small.from_array(M))


def _outer(v: Array, w: Array) -> Array:
    """(v w' + w v') / 2 by level, (column, column, level)."""
    product = v[:, None] * w[None, :]
    return 0.5 * (product + jnp.swapaxes(product, 0, 1))


def _at_least_identity(M: Array) -> Array:
    """Eigenvalues below 1 become 1; (row, column, level)."""
    if M.shape[0] == 1:
        return jnp.maximum(M, 1.0)
    values, vectors = jnp.linalg.eigh(jnp.moveaxis(M, -1, 0))
    return jnp.einsum("lie,le,lje->ijl", vectors, jnp.maximum(values, 1.0), vectors)
