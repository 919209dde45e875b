"""The beta law."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.families.base import INTERIOR, UNBOUNDED, AbstractFamily
from jaxglmm.families.sampling import beta
from jaxglmm.families.support import TailFunction, on_interval
from jaxglmm.gamma_functions import log_gamma, log_gammas
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.unit import Logit
from jaxglmm.special import softplus
from jaxglmm.tails import beta_tails


@dataclasses.dataclass(frozen=True)
class Beta(AbstractFamily):
    """Beta(mu phi, (1 - mu) phi): variance mu (1 - mu) / (1 + phi), phi = (log phi,).

    Ferrari & Cribari-Neto (2004), J. Appl. Statist. 31:799-815, eq. (4).
    """

    link: AbstractLink = Logit()

    name = "beta"
    support = "unit_open"
    weight_role = "multiplier"
    elementwise = True
    dispersed = True
    zeros = "absent"
    phi_names = ("phi",)

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        log_mu, log1m_mu = self.link.log_means(eta)
        return log_beta_kernel(y, phi[0] + log_mu, phi[0] + log1m_mu, jnp.exp(phi[0]))

    def log_base(self, y: Array, weight: Array) -> Array:
        del weight
        return -jnp.log(y) - jnp.log1p(-y)

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        return jnp.exp(self.link.log_mean(eta) + self.link.log1m_mean(eta) - softplus(phi[0]))

    def tails(self, eta: Array, phi: Array, weight: Array) -> TailFunction:
        del weight
        a, b = self._shapes(eta, phi)
        return on_interval(lambda y: beta_tails(a, b, jnp.log(y) - jnp.log1p(-y)), 1.0)

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        return beta(key, *self._shapes(eta, phi))

    def _shapes(self, eta: Array, phi: Array) -> tuple[Array, Array]:
        link = self.link
        return jnp.exp(phi[0] + link.log_mean(eta)), jnp.exp(phi[0] + link.log1m_mean(eta))

    def initial_mean(self, y: Array, weight: Array) -> Array:
        del weight
        return y

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        del weight
        spread = jnp.sum(multiplier * (y - mu) ** 2)
        precision = jnp.sum(multiplier * mu * (1.0 - mu)) / spread - 1.0
        return jnp.log(jnp.clip(precision, 0.5, 1e6))[None]

    def limit(self, phi: Array, start: Array) -> Array:
        """At a precision of 1e12 the responses lie within 5e-7 of their means: a perfect fit."""
        del start
        return jnp.where(phi[0] > jnp.log(1e12), UNBOUNDED, INTERIOR)


def log_beta_kernel(y: Array, log_a: Array, log_b: Array, total: Array) -> Array:
    """log of y^a (1 - y)^b Gamma(a + b) / (Gamma(a) Gamma(b)), `total` being a + b.

    -log Gamma(a) = log a - log Gamma(a + 1) stays finite where a is too small for a number.
    """
    a, b = jnp.exp(log_a), jnp.exp(log_b)
    of_a, of_b = log_gammas(a + 1.0, b + 1.0)
    normaliser = log_gamma(total) + log_a + log_b - of_a - of_b
    return normaliser + a * jnp.log(y) + b * jnp.log1p(-y)
