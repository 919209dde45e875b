"""Ornstein-Uhlenbeck process in time."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.covariance.process import AbstractProcess


@dataclasses.dataclass(frozen=True)
class OrnsteinUhlenbeck(AbstractProcess):
    """Correlation exp(-|t_i - t_j| / range): the autoregression of unequally spaced times."""

    name = "ou"

    def correlation(self, ratio: Array, own: Array) -> Array:
        return jnp.exp(-ratio)
