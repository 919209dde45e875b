"""Exponential covariance in space."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.covariance.process import AbstractProcess


@dataclasses.dataclass(frozen=True)
class Exponential(AbstractProcess):
    """Correlation exp(-d / range)."""

    name = "exp"

    def correlation(self, ratio: Array, own: Array) -> Array:
        return jnp.exp(-ratio)
