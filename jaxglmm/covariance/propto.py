"""A known covariance matrix times a variance."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.covariance.base import (
    AbstractCovariance,
    Constants,
    Parameter,
    Representative,
    root_mean_square,
    signs_of,
)


@dataclasses.dataclass(frozen=True)
class Proportional(AbstractCovariance):
    """Cov(b) = theta^2 K for a positive definite K; the constant is its lower Cholesky factor."""

    name = "propto"
    homogeneous = True
    scales_only = True

    @property
    def num_theta(self) -> int:
        return 1

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("sd", 0),)

    def factor(self, theta: Array, constants: Constants) -> Array:
        return theta[0] * constants[0]

    def natural(self, theta: Array, constants: Constants) -> Array:
        return jnp.sqrt(theta**2)

    def start(self, sd: Array, constants: Constants) -> Array:
        return (root_mean_square(sd) * jnp.sqrt(self.dim / jnp.sum(constants[0] ** 2)))[None]

    def rectify(self, theta: Array) -> Representative:
        sign = signs_of(theta)
        return Representative(theta * sign, sign * jnp.ones((self.dim,), theta.dtype), sign)

    def unit(self, constants: Constants, scale: Array) -> Array:
        return jnp.max(scale * jnp.sqrt(jnp.sum(constants[0] ** 2, axis=1)), keepdims=True)
