"""The generalised Poisson law."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.families.base import AbstractFamily, collapsed
from jaxglmm.families.generic import count_mode
from jaxglmm.families.sampling import log_concave_counts, poisson, total_progeny
from jaxglmm.gamma_functions import log_factorial
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.power import Log


@dataclasses.dataclass(frozen=True)
class GeneralizedPoisson(AbstractFamily):
    """Mean mu and variance mu phi; phi = (log phi,).

    log p = log theta + (y - 1) log(theta + lambda y) - theta - lambda y - log(y!),
    theta = mu / sqrt(phi), lambda = 1 - 1 / sqrt(phi). Consul & Jain (1973), Technometrics
    15:791-799.

    Below phi = 1 the law ends where theta + lambda y does, and its probabilities add up to one
    only nearly; the likelihood is used all the same, as in glmmTMB.
    """

    link: AbstractLink = Log()

    name = "genpois"
    support = "count"
    weight_role = "multiplier"
    dispersed = True
    zeros = "present"
    elementwise = True
    phi_names = ("phi",)

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        log_theta = self.link.log_mean(eta) - 0.5 * phi[0]
        theta, some = jnp.exp(log_theta), y > 0
        rate = theta - jnp.expm1(-0.5 * phi[0]) * y
        log_rate = jnp.log(jnp.where(some, rate, 1.0))
        return jnp.where(some, log_theta + (y - 1.0) * log_rate, 0.0) - rate

    def log_base(self, y: Array, weight: Array) -> Array:
        del weight
        return -log_factorial(y)

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        return jnp.exp(self.link.log_mean(eta) + phi[0])

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        """From phi = 1 on Poisson(theta) ancestors with all their descendants, each of which has
        Poisson(lambda) children (Consul & Famoye 2006, Lagrangian Probability Distributions,
        section 6.2); below it the law is log-concave."""
        keys = jax.random.split(key)
        log_p, like, _ = self._log_prob_of_y(eta, phi, weight)
        over = jnp.broadcast_to(phi[0] >= 0.0, like.shape)
        theta = jnp.exp(self.link.log_mean(eta) - 0.5 * phi[0])
        first = poisson(keys[0], jnp.where(over, theta, 0.0))
        grown = total_progeny(keys[1], first, jnp.where(over, -jnp.expm1(-0.5 * phi[0]), 0.0))
        mode = jnp.where(over, jnp.nan, count_mode(log_p, jnp.zeros_like(like)))
        under = log_concave_counts(keys[1], log_p, mode)
        return jnp.where(over, grown, under)

    def saturated(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        """Where the derivative in theta vanishes: theta^2 - (1 - lambda) y theta = lambda y."""
        apart = jnp.exp(-0.5 * phi[0])  # 1 - lambda
        half = 0.5 * apart * y
        theta = half + jnp.sqrt(jnp.maximum(half * half + (1.0 - apart) * y, 0.0))
        at = jnp.log(jnp.maximum(theta, jnp.finfo(theta.dtype).tiny)) + 0.5 * phi[0]
        return self._with_plain_link("positive").log_prob(y, at, phi, weight)

    def initial_mean(self, y: Array, weight: Array) -> Array:
        del weight
        return y + 0.1

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        """At least 1: below it, some means lie outside the law's domain."""
        del weight
        phi = jnp.sum(multiplier * (y - mu) ** 2) / jnp.sum(multiplier * mu)
        return jnp.log(jnp.clip(phi, 1.0, 100.0))[None]

    def limit(self, phi: Array, start: Array) -> Array:
        return collapsed(0.5 * phi, 0.5 * start)
