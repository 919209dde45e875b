"""The negative binomial law with quadratic variance."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.families.base import BOUNDARY, INTERIOR, AbstractFamily
from jaxglmm.families.sampling import poisson_of_gamma
from jaxglmm.families.support import TailFunction, on_counts
from jaxglmm.gamma_functions import log_gamma_density_constant, log_rising_centred
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.power import Log
from jaxglmm.special import softplus
from jaxglmm.tails import beta_tails, swapped


@dataclasses.dataclass(frozen=True)
class NegativeBinomial2(AbstractFamily):
    """Mean mu and variance mu + mu^2 / size; phi = (log size,).

    log p = log Gamma(y + size) - log Gamma(size) - log(y!)
            - y log1p(size / mu) - size log1p(mu / size).

    With y log(y) - y off the first of these and on the third, none of them is much larger than
    their sum where counts are.
    """

    link: AbstractLink = Log()

    name = "nbinom2"
    support = "count"
    weight_role = "multiplier"
    elementwise = True
    peaks_at_mean = True
    dispersed = True
    zeros = "present"
    phi_names = ("size",)
    at_limit = "size is infinite: 'poisson' fits as well."

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        size = jnp.exp(phi[0])
        log_ratio = self.link.log_mean(eta) - phi[0]
        spread = y * softplus(-log_ratio) + size * softplus(log_ratio)
        return log_rising_centred(size, y) - spread

    def log_base(self, y: Array, weight: Array) -> Array:
        del weight
        positive = jnp.where(y > 0, y, 1.0)
        return jnp.where(y > 0, log_gamma_density_constant(positive) - jnp.log(positive), 0.0)

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        mu = self.link.mean(eta)
        return mu + mu * mu * jnp.exp(-phi[0])

    def tails(self, eta: Array, phi: Array, weight: Array) -> TailFunction:
        """P(Y > k) = I_x(k + 1, size), x = mu / (mu + size) (Abramowitz & Stegun 26.5.26)."""
        del weight
        size, logit = jnp.exp(phi[0]), self.link.log_mean(eta) - phi[0]
        return on_counts(lambda k: swapped(beta_tails(k + 1.0, size, logit)))

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        log_mean = self.link.log_mean(eta)
        return poisson_of_gamma(key, jnp.broadcast_to(jnp.exp(phi[0]), log_mean.shape), log_mean)

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
