"""Reduced rank: many columns that a few latent variables drive."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.covariance.base import (
    AbstractCovariance,
    Constants,
    Parameter,
    Representative,
    natural_of_factor,
    pairs,
    signs_of,
    standard_deviations,
)

_WAVES = 0.1  # share of the start that does not follow the data


@dataclasses.dataclass(frozen=True)
class ReducedRank(AbstractCovariance):
    """L has `rank` columns: theta is its loadings on and below the diagonal, row by row.

    The loadings above the diagonal are zero, as a rotation of the latent variables can make them;
    columns of L have a sign. `rank` is at most `dim`.
    """

    rank: int = 2

    name = "rr"
    homogeneous = True
    starts_from_correlations = True

    @property
    def num_theta(self) -> int:
        return len(self._loadings[0])

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return standard_deviations(self.dim) + pairs(self.dim)

    @property
    def _loadings(self) -> tuple[np.ndarray, np.ndarray]:
        return np.tril_indices(self.dim, 0, self.rank)

    def factor(self, theta: Array, constants: Constants) -> Array:
        return jnp.zeros((self.dim, self.rank), theta.dtype).at[self._loadings].set(theta)

    def natural(self, theta: Array, constants: Constants) -> Array:
        return natural_of_factor(self.factor(theta, constants), self.parameters)

    def start(self, sd: Array, constants: Constants) -> Array:
        return self.start_correlated(sd, jnp.ones((self.dim, self.dim), sd.dtype), constants)

    def start_correlated(self, sd: Array, correlations: Array, constants: Constants) -> Array:
        """Principal components, and a little of waves over the columns.

        The waves keep loadings off zero, where the likelihood may be stationary: it is even in
        every column of L.
        """
        values, vectors = jnp.linalg.eigh(correlations)
        main = vectors[:, -self.rank :] * jnp.sqrt(jnp.maximum(values[-self.rank :], 0.0))
        place = (np.arange(self.dim) + 0.5)[:, None] / self.dim
        waves = _WAVES * np.cos(0.9 * np.pi * place * np.arange(self.rank))
        mixed = main[:, ::-1] + waves.astype(sd.dtype)
        mixed = mixed / jnp.sqrt(jnp.sum(mixed**2, axis=1, keepdims=True))
        # A rotation of the latent variables leads to the loadings with zeros: A' = Q R, L = R'.
        rotated = jnp.linalg.qr(mixed.T)[1].T
        return (sd[:, None] * rotated)[self._loadings]

    def rectify(self, theta: Array) -> Representative:
        rows, columns = self._loadings
        signs = signs_of(theta[rows == columns])
        return Representative(theta * signs[columns], signs, signs[columns])
