"""Several grouping factors: the first one eliminated block by block, a dense Schur complement left.

With H = [[D, C], [C', R]], D the independent q x q blocks of the first factor and the inner
effects of all others in R,

    S = R - C' D^-1 C,          log det H = log det D + log det S,
    P_RR = S^-1,   P_DR = -V S^-1,   P_DD = D^-1 + V S^-1 V',   V = D^-1 C.

The first factor should be the one with the most random effects: cost is that of (its levels) x
(inner effects)^2, memory that of (its levels) x (inner effects).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.factor import curved, joined, small, wide
from jaxglmm.factor.base import AbstractFactor, pair_sums, pair_traces
from jaxglmm.factor.block import BlockFactor
from jaxglmm.factor.small import Stack
from jaxglmm.predictor import Effects, Predictors
from jaxglmm.rows import UNROLLED, Rows, Structure


class Bordered(NamedTuple):
    """A symmetric matrix: blocks by level, C as (column, level, inner), and R as (inner, inner).

    Inner effects are numbered by factor, then column, then level.
    """

    blocks: Stack
    border: Array
    inner: Array


class Eliminated(NamedTuple):
    """The factor of a `Bordered` matrix."""

    lower: Stack  # of the blocks
    V: Array  # D^-1 C
    schur: joined.Inverse  # of S


_Effect = tuple[Array, int, int, int]  # place of each row, column, predictor, factor


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class CrossedFactor(AbstractFactor):
    """Crossed, partially crossed or nested factors with these structures."""

    groupings: tuple[Structure, ...] = dataclasses.field(metadata={"static": True})

    def gram(self, rows: Rows, W: tuple[Predictors, ...]) -> Bordered:
        inner = self._inner(rows)
        lead = jnp.broadcast_to(_levels(rows, 0), rows.y.shape)
        first, size = self.groupings[0], self._num_inner
        border = [
            self._scatter(rows, [(lead, i, a, 0)], inner, W, first.num_levels)
            for i, a in enumerate(first.predictors)
        ]
        return Bordered(
            blocks=BlockFactor().gram(rows, W),
            border=jnp.stack(border),
            inner=self._scatter(rows, inner, inner, W, size),
        )

    def _inner(self, rows: Rows) -> list[_Effect]:
        """Place of each row's inner effects, with their column, predictor and factor."""
        found: list[_Effect] = []
        start = 0
        for k, grouping in enumerate(self.groupings[1:], 1):
            for column, a in enumerate(grouping.predictors):
                found.append((start + _levels(rows, k), column, a, k))
                start += grouping.num_levels
        return found

    def _scatter(
        self,
        rows: Rows,
        left: list[_Effect],
        right: list[_Effect],
        W: tuple[Predictors, ...],
        height: int,
    ) -> Array:
        """sum over rows of W z z', filed under the places of both; (height, inner)."""
        width = self._num_inner
        places, values = [], []
        for at, i, a, k in left:
            for to, j, b, m in right:
                places.append((at * width + to).ravel())
                product = W[a][b] * rows.Z[k][i] * rows.Z[m][j]
                values.append(jnp.broadcast_to(product, rows.y.shape).ravel())
        flat = jnp.zeros(height * width, rows.dtype)
        return flat.at[jnp.concatenate(places)].add(jnp.concatenate(values)).reshape(height, width)

    @property
    def _num_inner(self) -> int:
        return joined.size(self.groupings[1:])

    def penalise(self, A: Bordered, factors: tuple[Array, ...]) -> Bordered:
        border = jnp.einsum("ij,ilr->jlr", factors[0], self._mix(A.border, factors))
        inner = self._mix(self._mix(A.inner, factors).T, factors)
        blocks = BlockFactor(self.groupings[0].triangular).penalise(A.blocks, factors)
        return Bordered(blocks, border, inner + jnp.eye(inner.shape[0], dtype=inner.dtype))

    def slopes(self, A: Bordered, factors: tuple[Array, ...], P: Bordered) -> tuple[Array, ...]:
        """Twice the blocks of A Lambda P within levels, summed over these."""
        if not any(g.wide for g in self.groupings):
            return super().slopes(A, factors, P)
        own, L = small.to_array(A.blocks), factors[0]
        of_first = jnp.einsum("abl,bu,uvl->av", own, L, small.to_array(P.blocks))
        of_first = of_first + jnp.einsum("alr,ulr->au", self._mix(A.border, factors), P.border)
        left = jnp.einsum("au,alr->ulr", L, A.border), self._mix(A.inner, factors).T
        right = P.border, P.inner
        found = [of_first]
        given, latent = joined.given(self.groupings[1:]), joined.latent(self.groupings[1:])
        for k in range(len(given)):
            of = jnp.zeros_like(factors[k + 1])
            for M, N in zip(left, right, strict=True):
                of = of + _within(joined.split(M, given)[k], joined.split(N, latent)[k])
            found.append(of)
        return tuple(2.0 * of for of in found)

    def _mix(self, M: Array, factors: tuple[Array, ...], *, outward: bool = False) -> Array:
        """M Lambda over the inner effects along the last axis (M Lambda' if `outward`)."""
        return joined.mix(M, factors[1:], self.groupings[1:], outward=outward)

    def spread(self, P: Bordered, factors: tuple[Array, ...]) -> Bordered:
        border = self._mix(P.border, factors, outward=True)
        inner = self._mix(self._mix(P.inner, factors, outward=True).T, factors, outward=True)
        return Bordered(
            small.outward(P.blocks, factors[0], triangular=self.groupings[0].triangular),
            jnp.einsum("ji,ilr->jlr", factors[0], border),
            inner,
        )

    def leverages(self, rows: Rows, Q: Bordered) -> tuple[Predictors, ...]:
        h = [list(row) for row in BlockFactor().leverages(rows, Q.blocks)]
        inner, lead = self._inner(rows), _levels(rows, 0)
        for to, j, b, m in inner:
            for i, a in enumerate(self.groupings[0].predictors):
                share = Q.border[i][lead, to] * rows.Z[0][i] * rows.Z[m][j]
                h[a][b] = h[a][b] + share
                h[b][a] = h[b][a] + share  # twice the share where a is b
            for at, i, a, k in inner:
                h[a][b] = h[a][b] + Q.inner[at, to] * rows.Z[k][i] * rows.Z[m][j]
        return tuple(tuple(row) for row in h)

    def times(self, M: Bordered, a: Effects) -> Effects:
        inner = joined.join(a[1:])
        first = small.times(M.blocks, a[0]) + jnp.einsum("ilr,r->il", M.border, inner)
        rest = _pulled(M.border, a[0]) + M.inner @ inner
        return (first, *joined.split(rest, joined.extents(a[1:])))

    def factorise(self, H: Bordered) -> Eliminated:
        lower = small.cholesky(H.blocks, safe=False)
        V, S = _eliminate(lower, H)
        return Eliminated(lower, V, joined.invert(S, safe=False))

    def factorise_safely(self, H: Bordered) -> Eliminated:
        lower = small.cholesky(H.blocks, safe=True)
        V, S = _eliminate(lower, H)
        return Eliminated(lower, V, joined.invert(S, safe=True))

    def solve(self, factor: Eliminated, g: Effects) -> Effects:
        rest = joined.join(g[1:]) - _pulled(factor.V, g[0])
        inner = factor.schur.matrix @ rest
        first = small.solve(factor.lower, g[0]) - jnp.einsum("ilr,r->il", factor.V, inner)
        return (first, *joined.split(inner, joined.latent(self.groupings[1:])))

    def solve_each(self, factor: Eliminated, columns: Effects) -> Effects:
        """All at once: LAPACK's loop over the levels is gone through once."""
        return jax.vmap(lambda g: self.solve(factor, g))(columns)

    def logdet(self, factor: Eliminated) -> Array:
        return small.logdet(factor.lower) + joined.logdet(factor.schur.diagonal)

    def selected_inverse(self, factor: Eliminated) -> Bordered:
        inner = factor.schur.matrix
        border = -jnp.einsum("ilr,rs->ils", factor.V, inner)
        change = _products(border, factor.V)
        return Bordered(small.minus(small.inverse(factor.lower), change), border, inner)

    def trace_products(
        self, H: Bordered, factor: Eliminated, P: Bordered, moved: Bordered
    ) -> Array:
        """By hand: with E = dC - dD V and S' the tangent of S,

        tr(D^-1 dD_i D^-1 dD_j) + 2 sum((D^-1 E_i P_RR) * E_j) + tr(P_RR S'_i P_RR S'_j).
        """
        del H
        V, inverse = factor.V, small.inverse(factor.lower)

        def parts(d: Bordered) -> tuple[Array, Array, Array, Array]:
            bent = _by_column(small.times, d.blocks, V)
            half = jnp.einsum("ilr,ils->rs", V, d.border - 0.5 * bent)
            E = d.border - bent
            through = _by_column(small.solve, factor.lower, E) @ P.inner
            return small.product(inverse, d.blocks), E, through, P.inner @ (d.inner - half - half.T)

        blocks, E, through, inner = jax.lax.map(parts, moved)
        return (
            pair_sums(blocks, jnp.swapaxes(blocks, 1, 2))
            + 2.0 * pair_sums(through, E)
            + pair_traces(inner)
        )

    def curves(self, num_directions: int) -> bool:
        given = joined.given(self.groupings)
        first = self.groupings[0]
        return curved.worthwhile(given, first.num_columns * first.num_levels, num_directions)

    def along_factors(
        self,
        A: Bordered,
        factors: tuple[Array, ...],
        factor: Eliminated,
        moved: tuple[Array, ...],
        beside: tuple[Effects, Effects] | None = None,
    ) -> Array:
        more = None
        if beside is not None:
            k, U = (jax.vmap(joined.join, out_axes=1)(columns) for columns in beside)
            more = k, U
        given, latent = joined.given(self.groupings), joined.latent(self.groupings)
        filled = self._filled(A, factors, factor)
        return curved.along_factors(curved.Filled(*filled, more, given, latent), moved)

    def _filled(
        self, A: Bordered, factors: tuple[Array, ...], factor: Eliminated
    ) -> tuple[curved.Quarters, curved.Quarters, curved.Quarters]:
        """P, N and R of `curved`. With A = [[B, C], [C', A_22]], F = B Lambda_1 D^-1 and

            X = C Lambda_2,  T = A_22 - C' Lambda_1 D^-1 Lambda_1' C,  E = I - F Lambda_1'

        V is D^-1 Lambda_1' X, K [-V; I] is [E X; T Lambda_2], and as
        P = diag(D^-1, 0) + [-V; I] S^-1 [-V; I]',

            N = [F; C' Lambda_1 D^-1] + [E X; T Lambda_2] S^-1 [-V; I]'  (the former on the left),
            R = [[E B, E C], [C' E', T]] - [E X; T Lambda_2] S^-1 [E X; T Lambda_2]'.

        B, D, E and F have blocks by level, so that no product is over all effects on both sides.
        """
        first, S, V = factors[0], factor.schur.matrix, _flat(factor.V)
        B, D = small.to_array(A.blocks), small.to_array(small.inverse(factor.lower))
        DL = jnp.einsum("uvl,av->ual", D, first)
        F = jnp.einsum("abl,ubl->aul", B, DL)
        E = jnp.eye(F.shape[0], dtype=F.dtype)[:, :, None] - jnp.einsum("avl,cv->acl", F, first)
        EC, DLC = (jnp.einsum("acl,clr->alr", M, A.border) for M in (E, DL))
        LC = _flat(jnp.einsum("au,alr->ulr", first, A.border))
        T = A.inner - joined.symmetric_product(_flat(DLC).T, LC.T)
        EX, TL = _flat(self._mix(EC, factors)), self._mix(T, factors)
        XS = self._mix(A.border, factors) @ S
        VS, EXS = (_flat(jnp.einsum("acl,clr->alr", M, XS)) for M in (DL, E))
        TLS = TL @ S
        P = curved.Quarters(_at_levels(joined.symmetric_product(VS, V), D), -VS, None, S)
        N = curved.Quarters(_at_levels(-EXS @ V.T, F), EXS, _flat(DLC).T - TLS @ V.T, TLS)
        R = curved.Quarters(
            _at_levels(-joined.symmetric_product(EXS, EX), jnp.einsum("acl,cdl->adl", E, B)),
            _flat(EC) - EXS @ TL.T,
            None,
            T - joined.symmetric_product(TLS, TL),
        )
        return P, N, R

    def contract(self, P: Bordered, H: Bordered) -> Array:
        blocks = jnp.sum(BlockFactor().contract(P.blocks, H.blocks))
        return (blocks + 2.0 * jnp.sum(P.border * H.border) + jnp.sum(P.inner * H.inner))[None]

    def covariance_blocks(self, factor: Eliminated) -> Effects:
        P = self.selected_inverse(factor)
        first = small.to_array(P.blocks)
        return (first, *joined.diagonal_blocks(P.inner, joined.latent(self.groupings[1:])))


def _levels(rows: Rows, k: int) -> Array:
    """Level of factor k of every row, broadcastable to (slot, chunk)."""
    return rows.codes[0][None, :] if k == 0 else rows.codes[k]


def _pulled(C: Array, v: Array) -> Array:
    """C' v for C as (column, level, inner): v from the left, or XLA's CPU would transpose C."""
    return v.ravel() @ _flat(C)


def _flat(border: Array) -> Array:
    """(column, level, inner) as a matrix over (column, level)."""
    return border.reshape(-1, border.shape[-1])


def _at_levels(M: Array, blocks: Array) -> Array:
    """M over (column, level) on both sides, with (column, column, level) added within levels."""
    p, q, levels = blocks.shape
    eye = jnp.eye(levels, dtype=M.dtype)
    return M + jnp.einsum("ijl,lm->iljm", blocks, eye).reshape(p * levels, q * levels)


def _within(a: Array, b: Array) -> Array:
    """sum of a_cm b_dm over levels m and all leading axes, a and b being (..., column, level); by
    products for each entry of these, as in `joined.mix`."""
    a, b = a.reshape(-1, *a.shape[-2:]), b.reshape(-1, *b.shape[-2:])
    return jnp.sum(wide.matmul(a, jnp.swapaxes(b, 1, 2)), axis=0)


def _products(a: Array, b: Array) -> Array:
    """a b' of every level for borders (column, level, inner); (column, column, level)."""
    if a.shape[0] > UNROLLED:
        return jnp.einsum("ilr,jlr->ijl", a, b)
    return jnp.sum(a[:, None] * b[None], axis=-1)


def _eliminate(lower: Stack, H: Bordered) -> tuple[Array, Array]:
    """V = D^-1 C and S = R - C' V."""
    if isinstance(lower, list):
        V = _by_column(small.solve, lower, H.border)
        return V, H.inner - jnp.einsum("ilr,ils->rs", H.border, V)
    by_level = jnp.swapaxes(H.border, 0, 1)  # as wide matrices are
    V = wide.matmul(wide.inverse(lower), by_level)
    width = V.shape[-1]
    S = H.inner - joined.symmetric_product(by_level.reshape(-1, width).T, V.reshape(-1, width).T)
    return jnp.swapaxes(V, 0, 1), S


def _by_column(f: Callable[[Stack, Array], Array], M: Stack, C: Array) -> Array:
    """f(M, .) of every inner column of C, shape (column, level, inner)."""
    return jax.vmap(functools.partial(f, M), in_axes=2, out_axes=2)(C)
