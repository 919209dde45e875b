"""Independent random effects with a variance each."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.covariance.base import (
    AbstractCovariance,
    Constants,
    Coordinate,
    Parameter,
    Representative,
    signs_of,
    standard_deviations,
)


@dataclasses.dataclass(frozen=True)
class Diagonal(AbstractCovariance):
    """Uncorrelated columns: theta is the diagonal of L, signed standard deviations."""

    name = "diag"
    linear = True
    homogeneous = True

    @property
    def num_theta(self) -> int:
        return self.dim

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return standard_deviations(self.dim)

    def factor(self, theta: Array, constants: Constants) -> Array:
        return jnp.diag(theta)

    def natural(self, theta: Array, constants: Constants) -> Array:
        return jnp.sqrt(theta**2)

    def start(self, sd: Array, constants: Constants) -> Array:
        return sd

    def coordinate(self, number: int, value: float) -> Coordinate:
        return Coordinate(number, value)

    def rectify(self, theta: Array) -> Representative:
        signs = signs_of(theta)
        return Representative(theta * signs, signs, signs)
