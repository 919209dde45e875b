"""Unstructured covariance."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.covariance.base import (
    AbstractCovariance,
    Constants,
    Coordinate,
    Parameter,
    Representative,
    cholesky_of_natural,
    natural_of_factor,
    pairs,
    signs_of,
    standard_deviations,
)
from jaxglmm.covariance.spherical import Spherical


@dataclasses.dataclass(frozen=True)
class Unstructured(AbstractCovariance):
    """Any covariance: theta is the lower triangle of L, row by row; columns of L have a sign."""

    name = "us"
    homogeneous = True
    linear = True

    @property
    def num_theta(self) -> int:
        return self.dim * (self.dim + 1) // 2

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return standard_deviations(self.dim) + pairs(self.dim)

    def factor(self, theta: Array, constants: Constants) -> Array:
        if self.dim == 1:
            return theta[:, None]
        rows, columns = np.tril_indices(self.dim)
        return jnp.zeros((self.dim, self.dim), theta.dtype).at[rows, columns].set(theta)

    def natural(self, theta: Array, constants: Constants) -> Array:
        return natural_of_factor(self.factor(theta, constants), self.parameters)

    def start(self, sd: Array, constants: Constants) -> Array:
        return jnp.diag(sd)[np.tril_indices(self.dim)]

    def coordinate(self, number: int, value: float) -> Coordinate | None:
        return Coordinate(0, value) if number == 0 else None

    def theta_of(self, values: Sequence[float]) -> np.ndarray:
        L = cholesky_of_natural(self.parameters, values)
        return L[np.tril_indices(self.dim)]

    @property
    def by_parameter(self) -> Spherical:
        return Spherical(self.dim)

    def rectify(self, theta: Array) -> Representative:
        rows, columns = np.tril_indices(self.dim)
        signs = signs_of(theta[rows == columns])
        return Representative(theta * signs[columns], signs, signs[columns])
