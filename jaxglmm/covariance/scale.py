"""Structures that are known up to one scale."""

from __future__ import annotations

import abc
import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.covariance.base import (
    AbstractCovariance,
    Constants,
    Coordinate,
    Parameter,
    Representative,
    root_mean_square,
    signs_of,
)


@dataclasses.dataclass(frozen=True)
class AbstractScale(AbstractCovariance):
    """L = theta S, S known: theta is one signed standard deviation."""

    homogeneous = True
    linear = True

    @abc.abstractmethod
    def root(self, theta: Array, constants: Constants) -> Array:
        """S in the type of theta; shape (dim, dim)."""

    @property
    def num_theta(self) -> int:
        return 1

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("sd", 0),)

    def factor(self, theta: Array, constants: Constants) -> Array:
        return theta[0] * self.root(theta, constants)

    def natural(self, theta: Array, constants: Constants) -> Array:
        return jnp.sqrt(theta**2)

    def start(self, sd: Array, constants: Constants) -> Array:
        size = jnp.sum(self.root(sd, constants) ** 2)
        return (root_mean_square(sd) * jnp.sqrt(self.dim / size))[None]

    def coordinate(self, number: int, value: float) -> Coordinate:
        return Coordinate(number, value)

    def rectify(self, theta: Array) -> Representative:
        sign = signs_of(theta)
        return Representative(theta * sign, sign * jnp.ones((self.dim,), theta.dtype), sign)
