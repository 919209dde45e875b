"""The log-normal law."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import jax.scipy.special as jsp
from jax import Array

from jaxglmm.families.base import AbstractFamily, collapsed
from jaxglmm.families.support import TailFunction, on_interval
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.power import Log
from jaxglmm.special import log_softplus, softplus
from jaxglmm.tails import Tails


@dataclasses.dataclass(frozen=True)
class LogNormal(AbstractFamily):
    """Mean mu and standard deviation sigma of y itself; phi = (log sigma,).

    log y ~ N(log mu - s^2 / 2, s^2), s^2 = log(1 + sigma^2 / mu^2), as in glmmTMB.
    """

    link: AbstractLink = Log()

    name = "lognormal"
    support = "positive"
    weight_role = "multiplier"
    dispersed = True
    zeros = "absent"
    elementwise = True
    phi_names = ("sigma",)

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        log_mean = self.link.log_mean(eta)
        log_ratio = 2.0 * (phi[0] - log_mean)
        log_square = log_softplus(log_ratio)
        residual = jnp.log(y) - log_mean + 0.5 * softplus(log_ratio)
        return -0.5 * (residual * residual * jnp.exp(-log_square) + log_square)

    def log_base(self, y: Array, weight: Array) -> Array:
        del weight
        return -jnp.log(y) - 0.5 * math.log(2 * math.pi)

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        return jnp.full_like(eta, jnp.exp(2.0 * phi[0]))

    def tails(self, eta: Array, phi: Array, weight: Array) -> TailFunction:
        del weight
        centre, spread = self._log_scale(eta, phi)

        def tails(y: Array) -> Tails:
            z = (jnp.log(y) - centre) / spread
            return jsp.ndtr(z), jsp.ndtr(-z)

        return on_interval(tails)

    def quantile(self, p: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        centre, spread = self._log_scale(eta, phi)
        return jnp.exp(centre + spread * jsp.ndtri(p))

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        centre, spread = self._log_scale(eta, phi)
        return jnp.exp(centre + spread * jax.random.normal(key, centre.shape, centre.dtype))

    def _log_scale(self, eta: Array, phi: Array) -> tuple[Array, Array]:
        """The mean and the standard deviation of log y."""
        log_mean = self.link.log_mean(eta)
        log_ratio = 2.0 * (phi[0] - log_mean)
        return log_mean - 0.5 * softplus(log_ratio), jnp.exp(0.5 * log_softplus(log_ratio))

    def initial_mean(self, y: Array, weight: Array) -> Array:
        del weight
        return y

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        del weight
        total = jnp.sum(multiplier * (y - mu) ** 2)
        return 0.5 * jnp.log(total / jnp.sum(multiplier))[None]

    def limit(self, phi: Array, start: Array) -> Array:
        return collapsed(phi, start)
