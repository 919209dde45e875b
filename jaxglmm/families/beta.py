"""The beta law."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.families.base import INTERIOR, UNBOUNDED, AbstractFamily
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.unit import Logit
from jaxglmm.special import log_gamma


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
    phi_names = ("phi",)

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        precision = jnp.exp(phi[0])
        a = precision * jnp.exp(self.link.log_mean(eta))
        b = precision * jnp.exp(self.link.log1m_mean(eta))
        normaliser = log_gamma(precision) - log_gamma(a) - log_gamma(b)
        return normaliser + a * jnp.log(y) + b * jnp.log1p(-y)

    def log_base(self, y: Array, weight: Array) -> Array:
        del weight
        return -jnp.log(y) - jnp.log1p(-y)

    def variance(self, mu: Array, phi: Array, weight: Array) -> Array:
        del weight
        return mu * (1.0 - mu) / (1.0 + jnp.exp(phi[0]))

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
