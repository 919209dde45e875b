"""First-order autoregression over columns in their order."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.covariance.angles import fold
from jaxglmm.covariance.base import (
    AbstractCovariance,
    Constants,
    Coordinate,
    Parameter,
    Representative,
    root_mean_square,
    signs_of,
)
from jaxglmm.covariance.cs import START, shared_correlation


@dataclasses.dataclass(frozen=True)
class Autoregressive(AbstractCovariance):
    """One variance, correlations rho^|i - j|: theta is the signed deviation and the angle of rho.

    With rho = sin x, L_i0 = sd rho^i and L_ij = sd rho^(i - j) cos x for 0 < j <= i.
    """

    name = "ar1"

    @property
    def num_theta(self) -> int:
        return 1 + (self.dim > 1)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("sd", 0), *shared_correlation(self.dim))

    def factor(self, theta: Array, constants: Constants) -> Array:
        if self.dim == 1:
            return theta[:1, None]
        deviation, angle = theta
        powers = jnp.cumprod(jnp.full(self.dim, jnp.sin(angle)).at[0].set(1.0))
        lag = np.subtract.outer(np.arange(self.dim), np.arange(self.dim))
        innovation = jnp.full(self.dim, jnp.cos(angle)).at[0].set(1.0)
        return deviation * innovation * jnp.where(lag >= 0, powers[np.maximum(lag, 0)], 0.0)

    def natural(self, theta: Array, constants: Constants) -> Array:
        return jnp.concatenate([jnp.sqrt(theta[:1] ** 2), jnp.sin(theta[1:])])

    def start(self, sd: Array, constants: Constants) -> Array:
        angle = jnp.full((self.num_theta - 1,), math.asin(START), sd.dtype)
        return jnp.concatenate([root_mean_square(sd)[None], angle])

    def coordinate(self, number: int, value: float) -> Coordinate:
        return Coordinate(number, math.asin(value) if number else value)

    def rectify(self, theta: Array) -> Representative:
        sign = signs_of(theta[:1])
        angle, slope = fold(theta[1:])
        later = jnp.where(np.arange(self.dim) == 0, 1.0, jnp.prod(slope))
        return Representative(
            jnp.concatenate([theta[:1] * sign, angle]), sign * later, jnp.concatenate([sign, slope])
        )
