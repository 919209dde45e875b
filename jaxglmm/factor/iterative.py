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
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.factor import cellwise, joined, krylov, small
from jaxglmm.factor.base import AbstractFactor, Measured
from jaxglmm.factor.cellwise import Cellwise
from jaxglmm.factor.complement import Complement, Scaled, congruent, plus_identity
from jaxglmm.factor.probes import average
from jaxglmm.factor.variances import covariance_blocks
from jaxglmm.pattern import Iterative
from jaxglmm.pattern.cells import pairs
from jaxglmm.predictor import Effects, Predictors
from jaxglmm.rows import Rows, Structure

_TERMS = 50_000  # of an average that standard errors rest on; its noise is some 1 % of one's spread
_ROUGH = 1e-4  # relative residual of systems that only an average over probes sees


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class IterativeFactor(AbstractFactor):
    """Crossed factors with these structures, as many levels as the cells fit in memory."""

    groupings: tuple[Structure, ...] = dataclasses.field(metadata={"static": True})
    pattern: Iterative

    @property
    def column_cost(self) -> float:
        return 0.5

    def _complement(self, scaled: Scaled) -> Complement:
        inner = joined.latent(self.groupings[1:])
        return Complement(inner, self.groupings[0].num_levels, self.pattern.cells, scaled)

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
        for m, grouping in enumerate(self.groupings[1:]):
            c = self.pattern.cells[m]
            left = small.take(lower[0], c.lead)
            half.append(small.on_rows(small.solve_lower, left, H.cells[m]))
            sums = _squares(half[m], c.level, grouping.num_levels)
            lower.append(small.cholesky(small.minus(H.blocks[m + 1], sums), safe=safe))
            own.append(plus_identity(congruent(small.solve_lower, lower[m + 1], sums)))
        cells, tables = [], pairs(len(self.groupings))
        for (k, m), c, C in zip(tables, self.pattern.cells, H.cells, strict=True):
            if k == 0:
                left = half[m - 1]
            else:
                left = small.on_rows(small.solve_lower, small.take(lower[k], c.lead), C)
            cells.append(small.on_columns(small.solve_lower, small.take(lower[m], c.level), left))
        return Scaled(H, tuple(lower), tuple(own), tuple(cells))

    def solve(self, factor: Scaled, g: Effects) -> Effects:
        of = self._complement(factor)
        g = of.downward(g)
        inner = joined.split(krylov.solve(of.product, of.reduced(g)), of.inner)
        return of.upward((g[0] - of.eliminated(inner), *inner))

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

    def _measured(self, factor: Scaled) -> Measured:
        of = self._complement(factor)

        def one(z: Array) -> Any:
            return _one_probe(of, z)

        zero = jnp.zeros((), factor.own[0].dtype)
        like = (zero, zero, factor.H, factor.own)
        mean, square, G, products = average(self.pattern.probes, one, like)
        exact = jnp.sum(jnp.stack([small.logdet(L) for L in factor.lower]))
        spread = jnp.maximum(square - mean * mean, 0.0) / max(self.num_probes - 1, 1)
        B = tuple(plus_identity(-_mirrored(products_)) for products_ in products)
        return Measured(exact + mean, of.unscaled(of.completed(B, G)), jnp.sqrt(spread))

    def trace_products(self, H: Cellwise, factor: Scaled, P: Cellwise, moved: Cellwise) -> Array:
        """tr(P dH_i P dH_j) = tr(D^-1 dD_i D^-1 dD_j) + E(2 f_i' D^-1 f_j + r_i' S^-1 r_j),

        dH_j u having f_j in the leading factor and r_j reduced to the inner ones, u of
        `Complement.random`. Each probe averages over all inner effects: of many a few probes do.
        """
        del H, P
        of = self._complement(factor)
        count = jax.tree.leaves(moved)[0].shape[0]
        blocks = jax.lax.map(
            lambda d: congruent(small.solve_lower, factor.lower[0], small.to_array(d.blocks[0])),
            moved,
        )
        exact = jnp.einsum("aijl,bijl->ab", blocks, blocks)

        def one(z: Array) -> Array:
            u = of.random(z)

            def parts(d: Cellwise) -> tuple[Array, Array, Array]:
                h = of.downward(self.times(d, u))
                r = of.reduced(h)
                return h[0].ravel(), r, krylov.solve(of.product, r, _ROUGH)

            f, r, solved = jax.lax.map(parts, moved)
            return 2.0 * f @ f.T + r @ solved.T

        few = max(4, -(-_TERMS // of.size))
        probes = tuple(p[:few] for p in self.pattern.probes)
        return exact + average(probes, one, jnp.zeros((count, count), exact.dtype))

    def inverse_tangent(self, factor: Scaled, d_H: Cellwise) -> Cellwise:
        """-H^-1 dH H^-1 on the sparsity, by u of `Complement.random`:

        H^-1 dH u u' and D^-1 dH u u' together have twice its mean but for D^-1 dD D^-1."""
        of = self._complement(factor)

        def one(z: Array) -> Cellwise:
            u = of.random(z)
            h = self.times(d_H, u)
            solved = self.solve(factor, h)
            first = small.solve(factor.lower[0], h[0])
            v = (solved[0] + first, *solved[1:])
            return cellwise.outer(self.pattern.cells, v, u)

        change = average(self.pattern.probes, one, factor.H)
        scaled = congruent(small.solve_lower, factor.lower[0], small.to_array(d_H.blocks[0]))
        exact = small.from_array(congruent(small.solve_upper, factor.lower[0], scaled))
        first = jax.tree.map(lambda a, b: a + b, change.blocks[0], exact)
        change = change._replace(blocks=(first, *change.blocks[1:]))
        return jax.tree.map(jnp.negative, change)

    def covariance_blocks(self, factor: Scaled) -> Effects:
        return covariance_blocks(self._complement(factor), self.pattern.probes)


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


def _one_probe(of: Complement, z: Array) -> tuple[Array, Array, Cellwise, tuple[Array, ...]]:
    """z' (log S~ - S~ + I) z, its square, and its derivative in scaled numbers: G, and the
    block sums of x (S~ x)' that L's change asks for."""
    space = krylov.lanczos(of.product, z)
    value, form = krylov.log_remainder(space)

    def term(e: Array, total: tuple[Cellwise, tuple[Array, ...]]) -> Any:
        squares, products = total
        vector = form.vectors[:, e]
        x = joined.split(krylov.combine(space, vector), of.inner)
        moved = joined.split(krylov.combine(space, space.T @ vector), of.inner)
        p, weight = (-of.eliminated(x), *x), form.weights[e]
        fresh = cellwise.square(of.cells, p)
        outer = tuple(
            s + weight * v[:, None] * w[None, :] for s, v, w in zip(products, x, moved, strict=True)
        )
        return jax.tree.map(lambda s, v: s + weight * v, squares, fresh), outer

    none = jax.tree.map(jnp.zeros_like, (of.scaled.H, of.scaled.own))
    squares, products = jax.lax.fori_loop(0, form.count, term, none)
    return value, value * value, squares, products


def _squares(K: Array, index: Array, size: int) -> Array:
    """sum of K'K by level of the inner factor, (column, column, level)."""

    def entry(i: int, j: int) -> Array:
        return jax.ops.segment_sum(jnp.sum(K[:, i] * K[:, j], axis=0), index, size)

    return cellwise.table(K.shape[1], K.shape[1], entry)


def _mirrored(M: Array) -> Array:
    """The lower triangle of (row, column, level) and its mirror image."""
    return small.to_array(small.from_array(M))
