"""The skew-normal law."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import jax.scipy.special as jsp
from jax import Array

from jaxglmm.families.base import (
    BOUNDARY,
    INTERIOR,
    UNBOUNDED,
    AbstractFamily,
    collapsed,
    within_reach,
)
from jaxglmm.families.inversion import line_quantile
from jaxglmm.families.support import TailFunction
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.power import Identity
from jaxglmm.special import log_normal_cdf
from jaxglmm.tails import Tails, normal_wedge

_SQUARE = 2.0 / math.pi
# The skewness is (4 - pi) / 2 (m^2 / (1 - m^2))^(3/2), m = delta sqrt(2 / pi).
_SKEWNESS = 0.5 * (4.0 - math.pi)
_MOST = 0.9  # skewness to start from; that of the half-normal law is 0.995
_LEAST = 0.05


@dataclasses.dataclass(frozen=True)
class SkewNormal(AbstractFamily):
    """Mean mu, standard deviation sigma and shape alpha; phi = (log sigma, alpha).

    y = xi + omega z, p(z) = 2 phi(z) Phi(alpha z), with delta = alpha / sqrt(1 + alpha^2),
    omega = sigma / sqrt(1 - 2 delta^2 / pi) and xi = mu - omega delta sqrt(2 / pi).
    Azzalini (1985), Scand. J. Statist. 12:171-178; glmmTMB's parameters.

    At alpha = 0, the normal law, the likelihood is flat to the third order in alpha: the fit starts
    on the side of the residuals' own skewness.
    """

    link: AbstractLink = Identity()

    name = "skew_normal"
    support = "real"
    weight_role = "multiplier"
    dispersed = True
    elementwise = True
    phi_names = ("sigma", "shape")
    at_limit = "shape is zero ('gaussian' fits as well), or infinite."
    signed = ("shape",)

    @property
    def shifts(self) -> bool:
        return isinstance(self.link, Identity)

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        alpha = phi[1]
        m, spread = _standard_moments(alpha)
        z = (y - self.link.mean(eta)) * jnp.exp(-phi[0]) * spread + m
        return -0.5 * z * z + log_normal_cdf(alpha * z) + jnp.log(spread) - phi[0]

    def log_base(self, y: Array, weight: Array) -> Array:
        del weight
        return jnp.full_like(y, math.log(2.0) - 0.5 * math.log(2 * math.pi))

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        return jnp.full_like(eta, jnp.exp(2.0 * phi[0]))

    def tails(self, eta: Array, phi: Array, weight: Array) -> TailFunction:
        del weight
        m, spread = _standard_moments(phi[1])
        mu, sigma = self.link.mean(eta), jnp.exp(phi[0])
        return lambda y: skew_normal_tails((y - mu) / sigma * spread + m, phi[1])

    def quantile(self, p: Array, eta: Array, phi: Array, weight: Array) -> Array:
        shape = jnp.broadcast_shapes(jnp.shape(p), jnp.shape(eta), jnp.shape(weight))
        p = jnp.broadcast_to(p, shape)
        m, spread = _standard_moments(phi[1])
        z = line_quantile(lambda z: skew_normal_tails(z, phi[1]), p, self.support)
        return self.link.mean(eta) + jnp.exp(phi[0]) * (z - m) / spread

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        shape = jnp.broadcast_shapes(jnp.shape(eta), jnp.shape(weight))
        z = jax.random.normal(key, (2, *shape), eta.dtype)
        m, spread = _standard_moments(phi[1])
        root = jnp.sqrt(1.0 + phi[1] * phi[1])
        skewed = (phi[1] * jnp.abs(z[0]) + z[1]) / root
        return self.link.mean(eta) + jnp.exp(phi[0]) * (skewed - m) / spread

    def natural(self, phi: Array) -> Array:
        return jnp.stack([jnp.exp(phi[0]), phi[1]])

    def coordinate(self, number: int, value: float) -> tuple[int, float]:
        return number, value if number else math.log(value)

    def initial_mean(self, y: Array, weight: Array) -> Array:
        del weight
        return within_reach(self.link, y)

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        del weight
        count = jnp.sum(multiplier)
        apart = y - jnp.sum(multiplier * (y - mu)) / count - mu
        variance = jnp.sum(multiplier * apart**2) / count
        skewness = jnp.sum(multiplier * apart**3) / count / variance**1.5
        ratio = (jnp.clip(jnp.abs(skewness), _LEAST, _MOST) / _SKEWNESS) ** (2.0 / 3.0)
        delta_square = ratio / (1.0 + ratio) / _SQUARE
        alpha = jnp.sqrt(delta_square / (1.0 - delta_square))
        return jnp.stack([0.5 * jnp.log(variance), jnp.where(skewness < 0, -alpha, alpha)])

    def limit(self, phi: Array, start: Array) -> Array:
        """At alpha = 0.01 the skewness is 2e-7, at 1000 that of the half-normal law to 1e-6."""
        size = jnp.abs(phi[1])
        simpler = jnp.where((size < 1e-2) | (size > 1e3), BOUNDARY, INTERIOR)
        code = collapsed(phi, start)
        return jnp.where(code == UNBOUNDED, code, simpler)


def _standard_moments(alpha: Array) -> tuple[Array, Array]:
    """Mean and standard deviation at xi = 0, omega = 1."""
    m = math.sqrt(_SQUARE) * alpha / jnp.sqrt(1.0 + alpha * alpha)
    return m, jnp.sqrt(1.0 - m * m)


def skew_normal_tails(z: Array, alpha: Array) -> Tails:
    """At xi = 0, omega = 1: P(Z <= z) = Phi(z) - 2 T(z, alpha) with Owen's T.

    With h = |z| and T(h, oo) = Phi(-h) / 2 the tail away from zero, for alpha z < 0, is
    2 (T(h, oo) - T(h, |alpha|)), an integral from |alpha| on; for alpha z > 0 it is a sum.
    """
    z, alpha = jnp.broadcast_arrays(z, alpha)
    h, a = jnp.maximum(jnp.abs(z), 1e-8), jnp.abs(alpha)
    half = 0.5 * jsp.ndtr(-h)
    inner = _owens_t(h, a)
    beyond = normal_wedge(jnp.maximum(h, 1.0), a, jnp.full_like(a, jnp.inf))
    thin = jnp.where(h < 1.0, half - inner, beyond)
    tail = 2.0 * jnp.where(z * alpha < 0, thin, half + inner)
    return jnp.where(z < 0, tail, 1.0 - tail), jnp.where(z < 0, 1.0 - tail, tail)


def _owens_t(h: Array, a: Array) -> Array:
    """T(h, a) for h > 0, a >= 0; beyond a = 1 from T(a h, 1 / a) where h < 1 (Owen 1956)."""
    turn = (h < 1.0) & (a > 1.0)
    part = normal_wedge(
        jnp.where(turn, a * h, h), jnp.zeros_like(a), jnp.where(turn, 1.0 / jnp.maximum(a, 1.0), a)
    )
    p, q = jsp.ndtr(-h), jsp.ndtr(-a * h)
    # (Phi(h) + Phi(a h)) / 2 - Phi(h) Phi(a h) in terms of the upper tails.
    return jnp.where(turn, 0.5 * (p + q) - p * q - part, part)
