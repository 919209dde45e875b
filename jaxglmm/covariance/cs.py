"""Compound symmetry: a variance for each column, one correlation for all pairs."""

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
    signs_of,
    standard_deviations,
)

START = 0.3
"""The correlation to start from."""


@dataclasses.dataclass(frozen=True)
class CompoundSymmetry(AbstractCovariance):
    """L = diag(theta_i^2) S(x): theta is the roots of the deviations and the angle x.

    A root, not a signed deviation: a sign would change the structure where correlations are
    shared. One column has no correlation, and no angle.
    """

    name = "cs"
    roots = True

    @property
    def num_theta(self) -> int:
        return self.dim + (self.dim > 1)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return standard_deviations(self.dim) + shared_correlation(self.dim)

    @property
    def lowest_correlation(self) -> float:
        return lowest_exchangeable(self.dim)

    def factor(self, theta: Array, constants: Constants) -> Array:
        return theta[: self.dim, None] ** 2 * exchangeable_root(self.dim, theta[self.dim :])

    def natural(self, theta: Array, constants: Constants) -> Array:
        sd = jnp.sqrt(theta[: self.dim] ** 4)
        return jnp.concatenate([sd, exchangeable_correlation(self.dim, theta[self.dim :])])

    def start(self, sd: Array, constants: Constants) -> Array:
        return jnp.concatenate([jnp.sqrt(sd), exchangeable_start(self.dim, sd)])

    def coordinate(self, number: int, value: float) -> Coordinate:
        deviation = number < self.dim
        at = math.sqrt(value) if deviation else exchangeable_angle(self.dim, value)
        return Coordinate(number, at)

    def rectify(self, theta: Array) -> Representative:
        signs = signs_of(theta[: self.dim])
        angle, slope, columns = rectify_exchangeable(self.dim, theta[self.dim :])
        roots = theta[: self.dim] * signs
        return Representative(
            jnp.concatenate([roots, angle]), columns, jnp.concatenate([signs, slope])
        )


def shared_correlation(dim: int) -> tuple[Parameter, ...]:
    """The one correlation, of pair (1, 0); none where there is one column."""
    return (Parameter("corr", 1, 0),) if dim > 1 else ()


def lowest_exchangeable(dim: int) -> float:
    """-1 / (dim - 1), where the sum of the columns has no variance."""
    return -1.0 / (dim - 1) if dim > 1 else -1.0


def _amplitudes(dim: int, angle: Array) -> tuple[Array, Array]:
    """Roots s and r of the two eigenvalues of the correlation matrix R.

    R has the eigenvalues 1 + (dim - 1) rho for the mean and 1 - rho for contrasts, whose sum over
    all columns is dim. With t = pi/4 + x/2,

        r^2 = 1 + (dim - 1) rho = dim sin^2 t,   s^2 = 1 - rho = dim / (dim - 1) cos^2 t:

    sin x runs from -1, the lower bound of rho, to 1, where rho = 1; rho = sin x for two columns.
    """
    t = math.pi / 4 + 0.5 * angle
    return math.sqrt(dim / (dim - 1)) * jnp.cos(t), math.sqrt(dim) * jnp.sin(t)


def exchangeable_root(dim: int, angle: Array) -> Array:
    """The Cholesky factor of R; shape (dim, dim).

    With a_j = 1 + j rho, of which only the last, r^2, ever is zero,

        L_jj = s sqrt(a_j / a_(j-1)),   L_ij = s rho / sqrt(a_j a_(j-1))   for i > j > 0,

    L_i0 = rho, L_00 = 1, and in the last entry r is the root of a_(dim-1): all are smooth.
    """
    if dim == 1:
        return jnp.ones((1, 1), angle.dtype)
    s, r = _amplitudes(dim, angle[0])
    rho = 1.0 - s * s
    roots = jnp.sqrt(1.0 + jnp.arange(dim - 1) * rho)  # of a_0, ..., a_(dim-2)
    diagonal = jnp.concatenate([jnp.ones((1,), angle.dtype), s * jnp.append(roots[1:], r) / roots])
    below = jnp.concatenate([rho[None], s * rho / (roots[1:] * roots[:-1])])
    return jnp.diag(diagonal) + jnp.tril(
        jnp.append(below, 0.0) * jnp.ones((dim, 1), angle.dtype), -1
    )


def exchangeable_correlation(dim: int, angle: Array) -> Array:
    """rho, from the eigenvalue of contrasts; shape (1,), or (0,) for one column."""
    return 1.0 - _amplitudes(dim, angle)[0] ** 2 if dim > 1 else angle


def exchangeable_angle(dim: int, correlation: float) -> float:
    """The angle of a correlation: r^2 = dim (1 + sin x) / 2."""
    sine = 2.0 * (1.0 + (dim - 1) * correlation) / dim - 1.0
    return math.asin(min(max(sine, -1.0), 1.0))


def exchangeable_start(dim: int, like: Array) -> Array:
    """The angle of the correlation `START`."""
    if dim == 1:
        return jnp.zeros((0,), like.dtype)
    return jnp.full((1,), exchangeable_angle(dim, START), like.dtype)


def rectify_exchangeable(dim: int, angle: Array) -> tuple[Array, Array, Array]:
    """The angle folded, its slope, and the signs of the columns of the root that go with it."""
    if dim == 1:
        return angle, angle, jnp.ones((1,), angle.dtype)
    s, r = _amplitudes(dim, angle[0])
    place = np.arange(dim)
    signs = jnp.where(place > 0, signs_of(s), 1.0) * jnp.where(place == dim - 1, signs_of(r), 1.0)
    return *fold(angle), signs
