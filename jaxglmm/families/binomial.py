"""The binomial law."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.families.base import AbstractFamily
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.unit import Logit
from jaxglmm.special import log_binomial_coefficient


@dataclasses.dataclass(frozen=True)
class Binomial(AbstractFamily):
    """y successes among `weight` trials: log C(n, y) + y log(mu) + (n - y) log(1 - mu)."""

    link: AbstractLink = Logit()

    name = "binomial"
    support = "binomial"
    weight_role = "trials"
    elementwise = True

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del phi
        return self.link.log_binomial(y, weight, eta)

    def log_base(self, y: Array, weight: Array) -> Array:
        return log_binomial_coefficient(weight, y)

    def variance(self, mu: Array, phi: Array, weight: Array) -> Array:
        """Variance of the proportion y / weight, the scale on which `mu` is reported."""
        del phi
        return mu * (1.0 - mu) / weight

    def initial_mean(self, y: Array, weight: Array) -> Array:
        return (y + 0.5) / (weight + 1.0)

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        del mu, weight, multiplier
        return jnp.zeros((0,), y.dtype)
