"""A known covariance matrix times a variance."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.covariance.base import Constants
from jaxglmm.covariance.scale import AbstractScale


@dataclasses.dataclass(frozen=True)
class Proportional(AbstractScale):
    """Cov(b) = theta^2 K for a positive definite K; the constant is its lower Cholesky factor."""

    name = "propto"
    scales_only = True

    def root(self, theta: Array, constants: Constants) -> Array:
        return constants[0]

    def unit(self, constants: Constants, scale: Array) -> Array:
        return jnp.max(scale * jnp.sqrt(jnp.sum(constants[0] ** 2, axis=1)), keepdims=True)
