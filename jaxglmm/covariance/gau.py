"""Gaussian (squared exponential) covariance in space."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.covariance.process import AbstractProcess


@dataclasses.dataclass(frozen=True)
class SquaredExponential(AbstractProcess):
    """Correlation exp(-(d / range)^2)."""

    name = "gau"

    def correlation(self, ratio: Array, own: Array) -> Array:
        return jnp.exp(-(ratio**2))
