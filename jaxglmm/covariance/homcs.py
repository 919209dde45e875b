"""Homogeneous compound symmetry: one variance and one correlation."""

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
    root_mean_square,
    signs_of,
)
from jaxglmm.covariance.cs import (
    exchangeable_angle,
    exchangeable_correlation,
    exchangeable_root,
    exchangeable_start,
    lowest_exchangeable,
    rectify_exchangeable,
    shared_correlation,
)


@dataclasses.dataclass(frozen=True)
class HomogeneousCompoundSymmetry(AbstractCovariance):
    """L = sd S(x), S the root in `cs`: theta is the signed deviation and the angle x."""

    name = "homcs"
    linear = True

    @property
    def num_theta(self) -> int:
        return 1 + (self.dim > 1)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return (Parameter("sd", 0), *shared_correlation(self.dim))

    @property
    def lowest_correlation(self) -> float:
        return lowest_exchangeable(self.dim)

    def factor(self, theta: Array, constants: Constants) -> Array:
        return theta[0] * exchangeable_root(self.dim, theta[1:])

    def natural(self, theta: Array, constants: Constants) -> Array:
        correlation = exchangeable_correlation(self.dim, theta[1:])
        return jnp.concatenate([jnp.sqrt(theta[:1] ** 2), correlation])

    def start(self, sd: Array, constants: Constants) -> Array:
        return jnp.concatenate([root_mean_square(sd)[None], exchangeable_start(self.dim, sd)])

    def coordinate(self, number: int, value: float) -> Coordinate:
        return Coordinate(number, exchangeable_angle(self.dim, value) if number else value)

    def rectify(self, theta: Array) -> Representative:
        sign = signs_of(theta[:1])
        angle, slope, columns = rectify_exchangeable(self.dim, theta[1:])
        deviation = theta[:1] * sign
        return Representative(
            jnp.concatenate([deviation, angle]),
            sign * columns,
            jnp.concatenate([sign, slope]),
        )
