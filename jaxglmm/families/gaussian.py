"""The normal law."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
from jax import Array

from jaxglmm.errors import InputError
from jaxglmm.families.base import INTERIOR, AbstractFamily, collapsed
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.power import Identity


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

    def variance(self, mu: Array, phi: Array, weight: Array) -> Array:
        del mu
        return jnp.exp(2.0 * self._log_sigma(phi)) / weight

    def initial_mean(self, y: Array, weight: Array) -> Array:
        del weight
        if self.link.range == "real":
            return y
        if self.link.range == "unit":
            return jnp.clip(y, 1e-2, 1.0 - 1e-2)
        return jnp.maximum(y, 1e-2 * jnp.mean(jnp.abs(y)))

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        if self.sigma is not None:
            return jnp.zeros((0,), y.dtype)
        total = jnp.sum(multiplier * weight * (y - mu) ** 2)
        return 0.5 * jnp.log(total / jnp.sum(multiplier))[None]

    def limit(self, phi: Array, start: Array) -> Array:
        return collapsed(phi, start) if self.sigma is None else jnp.asarray(INTERIOR)
