"""The inverse Gaussian law."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
from jax import Array

from jaxglmm.families.base import AbstractFamily, collapsed
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.power import Log


@dataclasses.dataclass(frozen=True)
class InverseGaussian(AbstractFamily):
    """Mean mu and variance phi mu^3 / weight; phi = (log phi,).

    log p = -weight (y / mu - 1)^2 / (2 phi y) - log(2 pi phi y^3 / weight) / 2.
    """

    link: AbstractLink = Log()

    name = "inverse_gaussian"
    support = "positive"
    weight_role = "dispersion"
    elementwise = True
    phi_names = ("phi",)

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        relative = y * jnp.exp(-self.link.log_mean(eta)) - 1.0
        return -0.5 * weight * jnp.exp(-phi[0]) * relative * relative / y - 0.5 * phi[0]

    def log_base(self, y: Array, weight: Array) -> Array:
        return 0.5 * (jnp.log(weight) - math.log(2 * math.pi) - 3.0 * jnp.log(y))

    def variance(self, mu: Array, phi: Array, weight: Array) -> Array:
        return jnp.exp(phi[0]) * mu**3 / weight

    def initial_mean(self, y: Array, weight: Array) -> Array:
        del weight
        return y

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        total = jnp.sum(multiplier * weight * (y / mu - 1.0) ** 2 / y)
        return jnp.log(total / jnp.sum(multiplier))[None]

    def limit(self, phi: Array, start: Array) -> Array:
        return collapsed(0.5 * phi, 0.5 * start)
