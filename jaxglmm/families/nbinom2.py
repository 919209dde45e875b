"""The negative binomial law with quadratic variance."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.families.base import BOUNDARY, INTERIOR, AbstractFamily
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.power import Log
from jaxglmm.special import log_gamma, log_rising, softplus


@dataclasses.dataclass(frozen=True)
class NegativeBinomial2(AbstractFamily):
    """Mean mu and variance mu + mu^2 / size; phi = (log size,).

    log p = log Gamma(y + size) - log Gamma(size) - log(y!)
            - (y + size) log1p(mu / size) + y log(mu / size).
    """

    link: AbstractLink = Log()

    name = "nbinom2"
    support = "count"
    weight_role = "multiplier"
    elementwise = True
    phi_names = ("size",)

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        size = jnp.exp(phi[0])
        log_ratio = self.link.log_mean(eta) - phi[0]
        return log_rising(size, y) + y * log_ratio - (y + size) * softplus(log_ratio)

    def log_base(self, y: Array, weight: Array) -> Array:
        del weight
        return -log_gamma(y + 1.0)

    def variance(self, mu: Array, phi: Array, weight: Array) -> Array:
        del weight
        return mu + mu * mu * jnp.exp(-phi[0])

    def initial_mean(self, y: Array, weight: Array) -> Array:
        del weight
        return y + 0.1

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        del weight
        excess = jnp.sum(multiplier * ((y - mu) ** 2 - mu))
        size = jnp.sum(multiplier * mu * mu) / jnp.maximum(excess, 1e-10)
        return jnp.log(jnp.clip(size, 0.1, 100.0))[None]

    def limit(self, phi: Array, start: Array) -> Array:
        """At size = 1e7 the law is Poisson to within rounding of the estimates."""
        del start
        return jnp.where(phi[0] > jnp.log(1e7), BOUNDARY, INTERIOR)
