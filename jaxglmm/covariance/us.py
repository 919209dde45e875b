"""Unstructured covariance."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.covariance.base import AbstractCovariance


@dataclasses.dataclass(frozen=True)
class Unstructured(AbstractCovariance):
    """Any covariance: theta is the lower triangle of L, row by row."""

    name = "us"
    has_correlations = True

    @property
    def num_theta(self) -> int:
        return self.dim * (self.dim + 1) // 2

    def factor(self, theta: Array) -> Array:
        rows, columns = np.tril_indices(self.dim)
        return jnp.zeros((self.dim, self.dim), theta.dtype).at[rows, columns].set(theta)

    def start(self, sd: Array) -> Array:
        return jnp.diag(sd)[np.tril_indices(self.dim)]

    def signs(self, theta: Array) -> Array:
        return jnp.where(jnp.diagonal(self.factor(theta)) < 0, -1.0, 1.0).astype(theta.dtype)

    def spread(self, signs: Array) -> Array:
        return signs[np.tril_indices(self.dim)[1]]
