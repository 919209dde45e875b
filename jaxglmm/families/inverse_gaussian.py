"""The inverse Gaussian law."""

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
from jaxglmm.special import log_mills
from jaxglmm.tails import Tails


@dataclasses.dataclass(frozen=True)
class InverseGaussian(AbstractFamily):
    """Mean mu and variance phi mu^3 / weight; phi = (log phi,).

    log p = -weight (y / mu - 1)^2 / (2 phi y) - log(2 pi phi y^3 / weight) / 2.
    """

    link: AbstractLink = Log()

    name = "inverse_gaussian"
    support = "positive"
    weight_role = "dispersion"
    elementwise = True
    peaks_at_mean = True
    exponential = True
    dispersed = True
    phi_names = ("phi",)

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        relative = y * jnp.exp(-self.link.log_mean(eta)) - 1.0
        return -0.5 * weight * jnp.exp(-phi[0]) * relative * relative / y - 0.5 * phi[0]

    def log_base(self, y: Array, weight: Array) -> Array:
        return 0.5 * (jnp.log(weight) - math.log(2 * math.pi) - 3.0 * jnp.log(y))

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        return jnp.exp(phi[0] + 3.0 * self.link.log_mean(eta)) / weight

    def tails(self, eta: Array, phi: Array, weight: Array) -> TailFunction:
        """Phi(-t) + exp(2 k) Phi(-s) below the mean and Phi(-t) - exp(2 k) Phi(-s) above it, with
        k = weight / (phi mu), r = y / mu, t = sqrt(k / r) |r - 1| and s = sqrt(k / r) (r + 1).

        exp(2 k) phi(s) = phi(t). Shuster (1968), J. Amer. Statist. Assoc. 63:1514-1516.
        """
        log_mean = self.link.log_mean(eta)
        log_k = jnp.log(weight) - phi[0] - log_mean

        def tails(y: Array) -> Tails:
            log_ratio = jnp.log(y) - log_mean
            low = log_ratio < 0.0
            t = jnp.exp(0.5 * (log_k - log_ratio)) * jnp.abs(jnp.expm1(log_ratio))
            s = t + 2.0 * jnp.exp(0.5 * (log_k + jnp.where(low, 1.0, -1.0) * log_ratio))
            other = jnp.exp(log_mills(s) - log_mills(t))
            tail = jsp.ndtr(-t) * (1.0 + jnp.where(low, other, -other))
            return jnp.where(low, tail, 1.0 - tail), jnp.where(low, 1.0 - tail, tail)

        return on_interval(tails)

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        """A root of t^2 = z^2, z normal. Michael, Schucany & Haas (1976), Amer. Statist.
        30:88-90."""
        log_mean = self.link.log_mean(eta)
        log_k = jnp.log(weight) - phi[0] - log_mean
        keys = jax.random.split(key)
        c = 0.5 * jnp.exp(-log_k) * jax.random.normal(keys[0], log_k.shape, log_k.dtype) ** 2
        root = 1.0 / (1.0 + c + jnp.sqrt(c * (2.0 + c)))
        u = jax.random.uniform(keys[1], log_k.shape, log_k.dtype)
        return jnp.exp(log_mean) * jnp.where(u * (1.0 + root) <= 1.0, root, 1.0 / root)

    def initial_mean(self, y: Array, weight: Array) -> Array:
        del weight
        return y

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        total = jnp.sum(multiplier * weight * (y / mu - 1.0) ** 2 / y)
        return jnp.log(total / jnp.sum(multiplier))[None]

    def limit(self, phi: Array, start: Array) -> Array:
        return collapsed(0.5 * phi, 0.5 * start)
