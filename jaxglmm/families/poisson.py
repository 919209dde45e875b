"""The Poisson law."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.families.base import AbstractFamily
from jaxglmm.families.sampling import poisson
from jaxglmm.families.support import TailFunction, on_counts
from jaxglmm.gamma_functions import log_factorial
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.power import Log
from jaxglmm.tails import gamma_tails, swapped


@dataclasses.dataclass(frozen=True)
class Poisson(AbstractFamily):
    """y log(mu) - mu - log(y!)."""

    link: AbstractLink = Log()

    name = "poisson"
    support = "count"
    weight_role = "multiplier"
    elementwise = True
    peaks_at_mean = True
    exponential = True
    zeros = "present"

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del phi, weight
        return y * self.link.log_mean(eta) - self.link.mean(eta)

    def log_base(self, y: Array, weight: Array) -> Array:
        del weight
        return -log_factorial(y)

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        del phi, weight
        return self.link.mean(eta)

    def tails(self, eta: Array, phi: Array, weight: Array) -> TailFunction:
        """P(Y <= k) = Q(k + 1, mu) (Abramowitz & Stegun 26.4.21)."""
        del phi, weight
        log_mean = self.link.log_mean(eta)
        return on_counts(lambda k: swapped(gamma_tails(k + 1.0, log_mean)))

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del phi, weight
        return poisson(key, self.link.mean(eta))

    def initial_mean(self, y: Array, weight: Array) -> Array:
        del weight
        return y + 0.1

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        del mu, weight, multiplier
        return jnp.zeros((0,), y.dtype)
