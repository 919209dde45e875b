"""Several grouping factors of which few levels meet: sparse elimination of the first one.

The matrices of `crossed` on the entries that rows can fill. C has a small block for each cell, a
pair of a leading level and an inner one that some row has; S has one for each pair of inner levels
that share a leading level, and the sums that make it run over the pairs of cells of a level:

    S_rs = R_rs - sum over l of C_lr' D_l^-1 C_ls.

Dense are the Cholesky factor of S and its inverse alone. The gradient needs the latter on the
entries of S, and on cells P_lr = -sum_s V_ls P_sr, over the same pairs.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import add
from jaxglmm.factor import cellwise, joined, small
from jaxglmm.factor.base import AbstractFactor, pair_sums, pair_traces
from jaxglmm.factor.block import BlockFactor
from jaxglmm.factor.small import Stack
from jaxglmm.pattern import Links, Paired
from jaxglmm.predictor import Effects, Predictors, at_levels
from jaxglmm.rows import Rows, Structure

_PROBES = 2  # of a rough trace: some thousand effects make it right to a per cent or so

Parts = tuple[Array, ...]


class Sparse(NamedTuple):
    """A symmetric matrix on the sparsity of H.

    Blocks by leading level; for each inner factor (column of the first, own column, cell); for
    each pair of inner factors, as in `Links`, (column of the left, of the right, entry).
    """

    blocks: Stack
    cells: Parts
    inner: Parts


class Eliminated(NamedTuple):
    """The factor of a `Sparse` matrix."""

    lower: Stack  # of the blocks
    V: Parts  # D^-1 C
    schur: joined.Inverse  # of S


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PairedFactor(AbstractFactor):
    """Crossed or partially crossed factors with these structures."""

    groupings: tuple[Structure, ...] = dataclasses.field(metadata={"static": True})
    pattern: Paired

    column_cost: ClassVar[float] = 0.25
    keeps: ClassVar[bool] = True

    @property
    def _inner(self) -> tuple[joined.Extent, ...]:
        """Shapes of the inner spherical effects."""
        return joined.latent(self.groupings[1:])

    def gram(self, rows: Rows, W: tuple[Predictors, ...]) -> Sparse:
        def sums(k: int, m: int, at: Array, size: int) -> Array:
            """sum over rows of W z z', z of factors k and m, by `at`."""
            left, right = self.groupings[k], self.groupings[m]

            def entry(i: int, j: int) -> Array:
                weights = W[left.predictors[i]][right.predictors[j]]
                values = weights * rows.Z[k][i] * rows.Z[m][j]
                return jax.ops.segment_sum(
                    jnp.broadcast_to(values, rows.y.shape).ravel(), at.ravel(), size
                )

            return cellwise.table(left.num_columns, right.num_columns, entry)

        return Sparse(
            blocks=BlockFactor().gram(rows, W),
            cells=tuple(
                sums(0, m + 1, c.of_row, c.lead.shape[0]) for m, c in enumerate(self.pattern.cells)
            ),
            inner=tuple(
                sums(link.factors[0] + 1, link.factors[1] + 1, link.of_row, link.row.shape[0])
                for link in self.pattern.links
            ),
        )

    def penalise(self, A: Sparse, factors: tuple[Array, ...]) -> Sparse:
        inner = self._mixed(A.inner, factors, "ije,ia,jb->abe")
        return Sparse(
            BlockFactor(self.groupings[0].triangular).penalise(A.blocks, factors),
            self._mixed_cells(A.cells, factors, "ijc,ia,jb->abc"),
            tuple(
                _add_identity(values, link) for values, link in zip(inner, self._links, strict=True)
            ),
        )

    def spread(self, P: Sparse, factors: tuple[Array, ...]) -> Sparse:
        return Sparse(
            BlockFactor(self.groupings[0].triangular).spread(P.blocks, factors),
            self._mixed_cells(P.cells, factors, "ijc,ai,bj->abc"),
            self._mixed(P.inner, factors, "ije,ai,bj->abe"),
        )

    @property
    def _links(self) -> tuple[Links, ...]:
        return self.pattern.links

    def _mixed_cells(self, cells: Parts, factors: tuple[Array, ...], form: str) -> Parts:
        pairs = zip(cells, factors[1:], strict=True)
        return tuple(jnp.einsum(form, C, factors[0], L) for C, L in pairs)

    def _mixed(self, inner: Parts, factors: tuple[Array, ...], form: str) -> Parts:
        return tuple(
            jnp.einsum(form, R, factors[1 + link.factors[0]], factors[1 + link.factors[1]])
            for R, link in zip(inner, self._links, strict=True)
        )

    def leverages(self, rows: Rows, Q: Sparse) -> tuple[Predictors, ...]:
        h = [list(row) for row in BlockFactor().leverages(rows, Q.blocks)]

        def share(k: int, m: int, values: Array, at: Array, *, twice: bool) -> None:
            """Add z' q z of factors k and m in this order, and in the other if `twice`."""
            left, right = self.groupings[k].predictors, self.groupings[m].predictors
            for (i, a), (j, b) in itertools.product(enumerate(left), enumerate(right)):
                part = at_levels(values[i, j], at) * rows.Z[k][i] * rows.Z[m][j]
                h[a][b] = h[a][b] + part
                if twice:
                    h[b][a] = h[b][a] + part

        for m, (values, c) in enumerate(zip(Q.cells, self.pattern.cells, strict=True)):
            share(0, m + 1, values, c.of_row, twice=True)
        for values, link in zip(Q.inner, self._links, strict=True):
            m, k = link.factors
            share(m + 1, k + 1, values, link.of_row, twice=m != k)
        return tuple(tuple(row) for row in h)

    def times(self, M: Sparse, a: Effects) -> Effects:
        product = [small.times(M.blocks, a[0]), *[jnp.zeros_like(v) for v in a[1:]]]
        for m, C in enumerate(M.cells):
            product[0] = product[0] + self._to_lead(m, C, a[m + 1])
            product[m + 1] = product[m + 1] + self._from_lead(m, C, a[0])
        for values, link in zip(M.inner, self._links, strict=True):
            m, k = link.factors
            there = _at(a[k + 1], link.column)
            sums = jnp.einsum("ije,je->ie", values, there)
            product[m + 1] = product[m + 1] + cellwise.sum_by(sums, link.row, a[m + 1].shape[1])
            back = _without_loops(values, link)
            sums = jnp.einsum("ije,ie->je", back, _at(a[m + 1], link.row))
            product[k + 1] = product[k + 1] + cellwise.sum_by(sums, link.column, a[k + 1].shape[1])
        return tuple(product)

    def _to_lead(self, m: int, C: Array, values: Array) -> Array:
        """C v, v by inner level."""
        return cellwise.to_first(self.pattern.cells[m], C, values, self.groupings[0].num_levels)

    def _from_lead(self, m: int, C: Array, values: Array) -> Array:
        """C' v, v by leading level."""
        return cellwise.to_second(self.pattern.cells[m], C, values, self._inner[m].num_levels)

    def factorise(self, H: Sparse) -> Eliminated:
        return self._factorise(H, safe=False)

    def factorise_safely(self, H: Sparse) -> Eliminated:
        return self._factorise(H, safe=True)

    def _factorise(self, H: Sparse, *, safe: bool) -> Eliminated:
        lower = small.cholesky(H.blocks, safe=safe)
        V = self._solve_blocks(lower, H.cells)
        S = tuple(
            R - change for R, change in zip(H.inner, self._products((H.cells, V)), strict=True)
        )
        return Eliminated(lower, V, joined.invert(self._dense(S), safe=safe))

    def _solve_blocks(self, lower: Stack, C: Parts) -> Parts:
        """D^-1 C."""
        return tuple(
            small.on_rows(small.solve, small.take(lower, cells.lead), values)
            for values, cells in zip(C, self.pattern.cells, strict=True)
        )

    def _products(self, *pairs: tuple[Parts, Parts]) -> Parts:
        """Sums of C' V on the entries of S, for pairs of C and V by cell."""
        return tuple(
            _entry_sums([(C[link.factors[0]], V[link.factors[1]]) for C, V in pairs], link)
            for link in self._links
        )

    def _dense(self, inner: Parts) -> Array:
        """The symmetric matrix over all inner effects."""
        size = joined.size(self._inner)
        above, below, entries = [], [], []
        for values, link in zip(inner, self._links, strict=True):
            rows, columns = self._places(link)
            for i, j in itertools.product(range(values.shape[0]), range(values.shape[1])):
                above.append(rows[i])
                below.append(columns[j])
                entries.append(values[i, j])
        to = jnp.concatenate([*above, *below]), jnp.concatenate([*below, *above])
        matrix = jnp.zeros((size, size), inner[0].dtype)
        return matrix.at[to].set(jnp.concatenate(entries * 2), mode="drop")

    def _sparse(self, matrix: Array) -> Parts:
        """A symmetric matrix over all inner effects on the entries of S."""
        parts = []
        for link in self._links:
            rows, columns = self._places(link)
            form = (len(rows), len(columns))

            def entry(i: int, j: int, rows: list[Array] = rows, columns: list[Array] = columns):
                return matrix.at[rows[i], columns[j]].get(mode="fill", fill_value=0.0)

            parts.append(cellwise.table(*form, entry))
        return tuple(parts)

    def _places(self, link: Links) -> tuple[list[Array], list[Array]]:
        """Row and column of the joined matrix for each entry, by column of either factor.

        An entry beyond the levels, which only pads, lies outside the matrix.
        """
        size = joined.size(self._inner)

        def places(m: int, levels: Array) -> list[Array]:
            first, own = joined.size(self._inner[:m]), self._inner[m]
            inside = levels < own.num_levels
            return [
                jnp.where(inside, first + i * own.num_levels + levels, size)
                for i in range(own.num_columns)
            ]

        m, k = link.factors
        return places(m, link.row), places(k, link.column)

    def solve(self, factor: Eliminated, g: Effects) -> Effects:
        rest = tuple(
            v - self._from_lead(m, V, g[0])
            for m, (v, V) in enumerate(zip(g[1:], factor.V, strict=True))
        )
        solved = factor.schur.matrix @ joined.join(rest)
        inner = joined.split(solved, self._inner)
        back = add(self._to_lead(m, V, inner[m]) for m, V in enumerate(factor.V))
        return (small.solve(factor.lower, g[0]) - back, *inner)

    def logdet(self, factor: Eliminated) -> Array:
        return small.logdet(factor.lower) + joined.logdet(factor.schur.diagonal)

    def selected_inverse(self, factor: Eliminated) -> Sparse:
        inner = self._sparse(factor.schur.matrix)
        cells = tuple(-C for C in self._through(factor.V, inner))
        blocks = small.inverse(factor.lower)
        for C, V, at in zip(cells, factor.V, self.pattern.cells, strict=True):
            lead = self.groupings[0].num_levels
            change = jnp.einsum("irc,jrc->ijc", C, V)
            blocks = small.minus(blocks, cellwise.sum_by(change, at.lead, lead))
        return Sparse(blocks, cells, inner)

    def _through(self, V: Parts, inner: Parts) -> Parts:
        """V P on the cells, for V by cell and P on the entries of S."""
        total = [jnp.zeros_like(v) for v in V]
        for P, link in zip(inner, self._links, strict=True):
            m, k = link.factors
            at_pairs = _at(P, link.entry)
            to_left = _pair_table(V[k], link.right, at_pairs, transposed=True)
            total[m] = total[m] + cellwise.sum_by(to_left, link.left, V[m].shape[-1])
            once = jnp.where(link.left == link.right, 0.0, 1.0) if m == k else 1.0
            to_right = _pair_table(V[m], link.left, at_pairs, transposed=False) * once
            total[k] = total[k] + cellwise.sum_by(to_right, link.right, V[k].shape[-1])
        return tuple(total)

    def trace_products(self, H: Sparse, factor: Eliminated, P: Sparse, moved: Sparse) -> Array:
        """By hand, as `CrossedFactor`: E = dC - dD V on cells, S' on the entries of S."""
        del H
        V, inverse = factor.V, small.inverse(factor.lower)

        def parts(d: Sparse) -> tuple[Array, Parts, Parts, Array]:
            bent = tuple(
                small.on_rows(small.times, small.take(d.blocks, at.lead), v)
                for v, at in zip(V, self.pattern.cells, strict=True)
            )
            E = tuple(C - b for C, b in zip(d.cells, bent, strict=True))
            through = self._through(self._solve_blocks(factor.lower, E), P.inner)
            change = self._products((E, V), (V, d.cells))
            d_S = tuple(R - c for R, c in zip(d.inner, change, strict=True))
            return (
                small.product(inverse, d.blocks),
                E,
                through,
                factor.schur.matrix @ self._dense(d_S),
            )

        blocks, E, through, inner = jax.lax.map(parts, moved)
        cells = add(pair_sums(t, e) for t, e in zip(through, E, strict=True))
        return pair_sums(blocks, jnp.swapaxes(blocks, 1, 2)) + cells + cells.T + pair_traces(inner)

    def rough_trace_products(self, factor: Eliminated, moved: Sparse) -> Array:
        """The mean over a few sign vectors z of (dH_i P z)' P dH_j z."""
        shapes = joined.latent(self.groupings)
        keys = jax.random.split(jax.random.key(0), _PROBES)

        def probe(key: Array) -> Array:
            z = jax.random.rademacher(key, (joined.size(shapes),), factor.schur.matrix.dtype)
            z = joined.split(z, shapes)
            solved = self.solve(factor, z)
            both = tuple(map(jnp.stack, zip(solved, z, strict=True)))
            images = jax.lax.map(lambda d: jax.lax.map(lambda v: self.times(d, v), both), moved)
            left = tuple(image[:, 0] for image in images)
            right = jax.lax.map(lambda v: self.solve(factor, v), tuple(v[:, 1] for v in images))
            return add(pair_sums(x, y) for x, y in zip(left, right, strict=True))

        products = jnp.mean(jax.lax.map(probe, keys), axis=0)
        return 0.5 * (products + products.T)

    def contract(self, P: Sparse, H: Sparse) -> Array:
        total = jnp.sum(BlockFactor().contract(P.blocks, H.blocks))
        total = total + 2.0 * add(jnp.sum(p * c) for p, c in zip(P.cells, H.cells, strict=True))
        for p, values, link in zip(P.inner, H.inner, self._links, strict=True):
            total = total + jnp.sum(p * values) + jnp.sum(p * _without_loops(values, link))
        return total[None]

    def covariance_blocks(self, factor: Eliminated) -> Effects:
        P = self.selected_inverse(factor)
        first = small.to_array(P.blocks)
        inner = [
            values[:, :, link.diagonal]
            for values, link in zip(P.inner, self._links, strict=True)
            if link.factors[0] == link.factors[1]
        ]
        return (first, *inner)


def _add_identity(values: Array, link: Links) -> Array:
    m, k = link.factors
    if m != k:
        return values
    own = jnp.arange(values.shape[0])
    return values.at[own[:, None], own[:, None], link.diagonal[None, :]].add(1.0)


def _without_loops(values: Array, link: Links) -> Array:
    """The entries without those of a level with itself, which hold both triangles already."""
    m, k = link.factors
    return values.at[:, :, link.diagonal].set(0.0) if m == k else values


def _at(values: Array, index: Array) -> Array:
    """Values along the last axis, zero beyond its end."""
    return values.at[..., index].get(mode="fill", fill_value=0.0)


def _entry_sums(factors: list[tuple[Array, Array]], link: Links) -> Array:
    """sum over pairs of cells of C_left' V_right, by entry; (column, column, entry)."""

    def entry(i: int, j: int) -> Array:
        pairs = add(
            at_levels(C[a, i], link.left) * at_levels(V[a, j], link.right)
            for C, V in factors
            for a in range(C.shape[0])
        )
        return jax.ops.segment_sum(pairs, link.entry, link.row.shape[0])

    C, V = factors[0]
    return cellwise.table(C.shape[1], V.shape[1], entry)


def _pair_table(V: Array, cells: Array, P: Array, *, transposed: bool) -> Array:
    """V P (V P' if `transposed`) of every pair; (column of the first, column, pair)."""
    at = at_levels(V, cells)
    return jnp.einsum("ajp,ijp->aip" if transposed else "aip,ijp->ajp", at, P)
