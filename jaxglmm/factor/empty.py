"""No random effects: H has no rows."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.factor.base import AbstractFactor
from jaxglmm.predictor import Effects, Predictors
from jaxglmm.rows import Rows


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class EmptyFactor(AbstractFactor):
    """The factor of a model without random effects; keeps the dtype, holds nothing."""

    column_cost: ClassVar[float] = 1 / 12

    def gram(self, rows: Rows, W: tuple[Predictors, ...]) -> Array:
        del W
        return jnp.zeros((0,), rows.dtype)

    def penalise(self, A: Array, factors: tuple[Array, ...]) -> Array:
        del factors
        return A

    def spread(self, P: Array, factors: tuple[Array, ...]) -> Array:
        del factors
        return P

    def leverages(self, rows: Rows, Q: Array) -> tuple[Predictors, ...]:
        del Q
        axes = range(rows.family.num_predictors)
        return tuple(tuple(jnp.zeros((1, 1), rows.dtype) for _ in axes) for _ in axes)

    def times(self, M: Array, a: Effects) -> Effects:
        del M
        return a

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
        return P * H

    def inner(self, rows: Rows, a: Effects, b: Effects) -> Array:
        del a, b
        return jnp.zeros((0,), rows.dtype)

    def per_component(self, rows: Rows, values: Array, a: Effects) -> Effects:
        del values
        return a

    def covariance_blocks(self, factor: Array) -> Effects:
        del factor
        return ()
