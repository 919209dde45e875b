"""The negative binomial law with linear variance."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.families.base import BOUNDARY, INTERIOR, AbstractFamily
from jaxglmm.families.nbinom2 import NegativeBinomial2
from jaxglmm.families.sampling import poisson_of_gamma
from jaxglmm.families.support import TailFunction, on_counts
from jaxglmm.gamma_functions import log_factorial, log_rising_exp
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.power import Log
from jaxglmm.special import softplus
from jaxglmm.tails import beta_tails, swapped


@dataclasses.dataclass(frozen=True)
class NegativeBinomial1(AbstractFamily):
    """Mean mu and variance mu (1 + phi); phi = (log phi,).

    log p = log Gamma(y + r) - log Gamma(r) - log(y!) - r log1p(phi) + y log(phi / (1 + phi)),
    r = mu / phi. Hardin & Hilbe (2018), Generalized Linear Models and Extensions, section 13.3.
    """

    link: AbstractLink = Log()

    name = "nbinom1"
    support = "count"
    weight_role = "multiplier"
    dispersed = True
    zeros = "present"
    elementwise = True
    phi_names = ("phi",)
    at_limit = "phi is zero: 'poisson' fits as well."

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        log_r = self.link.log_mean(eta) - phi[0]
        log1p_phi = softplus(phi[0])
        return log_rising_exp(log_r, y) - jnp.exp(log_r) * log1p_phi + y * (phi[0] - log1p_phi)

    def log_base(self, y: Array, weight: Array) -> Array:
        del weight
        return -log_factorial(y)

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        return self.link.mean(eta) * (1.0 + jnp.exp(phi[0]))

    def tails(self, eta: Array, phi: Array, weight: Array) -> TailFunction:
        """P(Y > k) = I_x(k + 1, r), x = phi / (1 + phi) (Abramowitz & Stegun 26.5.26)."""
        del weight
        r = jnp.exp(self.link.log_mean(eta) - phi[0])
        return on_counts(lambda k: swapped(beta_tails(k + 1.0, r, phi[0])))

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        log_mean = self.link.log_mean(eta)
        return poisson_of_gamma(key, jnp.exp(log_mean - phi[0]), log_mean)

    def saturated(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        """At the mean y of `NegativeBinomial2` with the size r, as glmmTMB has it."""
        log_r = self.link.log_mean(eta) - phi[0]
        return NegativeBinomial2().saturated(y, log_r, jnp.stack([log_r]), weight)

    def initial_mean(self, y: Array, weight: Array) -> Array:
        del weight
        return y + 0.1

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        del weight
        excess = jnp.sum(multiplier * ((y - mu) ** 2 - mu)) / jnp.sum(multiplier * mu)
        return jnp.log(jnp.clip(excess, 0.01, 100.0))[None]

    def limit(self, phi: Array, start: Array) -> Array:
        """At phi = 1e-7 the law is Poisson to within rounding of the estimates."""
        del start
        return jnp.where(phi[0] < jnp.log(1e-7), BOUNDARY, INTERIOR)
