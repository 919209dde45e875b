"""Independent random effects with one variance for all."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.covariance.base import Constants
from jaxglmm.covariance.scale import AbstractScale


@dataclasses.dataclass(frozen=True)
class HomogeneousDiagonal(AbstractScale):
    """L = theta I: uncorrelated columns with one signed standard deviation."""

    name = "homdiag"

    def root(self, theta: Array, constants: Constants) -> Array:
        return jnp.eye(self.dim, dtype=theta.dtype)
