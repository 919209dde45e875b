"""H as one dense matrix: any design, cubic cost; the oracle that other structures are tested by."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.factor import joined
from jaxglmm.factor.base import AbstractFactor
from jaxglmm.predictor import Effects, Predictors, random_effects, random_part
from jaxglmm.rows import Rows, Structure


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class DenseFactor(AbstractFactor):
    """The whole of H, for the design with these grouping factors."""

    groupings: tuple[Structure, ...] = dataclasses.field(metadata={"static": True})

    def gram(self, rows: Rows, W: tuple[Predictors, ...]) -> Array:
        Z = self._columns(rows)
        A = jnp.zeros((Z[0].shape[0],) * 2, rows.dtype)
        for a, left in enumerate(Z):
            for b, right in enumerate(Z):
                A = A + (left * jnp.broadcast_to(W[a][b], rows.y.shape).ravel()) @ right.T
        return A

    def penalise(self, A: Array, factors: tuple[Array, ...]) -> Array:
        Lambda = self._lambda(factors)
        return Lambda.T @ A @ Lambda + jnp.eye(Lambda.shape[1], dtype=A.dtype)

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
        return joined.split(M @ joined.join(a), joined.extents(a))

    def _columns(self, rows: Rows) -> tuple[Array, ...]:
        """Z' of every predictor as a dense matrix; shape (effect, row)."""

        def column(unit: Array) -> tuple[Array, ...]:
            parts = random_part(rows, joined.split(unit, self.groupings))
            return tuple(jnp.broadcast_to(part, rows.y.shape).ravel() for part in parts)

        return jax.vmap(column)(jnp.eye(joined.size(self.groupings), dtype=rows.dtype))

    def _lambda(self, factors: tuple[Array, ...]) -> Array:
        def column(unit: Array) -> Array:
            return joined.join(random_effects(factors, joined.split(unit, latent)))

        latent = joined.latent(self.groupings)
        eye = jnp.eye(joined.size(latent), dtype=factors[0].dtype)
        return jax.vmap(column, out_axes=1)(eye)

    def factorise(self, H: Array) -> Array:
        return joined.cholesky(H, safe=False)

    def factorise_safely(self, H: Array) -> Array:
        return joined.cholesky(H, safe=True)

    def solve(self, factor: Array, g: Effects) -> Effects:
        return joined.split(joined.solve(factor, joined.join(g)[:, None])[:, 0], joined.extents(g))

    def logdet(self, factor: Array) -> Array:
        return joined.logdet(jnp.diagonal(factor))

    def selected_inverse(self, factor: Array) -> Array:
        return joined.solve(factor, jnp.eye(factor.shape[0], dtype=factor.dtype))

    def contract(self, P: Array, H: Array) -> Array:
        return jnp.sum(P * H)[None]

    def covariance_blocks(self, factor: Array) -> Effects:
        return joined.diagonal_blocks(self.selected_inverse(factor), joined.latent(self.groupings))
