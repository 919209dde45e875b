"""Independent random effects with one variance."""

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
class HomogeneousDiagonal(AbstractCovariance):
    """L = theta I: uncorrelated columns with one signed standard deviation."""

    name = "homdiag"
    homogeneous = True

    @property
    def num_theta(self) -> int:
        return 1

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("sd", 0),)

    def factor(self, theta: Array, constants: Constants) -> Array:
        return theta[0] * jnp.eye(self.dim, dtype=theta.dtype)

    def natural(self, theta: Array, constants: Constants) -> Array:
        return jnp.sqrt(theta**2)

    def start(self, sd: Array, constants: Constants) -> Array:
        return root_mean_square(sd)[None]

    def rectify(self, theta: Array) -> Representative:
        sign = signs_of(theta)
        return Representative(theta * sign, sign * jnp.ones((self.dim,), theta.dtype), sign)
