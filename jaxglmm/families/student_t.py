"""Student's t, scaled and shifted."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.errors import InputError
from jaxglmm.families.base import (
    BOUNDARY,
    INTERIOR,
    UNBOUNDED,
    AbstractFamily,
    collapsed,
    within_reach,
)
from jaxglmm.families.inversion import line_quantile
from jaxglmm.families.sampling import log_gamma_variable
from jaxglmm.families.support import TailFunction
from jaxglmm.gamma_functions import log_rising
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.power import Identity
from jaxglmm.tails import Tails, beta_tails

_FIRST_DF = 5.0
_NEAR = 80.0  # as log(df / t^2): t is zero to rounding
_MEAN_SIZE = 0.9490  # E|t| at 5 degrees of freedom: 2 sqrt(5 / pi) Gamma(3) / (4 Gamma(5 / 2))


@dataclasses.dataclass(frozen=True)
class StudentT(AbstractFamily):
    """(y - mu) / sigma ~ t with df degrees of freedom; phi = (log sigma, log df).

    df: None to estimate it, else its value, and phi = (log sigma,).

    log p = log Gamma((df + 1) / 2) - log Gamma(df / 2) - log(pi df) / 2 - log sigma
            - (df + 1) / 2 log1p(((y - mu) / sigma)^2 / df).
    sigma is the scale, not the standard deviation. Lange, Little & Taylor (1989), J. Amer. Statist.
    Assoc. 84:881-896.
    """

    link: AbstractLink = Identity()
    df: float | None = None

    name = "student_t"
    support = "real"
    weight_role = "multiplier"
    dispersed = True
    elementwise = True
    at_limit = "df is infinite: 'gaussian' fits as well."
    peaks_at_mean = True

    def __post_init__(self) -> None:
        if self.df is not None and not 0 < self.df < math.inf:
            raise InputError(f"StudentT(df={self.df}): expected a positive number, or None.")

    @property
    def phi_names(self) -> tuple[str, ...]:
        return ("sigma", "df") if self.df is None else ("sigma",)

    @property
    def known(self) -> dict[str, float]:
        return {} if self.df is None else {"df": self.df}

    @property
    def shifts(self) -> bool:
        return isinstance(self.link, Identity)

    def _df(self, phi: Array) -> Array:
        return jnp.exp(phi[1]) if self.df is None else jnp.full_like(phi[0], self.df)

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        df = self._df(phi)
        half = 0.5 * df
        normaliser = log_rising(half, jnp.full_like(half, 0.5)) - 0.5 * jnp.log(half)
        z = (y - self.link.mean(eta)) * jnp.exp(-phi[0])
        return normaliser - phi[0] - (half + 0.5) * jnp.log1p(z * z / df)

    def log_base(self, y: Array, weight: Array) -> Array:
        del weight
        return jnp.full_like(y, -0.5 * math.log(2 * math.pi))

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        """sigma^2 df / (df - 2), infinite up to two degrees of freedom."""
        del weight
        beyond = self._df(phi) - 2.0
        factor = jnp.where(beyond > 0, 1.0 + 2.0 / jnp.where(beyond > 0, beyond, 1.0), jnp.inf)
        return jnp.full_like(eta, jnp.exp(2.0 * phi[0]) * factor)

    def tails(self, eta: Array, phi: Array, weight: Array) -> TailFunction:
        del weight
        mu, sigma, standard = self.link.mean(eta), jnp.exp(phi[0]), self._standard(phi)
        return lambda y: standard((y - mu) / sigma)

    def _standard(self, phi: Array) -> TailFunction:
        """P(|T| > |t|) = I_x(df / 2, 1 / 2), x = df / (df + t^2) (Abramowitz & Stegun 26.7.1)."""
        df = self._df(phi)

        def tails(t: Array) -> Tails:
            logit = jnp.minimum(jnp.log(df) - 2.0 * jnp.log(jnp.abs(t)), _NEAR)
            outside, inside = beta_tails(0.5 * df, jnp.full_like(df, 0.5), logit)
            small, large = 0.5 * outside, 0.5 + 0.5 * inside
            return jnp.where(t < 0, small, large), jnp.where(t < 0, large, small)

        return tails

    def quantile(self, p: Array, eta: Array, phi: Array, weight: Array) -> Array:
        shape = jnp.broadcast_shapes(jnp.shape(p), jnp.shape(eta), jnp.shape(weight))
        standard = line_quantile(self._standard(phi), jnp.broadcast_to(p, shape), self.support)
        return self.link.mean(eta) + jnp.exp(phi[0]) * standard

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        shape = jnp.broadcast_shapes(jnp.shape(eta), jnp.shape(weight))
        keys, half = jax.random.split(key), 0.5 * jnp.broadcast_to(self._df(phi), shape)
        log_chi = log_gamma_variable(keys[0], half) - jnp.log(half)
        t = jax.random.normal(keys[1], shape, half.dtype) * jnp.exp(-0.5 * log_chi)
        return self.link.mean(eta) + jnp.exp(phi[0]) * t

    def initial_mean(self, y: Array, weight: Array) -> Array:
        del weight
        return within_reach(self.link, y)

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        """df = 5 and the mean absolute residual that goes with it, which outliers hardly move."""
        del weight
        size = jnp.sum(multiplier * jnp.abs(y - mu)) / jnp.sum(multiplier)
        log_sigma = jnp.log(size / _MEAN_SIZE)
        if self.df is not None:
            return log_sigma[None]
        return jnp.stack([log_sigma, jnp.full_like(log_sigma, math.log(_FIRST_DF))])

    def limit(self, phi: Array, start: Array) -> Array:
        """At df = 1e7 the law is normal to within rounding of the estimates."""
        code = collapsed(phi, start)
        if self.df is not None:
            return code
        normal = jnp.where(phi[1] > jnp.log(1e7), BOUNDARY, INTERIOR)
        return jnp.where(code == UNBOUNDED, code, normal)
