"""The gamma law."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.families.base import AbstractFamily, collapsed
from jaxglmm.families.sampling import log_gamma_variable
from jaxglmm.families.support import TailFunction, on_interval
from jaxglmm.gamma_functions import log_gamma_density_constant
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.power import Log
from jaxglmm.tails import gamma_tails


@dataclasses.dataclass(frozen=True)
class Gamma(AbstractFamily):
    """Gamma with mean mu and variance phi mu^2 / weight: shape nu = weight / phi, scale mu / nu.

    log p = nu (log(y / mu) - y / mu + 1) - log(y) + nu log(nu) - nu - log Gamma(nu),
    and phi = (log phi,).
    """

    link: AbstractLink = Log()

    name = "gamma"
    support = "positive"
    weight_role = "dispersion"
    elementwise = True
    peaks_at_mean = True
    exponential = True
    dispersed = True
    zeros = "absent"
    phi_names = ("phi",)

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        nu = weight * jnp.exp(-phi[0])
        log_ratio = jnp.log(y) - self.link.log_mean(eta)
        # Where nu is large the bracket is the square of what is left of log_ratio, next to nothing.
        return nu * (log_ratio - jnp.expm1(log_ratio)) + log_gamma_density_constant(nu)

    def log_base(self, y: Array, weight: Array) -> Array:
        del weight
        return -jnp.log(y)

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        return jnp.exp(phi[0] + 2.0 * self.link.log_mean(eta)) / weight

    def tails(self, eta: Array, phi: Array, weight: Array) -> TailFunction:
        nu = weight * jnp.exp(-phi[0])
        log_rate = jnp.log(nu) - self.link.log_mean(eta)
        return on_interval(lambda y: gamma_tails(nu, log_rate + jnp.log(y)))

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        nu = weight * jnp.exp(-phi[0])
        log_scale = self.link.log_mean(eta) - jnp.log(nu)
        shape = jnp.broadcast_to(nu, log_scale.shape)
        return jnp.exp(log_gamma_variable(key, shape) + log_scale)

    def initial_mean(self, y: Array, weight: Array) -> Array:
        del weight
        return y

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        """From the variance of log(y / mu), psi_1(nu) = phi + phi^2 / 2 + ..., and not from that of
        y / mu, which random effects of large variance make larger by orders of magnitude."""
        log_ratio, share = jnp.log(y / mu), multiplier * weight
        centre = jnp.sum(share * log_ratio) / jnp.sum(share)
        variance = jnp.sum(share * (log_ratio - centre) ** 2) / jnp.sum(multiplier)
        rounding = (8.0 * jnp.finfo(y.dtype).eps) ** 2
        variance = jnp.where(variance > rounding, variance, 0.0)
        # sqrt(1 + 2 v) - 1, which solves phi + phi^2 / 2 = v, without cancellation.
        return jnp.log(2.0 * variance / (1.0 + jnp.sqrt(1.0 + 2.0 * variance)))[None]

    def limit(self, phi: Array, start: Array) -> Array:
        return collapsed(0.5 * phi, 0.5 * start)
