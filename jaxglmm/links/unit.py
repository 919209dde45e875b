"""Links into (0, 1), stable in both tails."""

from __future__ import annotations

import dataclasses
import math

import jax.numpy as jnp
import jax.scipy.special as jsp
from jax import Array, lax

from jaxglmm.links.base import AbstractLink
from jaxglmm.special import log1m_exp, softplus


@dataclasses.dataclass(frozen=True)
class Logit(AbstractLink):
    """eta = log(mu / (1 - mu))."""

    name = "logit"
    range = "unit"

    def mean(self, eta: Array) -> Array:
        return lax.logistic(eta)

    def predictor(self, mu: Array) -> Array:
        return jnp.log(mu) - jnp.log1p(-mu)

    def log_mean(self, eta: Array) -> Array:
        return -softplus(-eta)

    def log1m_mean(self, eta: Array) -> Array:
        return -softplus(eta)

    def log_binomial(self, y: Array, n: Array, eta: Array) -> Array:
        # One softplus instead of two; its error, eps |y eta|, is that of the product itself.
        return y * eta - n * softplus(eta)


# Terms of the asymptotic series below -20. JAX's three leave 1e-9, which the third derivative
# magnifies to 6 % at -30; the ninth term is below rounding.
_TAIL_TERMS = 8


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
        return jsp.log_ndtr(eta, _TAIL_TERMS)

    def log1m_mean(self, eta: Array) -> Array:
        return jsp.log_ndtr(-eta, _TAIL_TERMS)


def _log1m_exp_neg_exp(eta: Array) -> Array:
    """log(1 - exp(-x)), x = exp(eta); for small x it is eta - x/2 + x^2/24 - x^4/2880."""
    small = eta < -4.0
    x = jnp.exp(jnp.where(small, eta, -4.0))
    x2 = x * x
    series = -0.5 * x + x2 / 24.0 - x2 * x2 / 2880.0
    return jnp.where(small, eta + series, log1m_exp(-jnp.exp(jnp.where(small, 0.0, eta))))


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
        return _log1m_exp_neg_exp(eta)

    def log1m_mean(self, eta: Array) -> Array:
        return -jnp.exp(eta)


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
        return _log1m_exp_neg_exp(-eta)


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
