"""The normal law."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
from jax import Array

from jaxglmm.families.base import AbstractFamily, collapsed
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.power import Identity


@dataclasses.dataclass(frozen=True)
class Gaussian(AbstractFamily):
    """y ~ N(mu, sigma^2 / weight), phi = (log sigma,)."""

    link: AbstractLink = Identity()

    name = "gaussian"
    support = "real"
    weight_role = "dispersion"
    elementwise = True
    phi_names = ("sigma",)

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        residual = (y - self.link.mean(eta)) * jnp.exp(-phi[0])
        return -0.5 * weight * residual * residual - phi[0]

    def log_base(self, y: Array, weight: Array) -> Array:
        del y
        return 0.5 * jnp.log(weight) - 0.5 * math.log(2 * math.pi)

    def variance(self, mu: Array, phi: Array, weight: Array) -> Array:
        del mu
        return jnp.exp(2.0 * phi[0]) / weight

    def initial_mean(self, y: Array, weight: Array) -> Array:
        del weight
        if self.link.range == "real":
            return y
        if self.link.range == "unit":
            return jnp.clip(y, 1e-2, 1.0 - 1e-2)
        return jnp.maximum(y, 1e-2 * jnp.mean(jnp.abs(y)))

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        total = jnp.sum(multiplier * weight * (y - mu) ** 2)
        return 0.5 * jnp.log(total / jnp.sum(multiplier))[None]

    def limit(self, phi: Array, start: Array) -> Array:
        return collapsed(phi, start)
