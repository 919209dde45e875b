"""The binomial law."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.families.base import AbstractFamily
from jaxglmm.families.sampling import binomial
from jaxglmm.families.support import TailFunction, on_counts
from jaxglmm.gamma_functions import log_binomial_coefficient
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.unit import Logit
from jaxglmm.tails import beta_tails, swapped


@dataclasses.dataclass(frozen=True)
class Binomial(AbstractFamily):
    """y successes among `weight` trials: log C(n, y) + y log(mu) + (n - y) log(1 - mu)."""

    link: AbstractLink = Logit()

    name = "binomial"
    support = "binomial"
    weight_role = "trials"
    elementwise = True
    peaks_at_mean = True
    exponential = True
    zeros = "present"

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del phi
        return self.link.log_binomial(y, weight, eta)

    def log_base(self, y: Array, weight: Array) -> Array:
        return log_binomial_coefficient(weight, y)

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        """Variance of the proportion y / weight."""
        del phi
        return jnp.exp(self.link.log_mean(eta) + self.link.log1m_mean(eta)) / weight

    def tails(self, eta: Array, phi: Array, weight: Array) -> TailFunction:
        """P(Y > k) = I_mu(k + 1, n - k) (Abramowitz & Stegun 26.5.24)."""
        del phi
        logit = self.link.log_mean(eta) - self.link.log1m_mean(eta)
        return on_counts(lambda k: swapped(beta_tails(k + 1.0, weight - k, logit)), weight)

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del phi
        mu = self.link.mean(eta)
        shape = jnp.broadcast_shapes(mu.shape, jnp.shape(weight))
        return binomial(key, weight, jnp.broadcast_to(mu, shape))

    def initial_mean(self, y: Array, weight: Array) -> Array:
        return (y + 0.5) / (weight + 1.0)

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        del mu, weight, multiplier
        return jnp.zeros((0,), y.dtype)
