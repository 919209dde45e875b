"""The normal law."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import jax.scipy.special as jsp
from jax import Array

from jaxglmm.errors import InputError
from jaxglmm.families.base import INTERIOR, AbstractFamily, collapsed, within_reach
from jaxglmm.families.support import TailFunction
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.power import Identity
from jaxglmm.tails import Tails


@dataclasses.dataclass(frozen=True)
class Gaussian(AbstractFamily):
    """y ~ N(mu, sigma^2 / weight), phi = (log sigma,); or sigma is known and phi is empty.

    sigma: None to estimate it, else its value.
    """

    link: AbstractLink = Identity()
    sigma: float | None = None

    name = "gaussian"
    support = "real"
    weight_role = "dispersion"
    elementwise = True
    peaks_at_mean = True
    exponential = True
    dispersed = True

    def __post_init__(self) -> None:
        if self.sigma is not None and not 0 < self.sigma < math.inf:
            raise InputError(f"Gaussian(sigma={self.sigma}): expected a positive number, or None.")

    @property
    def phi_names(self) -> tuple[str, ...]:
        return ("sigma",) if self.sigma is None else ()

    @property
    def known(self) -> dict[str, float]:
        return {} if self.sigma is None else {"sigma": self.sigma}

    @property
    def shifts(self) -> bool:
        return isinstance(self.link, Identity)

    @property
    def least_squares(self) -> bool:
        return isinstance(self.link, Identity) and self.sigma is None

    def free(self) -> Gaussian:
        return dataclasses.replace(self, sigma=None)

    def _log_sigma(self, phi: Array) -> Array | float:
        return phi[0] if self.sigma is None else math.log(self.sigma)

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        log_sigma = self._log_sigma(phi)
        residual = (y - self.link.mean(eta)) * jnp.exp(-log_sigma)
        return -0.5 * weight * residual * residual - log_sigma

    def log_base(self, y: Array, weight: Array) -> Array:
        del y
        return 0.5 * jnp.log(weight) - 0.5 * math.log(2 * math.pi)

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        return jnp.exp(2.0 * self._log_sigma(phi)) / weight * jnp.ones_like(eta)

    def tails(self, eta: Array, phi: Array, weight: Array) -> TailFunction:
        mu, sd = self.link.mean(eta), self._sd(phi, weight)

        def tails(y: Array) -> Tails:
            z = (y - mu) / sd
            return jsp.ndtr(z), jsp.ndtr(-z)

        return tails

    def quantile(self, p: Array, eta: Array, phi: Array, weight: Array) -> Array:
        return self.link.mean(eta) + self._sd(phi, weight) * jsp.ndtri(p)

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        shape = jnp.broadcast_shapes(jnp.shape(eta), jnp.shape(weight))
        z = jax.random.normal(key, shape, eta.dtype)
        return self.link.mean(eta) + self._sd(phi, weight) * z

    def _sd(self, phi: Array, weight: Array) -> Array:
        return jnp.exp(self._log_sigma(phi)) / jnp.sqrt(weight)

    def initial_mean(self, y: Array, weight: Array) -> Array:
        del weight
        return within_reach(self.link, y)

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        if self.sigma is not None:
            return jnp.zeros((0,), y.dtype)
        total = jnp.sum(multiplier * weight * (y - mu) ** 2)
        return 0.5 * jnp.log(total / jnp.sum(multiplier))[None]

    def limit(self, phi: Array, start: Array) -> Array:
        return collapsed(phi, start) if self.sigma is None else jnp.asarray(INTERIOR)
