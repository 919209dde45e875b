"""Independent random effects with a variance each."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.covariance.base import AbstractCovariance


@dataclasses.dataclass(frozen=True)
class Diagonal(AbstractCovariance):
    """Uncorrelated columns: theta is the diagonal of L."""

    name = "diag"
    has_correlations = False

    @property
    def num_theta(self) -> int:
        return self.dim

    def factor(self, theta: Array) -> Array:
        return jnp.diag(theta)

    def start(self, sd: Array) -> Array:
        return sd

    def signs(self, theta: Array) -> Array:
        return jnp.where(theta < 0, -1.0, 1.0).astype(theta.dtype)

    def spread(self, signs: Array) -> Array:
        return signs
