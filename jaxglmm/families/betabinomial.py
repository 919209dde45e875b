"""The beta-binomial law."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.families.base import BOUNDARY, INTERIOR, AbstractFamily
from jaxglmm.families.sampling import beta, binomial
from jaxglmm.gamma_functions import log_binomial_coefficient, log_risings_exp
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.unit import Logit


@dataclasses.dataclass(frozen=True)
class BetaBinomial(AbstractFamily):
    """y successes among `weight` trials whose probability is Beta(mu phi, (1 - mu) phi).

    With (x)_n = Gamma(x + n) / Gamma(x), a = mu phi and b = (1 - mu) phi,
    log p = log C(n, y) + log (a)_y + log (b)_(n - y) - log (phi)_n, and phi = (log phi,).
    The successes of a row are correlated by 1 / (1 + phi). Crowder (1978), J. R. Statist. Soc. C
    27:34-37.
    """

    link: AbstractLink = Logit()

    name = "betabinomial"
    support = "binomial"
    weight_role = "trials"
    dispersed = True
    zeros = "present"
    elementwise = True
    phi_names = ("phi",)
    at_limit = "phi is infinite ('binomial' fits as well), or zero (all trials of a row end alike)."

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        log_mu, log1m_mu = self.link.log_means(eta)
        log_a, log_b = phi[0] + log_mu, phi[0] + log1m_mu
        of_a, of_b, of_both = log_risings_exp((log_a, y), (log_b, weight - y), (phi[0], weight))
        return of_a + of_b - of_both

    def log_base(self, y: Array, weight: Array) -> Array:
        return log_binomial_coefficient(weight, y)

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        """Variance of the proportion y / weight."""
        inflation = 1.0 + (weight - 1.0) / (1.0 + jnp.exp(phi[0]))
        return inflation * jnp.exp(self.link.log_mean(eta) + self.link.log1m_mean(eta)) / weight

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        keys = jax.random.split(key)
        eta = jnp.broadcast_to(eta, jnp.broadcast_shapes(jnp.shape(eta), jnp.shape(weight)))
        a = jnp.exp(phi[0] + self.link.log_mean(eta))
        b = jnp.exp(phi[0] + self.link.log1m_mean(eta))
        p = beta(keys[0], a, b)
        return binomial(keys[1], weight, p)

    def initial_mean(self, y: Array, weight: Array) -> Array:
        return (y + 0.5) / (weight + 1.0)

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        binomial = weight * mu * (1.0 - mu)
        excess = jnp.sum(multiplier * ((y - weight * mu) ** 2 - binomial))
        most = jnp.sum(multiplier * (weight - 1.0) * binomial)
        correlation = jnp.clip(excess / jnp.maximum(most, 1e-10), 0.01, 0.9)
        return (jnp.log1p(-correlation) - jnp.log(correlation))[None]

    def limit(self, phi: Array, start: Array) -> Array:
        """At phi = 1e7 the law is binomial, at 1e-7 it has all or nothing, to within rounding."""
        del start
        return jnp.where(jnp.abs(phi[0]) > jnp.log(1e7), BOUNDARY, INTERIOR)
