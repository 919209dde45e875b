"""Fixed effects among the inner variables: any other structure with a border of p columns.

X here is the columns inside alone (`Rows.inside`). With beta under a flat prior beside u, the
penalised Hessian is H = [[D, C], [C', R]], D that of u in the inner structure, C = Lambda' Z'WX and
R = X'WX. With V = D^-1 C,

    S = R - C' V,         log det H = log det D + log det S,
    H^-1 = diag(D^-1, 0) + U U',    U = [-V; I] L^-T,    S = L L'.

The second term has p columns, whatever the sparsity of D: the inverse is kept as this sum, so that
any inner structure serves without knowing of the border.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import add, plus
from jaxglmm.factor import joined
from jaxglmm.factor.base import AbstractFactor, Measured, pair_sums
from jaxglmm.predictor import (
    Effects,
    Predictors,
    inner_column,
    random_effects,
    random_part,
    transpose_lambda,
    transpose_random,
    weigh,
)
from jaxglmm.rows import Rows


class Bordered(NamedTuple):
    """A symmetric matrix in u and beta."""

    inner: Any
    border: Effects  # one column of X after another, (fixed, column, level) by grouping factor
    corner: Array  # (fixed, fixed)


class Eliminated(NamedTuple):
    """The factor of a `Bordered` matrix."""

    inner: Any
    V: Effects  # D^-1 C
    schur: Array  # lower Cholesky factor of S


class Inverse(NamedTuple):
    """The selected inverse of the inner structure, and U with its columns along the first axis.

    U covers u and beta; it is () where log det D alone counts.
    """

    inner: Any
    U: Effects


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class BorderedFactor(AbstractFactor):
    """The fixed effects beside an inner structure.

    Attributes:
        base: the structure of the random effects.
        free: which of these columns have a coefficient to estimate; shape (inside,).
        integrated: whether `logdet` and the inverse that belongs to it are those of H (REML) or of
            D alone (beta is maximised over); `solve` is with H always.
    """

    base: AbstractFactor
    free: Array
    integrated: bool = dataclasses.field(metadata={"static": True})

    @property
    def column_cost(self) -> float:
        return 0.5

    @property
    def keeps(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """As the inner structure: the border is cheap."""
        return self.base.keeps

    @property
    def coupled(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Every component of the inner structure feels beta."""
        return True

    def gram(self, rows: Rows, W: tuple[Predictors, ...]) -> Bordered:
        def column(j: Array) -> Effects:
            return transpose_random(rows, weigh(W, inner_column(rows, j)))

        *border, corner = jax.lax.map(column, jnp.arange(len(rows.inside)))
        return Bordered(self.base.gram(rows.random_only, W), tuple(border), corner[:, :, 0])

    def penalise(self, A: Bordered, factors: tuple[Array, ...]) -> Bordered:
        inner, free = self.base.penalise(A.inner, factors[:-1]), jnp.diagonal(factors[-1])
        border = _each(lambda v: transpose_lambda(factors[:-1], v), A.border)
        border = tuple(free[:, None, None] * C for C in border)
        held = jnp.where(self.free, 0.0, 1.0).astype(A.corner.dtype)
        return Bordered(inner, border, free[:, None] * A.corner * free + jnp.diag(held))

    def slopes(self, A: Bordered, factors: tuple[Array, ...], P: Inverse) -> tuple[Array, ...]:
        if self.integrated:
            return super().slopes(A, factors, P)
        return (*self.base.slopes(A.inner, factors[:-1], P.inner), jnp.zeros_like(factors[-1]))

    def spread(self, P: Inverse, factors: tuple[Array, ...]) -> Inverse:
        U = jax.vmap(lambda v: random_effects(factors, v))(P.U) if self.integrated else ()
        return Inverse(self.base.spread(P.inner, factors[:-1]), U)

    def leverages(self, rows: Rows, Q: Inverse) -> tuple[Predictors, ...]:
        h = self.base.leverages(rows.random_only, Q.inner)
        if not self.integrated:
            return h
        shape, axes = rows.y.shape, range(len(h))

        def more(total: tuple[Predictors, ...], column: Effects) -> Any:
            eta = random_part(rows, column)
            moved = tuple(tuple(total[a][b] + eta[a] * eta[b] for b in axes) for a in axes)
            return moved, None

        begin = tuple(tuple(jnp.broadcast_to(v, shape) for v in row) for row in h)
        return jax.lax.scan(more, begin, Q.U)[0]

    def times(self, M: Bordered, a: Effects) -> Effects:
        *u, last = a
        beta = last[:, 0]
        crossed = tuple(jnp.tensordot(beta, C, axes=1) for C in M.border)
        product = self.base.times(M.inner, tuple(u))
        across = _dots(M.border, tuple(u), beta) + M.corner @ beta
        return (*(v + c for v, c in zip(product, crossed, strict=True)), across[:, None])

    def factorise(self, H: Bordered) -> Eliminated:
        return self._eliminate(self.base.factorise(H.inner), H, safe=False)

    def factorise_safely(self, H: Bordered) -> Eliminated:
        return self._eliminate(self.base.factorise_safely(H.inner), H, safe=True)

    def _eliminate(self, inner: Any, H: Bordered, *, safe: bool) -> Eliminated:
        V = self.base.solve_each(inner, H.border)
        explained = sum((_pairs(c, v) for c, v in zip(H.border, V, strict=True)), 0.0 * H.corner)
        S = H.corner - explained
        return Eliminated(inner, V, joined.cholesky(0.5 * (S + S.T), safe=safe))

    def solve(self, factor: Eliminated, g: Effects) -> Effects:
        *u, last = g
        rest = last[:, 0] - _dots(factor.V, tuple(u), last[:, 0])
        beta = joined.solve(factor.schur, rest[:, None])[:, 0]
        inner = self.base.solve(factor.inner, tuple(u))
        back = (jnp.tensordot(beta, V, axes=1) for V in factor.V)
        return (*(v - b for v, b in zip(inner, back, strict=True)), beta[:, None])

    def logdet(self, factor: Eliminated) -> Array:
        inner = self.base.logdet(factor.inner)
        return inner + joined.logdet(jnp.diagonal(factor.schur)) if self.integrated else inner

    def selected_inverse(self, factor: Eliminated) -> Inverse:
        inner = self.base.selected_inverse(factor.inner)
        return Inverse(inner, self._low_rank(factor) if self.integrated else ())

    def measure(self, factor: Eliminated) -> Measured:
        logdet, inverse, error = self.base.measure(factor.inner)
        if not self.integrated:
            return Measured(logdet, Inverse(inverse, ()), error)
        whole = logdet + joined.logdet(jnp.diagonal(factor.schur))
        return Measured(whole, Inverse(inverse, self._low_rank(factor)), error)

    def _low_rank(self, factor: Eliminated) -> Effects:
        """U = [-V; I] L^-T, column by column."""
        eye = jnp.eye(factor.schur.shape[0], dtype=factor.schur.dtype)
        root = joined.solve_lower(factor.schur, eye)
        return (*(-jnp.tensordot(root, V, axes=1) for V in factor.V), root[:, :, None])

    def trace_products(self, H: Bordered, factor: Eliminated, P: Inverse, moved: Bordered) -> Array:
        """With P = diag(D^-1, 0) + U U' and G_i = dH_i U:

        tr(D^-1 dD_i D^-1 dD_j) + 2 sum((D^-1 G_i) * G_j) over u + tr(U' G_i U' G_j).
        """
        inner = self.base.trace_products(H.inner, factor.inner, P.inner, moved.inner)
        if not self.integrated:
            return inner

        def parts(d: Bordered) -> tuple[Effects, Effects, Array]:
            G = jax.lax.map(lambda column: self.times(d, column), P.U)
            solved = self.base.solve_each(factor.inner, G[:-1])
            return G[:-1], solved, add(_pairs(a, b) for a, b in zip(P.U, G, strict=True))

        G, solved, squares = jax.lax.map(parts, moved)
        across = sum((pair_sums(s, g) for s, g in zip(solved, G, strict=True)), 0.0 * inner)
        return inner + 2.0 * across + pair_sums(squares, jnp.swapaxes(squares, 1, 2))

    def curves(self, num_directions: int) -> bool:
        return self.base.curves(num_directions)

    def along_factors(
        self,
        A: Bordered,
        factors: tuple[Array, ...],
        factor: Eliminated,
        moved: tuple[Array, ...],
        beside: tuple[Effects, Effects] | None = None,
    ) -> Array:
        if self.integrated:
            *U, beta = self._low_rank(factor)
            spread = jax.vmap(lambda u: random_effects(factors[:-1], u))(tuple(U))
            k = _each(lambda b: self.base.times(A.inner, b), spread)
            free = jnp.diagonal(factors[-1])
            across = (jnp.tensordot(free * beta[:, :, 0], C, axes=1) for C in A.border)
            beside = plus(k, tuple(across)), tuple(U)
        return self.base.along_factors(A.inner, factors[:-1], factor.inner, moved[:-1], beside)

    def rough_trace_products(self, factor: Eliminated, moved: Bordered) -> Array:
        """That of the inner structure: the border has few columns."""
        return self.base.rough_trace_products(factor.inner, moved.inner)

    def contract(self, P: Inverse, H: Bordered) -> Array:
        inner = jnp.sum(self.base.contract(P.inner, H.inner))[None]
        if not self.integrated:
            return inner

        def form(total: Array, column: Effects) -> Any:
            image = self.times(H, column)
            return total + add(jnp.sum(a * b) for a, b in zip(column, image, strict=True)), None

        return inner + jax.lax.scan(form, jnp.zeros((), inner.dtype), P.U)[0]

    def inner(self, rows: Rows, a: Effects, b: Effects) -> Array:
        """Of the inner structure's components, then of beta."""
        within = self.base.inner(rows.random_only, a[:-1], b[:-1])
        return jnp.concatenate([within, jnp.sum(a[-1] * b[-1])[None]])

    def per_component(self, rows: Rows, values: Array, a: Effects) -> Effects:
        within = self.base.per_component(rows.random_only, values[:-1], a[:-1])
        return (*within, values[-1] * a[-1])

    def covariance_blocks(self, factor: Eliminated) -> Effects:
        """Those of H^-1 whatever `integrated` says; the last one is of beta, all columns."""
        U = self._low_rank(factor)
        blocks = self.base.covariance_blocks(factor.inner)
        more = (jnp.einsum("kil,kjl->ijl", part, part) for part in U[:-1])
        beta = U[-1][:, :, 0]
        corner = (beta.T @ beta)[:, :, None]
        return (*(b + m for b, m in zip(blocks, more, strict=True)), corner)


def _each(f: Callable[[Effects], Effects], columns: Effects) -> Effects:
    """f of the random effects that belong to each column of X; nothing where there are none."""
    return jax.lax.map(f, columns) if columns else ()


def _pairs(a: Array, b: Array) -> Array:
    """sum(a_i * b_j) over all but the leading axes, as one matrix product."""
    return a.reshape(a.shape[0], -1) @ b.reshape(b.shape[0], -1).T


def _dots(columns: Effects, a: Effects, like: Array) -> Array:
    """sum(columns_j * a) for every j; zero without random effects."""
    pairs = zip(columns, a, strict=True)
    return sum((jnp.sum(C * v, axis=(1, 2)) for C, v in pairs), jnp.zeros_like(like))
