"""Matern covariance in space."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
from jax import Array

from jaxglmm.covariance.process import AbstractProcess
from jaxglmm.gamma_functions import log_gamma
from jaxglmm.special import log_bessel_k


@dataclasses.dataclass(frozen=True)
class Matern(AbstractProcess):
    """Correlation 2^(1 - nu) / Gamma(nu) x^nu K_nu(x) with x = d / range, nu = exp(theta_2).

    The smoothness nu is the shape: 1/2 is the exponential, and b has n derivatives for nu > n.
    """

    name = "mat"

    @property
    def num_own(self) -> int:
        return 1

    def correlation(self, ratio: Array, own: Array) -> Array:
        nu = jnp.exp(own[0])
        log_k = log_bessel_k(nu, ratio)
        return jnp.exp((1.0 - nu) * math.log(2.0) - log_gamma(nu) + nu * jnp.log(ratio) + log_k)
