"""Stationary processes: correlations that fall with the distance between positions."""

from __future__ import annotations

import abc
import dataclasses
import math

import jax.numpy as jnp
import numpy as np
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

_LIMIT = 1e-6  # correlations all so near zero, or all so near one, tell nothing of the range


@dataclasses.dataclass(frozen=True)
class AbstractProcess(AbstractCovariance):
    """Cov(b_i, b_j) = sd^2 rho(d_ij / range); each column is a position.

    theta is the signed deviation, log(range) and what else rho has; the constant is the matrix of
    distances d, (dim, dim), zero on its diagonal. One position has neither range nor shape.
    """

    scales_only = True

    @abc.abstractmethod
    def correlation(self, ratio: Array, own: Array) -> Array:
        """rho at positive d / range; `own` are the parameters of theta beyond the range."""

    @property
    def num_own(self) -> int:
        """Number of parameters of rho beyond the range."""
        return 0

    @property
    def num_theta(self) -> int:
        return 2 + self.num_own if self.dim > 1 else 1

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        kinds = ("sd", "range", "shape")[: self.num_theta]
        return tuple(Parameter(kind, 0) for kind in kinds)

    def factor(self, theta: Array, constants: Constants) -> Array:
        """sd times the Cholesky factor of (R + e I) / (1 + e), e = eps^(2/3).

        A smooth rho at close positions (`gau` on a grid) leaves R singular to rounding. The
        nugget e, 4e-11 of the variance in double precision, keeps the factor's error, and those
        of its first two derivatives, of the order of eps / e or below; without one a pivot may be
        of the size of its own rounding error.
        """
        if self.dim == 1:
            return theta[:1, None]
        nugget = float(jnp.finfo(theta.dtype).eps) ** (2 / 3)
        i, j = np.tril_indices(self.dim, -1)
        below = jnp.zeros((self.dim, self.dim), theta.dtype)
        below = below.at[i, j].set(self._correlations(theta, constants) / (1.0 + nugget))
        R = below + below.T + jnp.eye(self.dim, dtype=theta.dtype)
        return theta[0] * jnp.linalg.cholesky(R)

    def _correlations(self, theta: Array, constants: Constants) -> Array:
        """Of the pairs (1, 0), (2, 0), (2, 1), ..."""
        d = constants[0][np.tril_indices(self.dim, -1)]
        apart = d > 0
        ratio = jnp.where(apart, d, 1.0) * jnp.exp(-theta[1])
        return jnp.where(apart, self.correlation(ratio, theta[2:]), 1.0)

    def natural(self, theta: Array, constants: Constants) -> Array:
        return jnp.concatenate([jnp.sqrt(theta[:1] ** 2), jnp.exp(theta[1:])])

    def start(self, sd: Array, constants: Constants) -> Array:
        """A third of the median distance; a shape of one."""
        if self.dim == 1:
            return sd
        d = constants[0][np.tril_indices(self.dim, -1)]
        middle = jnp.nanmedian(jnp.where(d > 0, d, jnp.nan))
        own = jnp.zeros((self.num_own,), sd.dtype)
        return jnp.concatenate([root_mean_square(sd)[None], jnp.log(middle / 3.0)[None], own])

    def coordinate(self, number: int, value: float) -> Coordinate:
        return Coordinate(number, math.log(value) if number else value)

    def rectify(self, theta: Array) -> Representative:
        sign = signs_of(theta[:1])
        slope = jnp.concatenate([sign, jnp.ones_like(theta[1:])])
        return Representative(theta * slope, sign * jnp.ones((self.dim,), theta.dtype), slope)

    def others_at_bound(self, theta: Array, constants: Constants) -> Array:
        if self.dim == 1:
            return jnp.zeros((0,), bool)
        rho = self._correlations(theta, constants)
        lost = (jnp.max(rho) < _LIMIT) | (jnp.min(rho) > 1.0 - _LIMIT)
        return jnp.concatenate([lost[None], jnp.zeros((self.num_own,), bool)])
