"""The gamma law."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.families.base import AbstractFamily, collapsed
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.power import Log
from jaxglmm.special import log_gamma_density_constant


@dataclasses.dataclass(frozen=True)
class Gamma(AbstractFamily):
    """Gamma with mean mu and variance phi mu^2 / weight: shape nu = weight / phi, scale mu / nu.

    log p = nu (log(y / mu) - y / mu + 1) - log(y) + nu log(nu) - nu - log Gamma(nu),
    and phi = (log phi,).
    """

    link: AbstractLink = Log()

    name = "gamma"
    support = "positive"
    weight_role = "dispersion"
    elementwise = True
    phi_names = ("phi",)

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        nu = weight * jnp.exp(-phi[0])
        log_ratio = jnp.log(y) - self.link.log_mean(eta)
        return nu * (log_ratio - jnp.exp(log_ratio) + 1.0) + log_gamma_density_constant(nu)

    def log_base(self, y: Array, weight: Array) -> Array:
        del weight
        return -jnp.log(y)

    def variance(self, mu: Array, phi: Array, weight: Array) -> Array:
        return jnp.exp(phi[0]) * mu * mu / weight

    def initial_mean(self, y: Array, weight: Array) -> Array:
        del weight
        return y

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        total = jnp.sum(multiplier * weight * (y / mu - 1.0) ** 2)
        return jnp.log(total / jnp.sum(multiplier))[None]

    def limit(self, phi: Array, start: Array) -> Array:
        return collapsed(0.5 * phi, 0.5 * start)
