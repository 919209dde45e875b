"""H as one dense matrix: any design, cubic cost; the oracle that other structures are tested by."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.factor.base import AbstractFactor
from jaxglmm.predictor import Effects, Predictors, random_effects, random_part
from jaxglmm.rows import Rows, Structure


def _split(vector: Array, groupings: tuple[Structure, ...]) -> Effects:
    parts, start = [], 0
    for g in groupings:
        stop = start + g.num_columns * g.num_levels
        parts.append(vector[start:stop].reshape(g.num_columns, g.num_levels))
        start = stop
    return tuple(parts)


def _join(a: Effects) -> Array:
    return jnp.concatenate([values.ravel() for values in a])


def _solve(L: Array, right: Array) -> Array:
    """(L L')^-1 right; `right` has one column or more."""
    x = jax.lax.linalg.triangular_solve(L, right, left_side=True, lower=True)
    return jax.lax.linalg.triangular_solve(L, x, left_side=True, lower=True, transpose_a=True)


@dataclasses.dataclass(frozen=True)
class DenseFactor(AbstractFactor):
    """The whole of H, for the design with these grouping factors."""

    groupings: tuple[Structure, ...]

    def gram(self, rows: Rows, W: tuple[Predictors, ...]) -> Array:
        Z = self._columns(rows)
        A = jnp.zeros((Z[0].shape[0],) * 2, rows.dtype)
        for a, left in enumerate(Z):
            for b, right in enumerate(Z):
                A = A + (left * jnp.broadcast_to(W[a][b], rows.y.shape).ravel()) @ right.T
        return A

    def penalise(self, A: Array, factors: tuple[Array, ...]) -> Array:
        Lambda = self._lambda(factors)
        return Lambda.T @ A @ Lambda + jnp.eye(A.shape[0], dtype=A.dtype)

    def spread(self, P: Array, factors: tuple[Array, ...]) -> Array:
        Lambda = self._lambda(factors)
        return Lambda @ P @ Lambda.T

    def leverages(self, rows: Rows, Q: Array) -> tuple[Predictors, ...]:
        Z = self._columns(rows)
        return tuple(
            tuple(jnp.sum(left * (Q @ right), axis=0).reshape(rows.y.shape) for right in Z)
            for left in Z
        )

    def times(self, M: Array, a: Effects) -> Effects:
        return _split(M @ _join(a), self.groupings)

    def _columns(self, rows: Rows) -> tuple[Array, ...]:
        """Z' of every predictor as a dense matrix; shape (effect, row)."""

        def column(unit: Array) -> tuple[Array, ...]:
            parts = random_part(rows, _split(unit, self.groupings))
            return tuple(jnp.broadcast_to(part, rows.y.shape).ravel() for part in parts)

        return jax.vmap(column)(self._eye(rows.dtype))

    def _lambda(self, factors: tuple[Array, ...]) -> Array:
        def column(unit: Array) -> Array:
            return _join(random_effects(factors, _split(unit, self.groupings)))

        return jax.vmap(column, out_axes=1)(self._eye(factors[0].dtype))

    def _eye(self, dtype: Any) -> Array:
        num_effects = sum(g.num_columns * g.num_levels for g in self.groupings)
        return jnp.eye(num_effects, dtype=dtype)

    def factorise(self, H: Array) -> Array:
        return jnp.linalg.cholesky(H)

    def factorise_safely(self, H: Array) -> Array:
        L = jnp.linalg.cholesky(H)
        bound = jnp.diag(jnp.sqrt(1.0 + jnp.sum(jnp.abs(H), axis=1)))
        return jnp.where(jnp.all(jnp.isfinite(L)), L, bound)

    def solve(self, factor: Array, g: Effects) -> Effects:
        return _split(_solve(factor, _join(g)[:, None])[:, 0], self.groupings)

    def logdet(self, factor: Array) -> Array:
        return 2.0 * jnp.sum(jnp.log(jnp.diagonal(factor)))

    def selected_inverse(self, factor: Array) -> Array:
        return _solve(factor, jnp.eye(factor.shape[0], dtype=factor.dtype))

    def contract(self, P: Array, H: Array) -> Array:
        return jnp.sum(P * H)[None]

    def inner(self, a: Effects, b: Effects) -> Array:
        return jnp.sum(_join(a) * _join(b))[None]

    def per_component(self, values: Array, a: Effects) -> Effects:
        return tuple(values[0] * part for part in a)

    def covariance_blocks(self, factor: Array) -> Effects:
        inverse = self.selected_inverse(factor)
        blocks, start = [], 0
        for g in self.groupings:
            q, levels = g.num_columns, g.num_levels
            stop = start + q * levels
            part = inverse[start:stop, start:stop].reshape(q, levels, q, levels)
            blocks.append(jnp.einsum("iljl->ijl", part))
            start = stop
        return tuple(blocks)
