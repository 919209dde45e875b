"""Links onto the real or the positive line: identity, log and the powers of the mean."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.links.base import AbstractLink
from jaxglmm.special import log1m_exp


@dataclasses.dataclass(frozen=True)
class Identity(AbstractLink):
    """eta = mu."""

    name = "identity"
    range = "real"

    def mean(self, eta: Array) -> Array:
        return eta

    def predictor(self, mu: Array) -> Array:
        return mu


@dataclasses.dataclass(frozen=True)
class Log(AbstractLink):
    """eta = log(mu)."""

    name = "log"
    range = "positive"

    def mean(self, eta: Array) -> Array:
        return jnp.exp(eta)

    def predictor(self, mu: Array) -> Array:
        return jnp.log(mu)

    def log_mean(self, eta: Array) -> Array:
        return eta

    def log1m_mean(self, eta: Array) -> Array:
        return log1m_exp(eta)


@dataclasses.dataclass(frozen=True)
class Inverse(AbstractLink):
    """eta = 1 / mu."""

    name = "inverse"
    range = "positive"
    is_monotone = False

    def mean(self, eta: Array) -> Array:
        return 1.0 / eta

    def predictor(self, mu: Array) -> Array:
        return 1.0 / mu

    def log_mean(self, eta: Array) -> Array:
        return -jnp.log(eta)


@dataclasses.dataclass(frozen=True)
class InverseSquared(AbstractLink):
    """eta = 1 / mu^2."""

    name = "inverse_squared"
    range = "positive"
    is_monotone = False

    def mean(self, eta: Array) -> Array:
        return 1.0 / jnp.sqrt(eta)

    def predictor(self, mu: Array) -> Array:
        return 1.0 / (mu * mu)

    def log_mean(self, eta: Array) -> Array:
        return -0.5 * jnp.log(eta)


@dataclasses.dataclass(frozen=True)
class Sqrt(AbstractLink):
    """eta = sqrt(mu), so mu = eta^2 (defined for either sign of eta, as in R)."""

    name = "sqrt"
    range = "positive"
    is_monotone = False

    def mean(self, eta: Array) -> Array:
        return eta * eta

    def predictor(self, mu: Array) -> Array:
        return jnp.sqrt(mu)

    def log_mean(self, eta: Array) -> Array:
        return 2.0 * jnp.log(jnp.abs(eta))


@dataclasses.dataclass(frozen=True)
class Power(AbstractLink):
    """eta = mu^power, power not zero, for eta > 0."""

    power: float
    range = "positive"
    is_monotone = False

    @property
    def name(self) -> str:  # type: ignore[override]
        return f"power({self.power:g})"

    def mean(self, eta: Array) -> Array:
        return jnp.exp(self.log_mean(eta))

    def predictor(self, mu: Array) -> Array:
        return mu**self.power

    def log_mean(self, eta: Array) -> Array:
        return jnp.log(eta) / self.power
