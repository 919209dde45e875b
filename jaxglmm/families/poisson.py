"""The Poisson law."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.families.base import AbstractFamily
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.power import Log
from jaxglmm.special import log_gamma


@dataclasses.dataclass(frozen=True)
class Poisson(AbstractFamily):
    """y log(mu) - mu - log(y!)."""

    link: AbstractLink = Log()

    name = "poisson"
    support = "count"
    weight_role = "multiplier"
    elementwise = True

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del phi, weight
        return y * self.link.log_mean(eta) - self.link.mean(eta)

    def log_base(self, y: Array, weight: Array) -> Array:
        del weight
        return -log_gamma(y + 1.0)

    def variance(self, mu: Array, phi: Array, weight: Array) -> Array:
        del phi, weight
        return mu

    def initial_mean(self, y: Array, weight: Array) -> Array:
        del weight
        return y + 0.1

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        del mu, weight, multiplier
        return jnp.zeros((0,), y.dtype)
