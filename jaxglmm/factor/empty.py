"""No random effects: H has no rows."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.factor.base import AbstractFactor
from jaxglmm.predictor import Effects, Predictors
from jaxglmm.rows import Rows


@dataclasses.dataclass(frozen=True)
class EmptyFactor(AbstractFactor):
    """The factor of a model without random effects; keeps the dtype, holds nothing."""

    def assemble(self, rows: Rows, factors: tuple[Array, ...], W: tuple[Predictors, ...]) -> Array:
        del factors, W
        return jnp.zeros((0,), rows.dtype)

    def factorise(self, H: Array) -> Array:
        return H

    def factorise_safely(self, H: Array) -> Array:
        return H

    def solve(self, factor: Array, g: Effects) -> Effects:
        del factor
        return g

    def logdet(self, factor: Array) -> Array:
        return jnp.sum(factor)

    def selected_inverse(self, factor: Array) -> Array:
        return factor

    def contract(self, P: Array, H: Array) -> Array:
        return jnp.sum(P * H)

    def inner(self, a: Effects, b: Effects) -> Array:
        del a, b
        return jnp.zeros((0,))

    def per_component(self, values: Array, a: Effects) -> Effects:
        del values
        return a

    def covariance_blocks(self, factor: Array) -> Effects:
        del factor
        return ()
