"""Links into (0, 1), stable in both tails."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
import jax.scipy.special as jsp
from jax import Array

from jaxglmm.links.base import AbstractLink
from jaxglmm.special import (
    log1m_exp,
    log1m_exp_neg_exp,
    log_normal_cdf,
    logistic,
    softplus,
    softpluses,
)


@dataclasses.dataclass(frozen=True)
class Logit(AbstractLink):
    """eta = log(mu / (1 - mu))."""

    name = "logit"
    range = "unit"

    def mean(self, eta: Array) -> Array:
        return logistic(eta)

    def predictor(self, mu: Array) -> Array:
        return jnp.log(mu / (1.0 - mu))

    def log_mean(self, eta: Array) -> Array:
        return -softplus(-eta)

    def log1m_mean(self, eta: Array) -> Array:
        return -softplus(eta)

    def log_means(self, eta: Array) -> tuple[Array, Array]:
        above, below = softpluses(eta)
        return -below, -above

    def log_tail(self, eta: Array, upper: Array) -> Array:
        return -softplus(jnp.where(upper, eta, -eta))

    def log_binomial(self, y: Array, n: Array, eta: Array) -> Array:
        # One softplus instead of two; its error, eps |y eta|, is that of the product itself.
        return y * eta - n * softplus(eta)

    def log_between(self, low: Array, width: Array) -> Array:
        # mean(high) - mean(low) = mean(high) (1 - mean(low)) (1 - exp(-width)).
        return self.log_mean(low + width) + self.log1m_mean(low) + log1m_exp(-width)


@dataclasses.dataclass(frozen=True)
class Probit(AbstractLink):
    """eta = Phi^-1(mu)."""

    name = "probit"
    range = "unit"

    def mean(self, eta: Array) -> Array:
        return jsp.ndtr(eta)

    def predictor(self, mu: Array) -> Array:
        return jsp.ndtri(mu)

    def log_mean(self, eta: Array) -> Array:
        return log_normal_cdf(eta)

    def log1m_mean(self, eta: Array) -> Array:
        return log_normal_cdf(-eta)

    def log_tail(self, eta: Array, upper: Array) -> Array:
        return self.log_mean(jnp.where(upper, -eta, eta))


def _log_expm1(x: Array) -> Array:
    """log(exp(x) - 1) for x > 0."""
    return x + log1m_exp(-x)


@dataclasses.dataclass(frozen=True)
class Cloglog(AbstractLink):
    """eta = log(-log(1 - mu))."""

    name = "cloglog"
    range = "unit"

    def mean(self, eta: Array) -> Array:
        return -jnp.expm1(-jnp.exp(eta))

    def predictor(self, mu: Array) -> Array:
        return jnp.log(-jnp.log1p(-mu))

    def log_mean(self, eta: Array) -> Array:
        return log1m_exp_neg_exp(eta)

    def log1m_mean(self, eta: Array) -> Array:
        return -jnp.exp(eta)

    def log_between(self, low: Array, width: Array) -> Array:
        # exp(-x) (1 - exp(-d)) with x = exp(low), d = x (exp(width) - 1).
        return -jnp.exp(low) + log1m_exp_neg_exp(low + _log_expm1(width))


@dataclasses.dataclass(frozen=True)
class Loglog(AbstractLink):
    """eta = -log(-log(mu)), increasing in mu (as in ordinal and statsmodels).

    MATLAB's `loglog`, log(-log(mu)), is the same model with the signs of all coefficients changed.
    """

    name = "loglog"
    range = "unit"

    def mean(self, eta: Array) -> Array:
        return jnp.exp(-jnp.exp(-eta))

    def predictor(self, mu: Array) -> Array:
        return -jnp.log(-jnp.log(mu))

    def log_mean(self, eta: Array) -> Array:
        return -jnp.exp(-eta)

    def log1m_mean(self, eta: Array) -> Array:
        return log1m_exp_neg_exp(-eta)

    def log_between(self, low: Array, width: Array) -> Array:
        # The mirror image of cloglog: mean(x) = 1 - cloglog's mean(-x).
        high = low + width
        return -jnp.exp(-high) + log1m_exp_neg_exp(-high + _log_expm1(width))


@dataclasses.dataclass(frozen=True)
class Cauchit(AbstractLink):
    """eta = tan(pi (mu - 1/2)); mu = atan2(1, -eta) / pi keeps the lower tail 1 / (pi |eta|)."""

    name = "cauchit"
    range = "unit"

    def mean(self, eta: Array) -> Array:
        return jnp.arctan2(jnp.ones_like(eta), -eta) / math.pi

    def predictor(self, mu: Array) -> Array:
        return jnp.tan(math.pi * (mu - 0.5))

    def log1m_mean(self, eta: Array) -> Array:
        return self.log_mean(-eta)

    def log_tail(self, eta: Array, upper: Array) -> Array:
        return self.log_mean(jnp.where(upper, -eta, eta))

    def log_between(self, low: Array, width: Array) -> Array:
        # arctan(high) - arctan(low) is the argument of (1 - i low) (1 + i high).
        return jnp.log(jnp.arctan2(width, 1.0 + low * (low + width)) / math.pi)
