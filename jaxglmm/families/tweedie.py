"""The compound Poisson-gamma (Tweedie) law."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.errors import InputError
from jaxglmm.families.base import BOUNDARY, INTERIOR, UNBOUNDED, AbstractFamily
from jaxglmm.families.compound import NUM_TERMS, compound_tails, log_sum, series
from jaxglmm.families.sampling import log_gamma_variable, poisson
from jaxglmm.families.support import TailFunction
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.power import Log
from jaxglmm.special import softplus


@dataclasses.dataclass(frozen=True)
class Tweedie(AbstractFamily):
    """Mean mu and variance phi mu^p, 1 < p < 2: a Poisson number of gamma variables.

    log P(0) = -mu^(2-p) / (phi (2 - p)); for y > 0

        log p = (y mu^(1-p) / (1 - p) - mu^(2-p) / (2 - p)) / phi - log y + log sum_j>0 W_j,
        log W_j = j log z - log j! - log Gamma(alpha j),    alpha = (2 - p) / (p - 1),
        log z = alpha log(y / (p - 1)) - (1 + alpha) log phi - log(2 - p),

    with phi = (log phi, psi), p = 1 + logistic(psi).
    Dunn & Smyth (2005), Statistics and Computing 15:267-280, eq. (3) and (5).

    power: None to estimate it, else its value.
    """

    link: AbstractLink = Log()
    power: float | None = None

    name = "tweedie"
    support = "nonnegative"
    weight_role = "multiplier"
    dispersed = True
    elementwise = True
    peaks_at_mean = True
    num_nodes = 3 * NUM_TERMS  # a log Gamma is worth two exponentials
    at_limit = "power is 1 or 2: near 2 'gamma' fits as well."

    def __post_init__(self) -> None:
        if self.power is not None and not 1 < self.power < 2:
            raise InputError(
                f"Tweedie(power={self.power}): expected a number between 1 and 2, or None. The "
                "powers 0, 1, 2 and 3 are the families gaussian, poisson, gamma and "
                "inverse_gaussian."
            )

    @property
    def phi_names(self) -> tuple[str, ...]:
        return ("phi", "power") if self.power is None else ("phi",)

    @property
    def known(self) -> dict[str, float]:
        return {} if self.power is None else {"power": self.power}

    def _psi(self, phi: Array) -> Array:
        if self.power is None:
            return phi[1]
        return jnp.full_like(phi[0], math.log((self.power - 1.0) / (2.0 - self.power)))

    def natural(self, phi: Array) -> Array:
        dispersion = jnp.exp(phi[:1])
        if self.power is not None:
            return dispersion
        return jnp.concatenate([dispersion, 1.0 + jax.nn.sigmoid(phi[1:])])

    def coordinate(self, number: int, value: float) -> tuple[int, float]:
        return number, math.log((value - 1.0) / (2.0 - value)) if number else math.log(value)

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        psi = self._psi(phi)
        above, below = jax.nn.sigmoid(psi), jax.nn.sigmoid(-psi)  # p - 1 and 2 - p
        log_mu = self.link.log_mean(eta)
        zero = -jnp.exp(below * log_mu - phi[0]) / below
        log_y = _log_positive(y)
        slope = -jnp.exp(log_y - above * log_mu - phi[0]) / above
        at = jax.lax.stop_gradient
        terms = series(at(log_y), at(phi[0]), at(psi))
        return zero + jnp.where(y > 0.0, slope + log_sum(log_y, phi[0], psi, terms), 0.0)

    def log_base(self, y: Array, weight: Array) -> Array:
        del weight
        return -_log_positive(y)

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        return jnp.exp(phi[0] + (1.0 + jax.nn.sigmoid(self._psi(phi))) * self.link.log_mean(eta))

    def tails(self, eta: Array, phi: Array, weight: Array) -> TailFunction:
        """Sums over the number of gamma variables."""
        del weight
        log_number, alpha, log_scale = self._parts(eta, phi)
        return lambda y: compound_tails(y, log_number, alpha, log_scale)

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        keys = jax.random.split(key)
        log_number, alpha, log_scale = self._parts(eta, phi)
        number = poisson(keys[0], jnp.exp(log_number))
        size = log_gamma_variable(keys[1], alpha * jnp.maximum(number, 1.0)) + log_scale
        return jnp.where(number > 0.0, jnp.exp(size), 0.0 * number)

    def _parts(self, eta: Array, phi: Array) -> tuple[Array, Array, Array]:
        """The mean number of gamma variables, their shape and their scale; all but it as logs."""
        psi, log_mu = self._psi(phi), self.link.log_mean(eta)
        log_number = jax.nn.sigmoid(-psi) * log_mu - phi[0] + softplus(psi)
        return log_number, jnp.exp(-psi), phi[0] - softplus(-psi) + jax.nn.sigmoid(psi) * log_mu

    def initial_mean(self, y: Array, weight: Array) -> Array:
        del weight
        return y + 0.1 * jnp.mean(y)

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        """phi by moments; p from the share of zeros, exp(-mu^(2-p) / (phi (2 - p))).

        With v = phi mu^p the exponent is mu^2 / (v (2 - p)).
        """
        del weight
        total = jnp.sum(multiplier)
        mean = jnp.sum(multiplier * mu) / total
        zeros = (jnp.sum(multiplier * (y == 0.0)) + 0.5) / (total + 1.0)
        v = jnp.sum(multiplier * (y - mu) ** 2) / total
        below = jnp.clip(-mean * mean / (v * jnp.log(zeros)), 0.1, 0.9)
        power = 2.0 - below if self.power is None else self.power
        dispersion = jnp.sum(multiplier * (y - mu) ** 2 * mu**-power) / total
        both = jnp.stack([jnp.log(dispersion), jnp.log1p(-below) - jnp.log(below)])
        return both[: self.num_phi]

    def limit(self, phi: Array, start: Array) -> Array:
        """p within 1e-4 of 1 or 2: a multiple of a Poisson variable, or a gamma one.

        A phi of 1e-9 leaves means in the order of one a spread of 3e-5: a perfect fit.
        """
        del start
        bound = jnp.where(jnp.abs(self._psi(phi)) > math.log(1e4), BOUNDARY, INTERIOR)
        return jnp.where(phi[0] < math.log(1e-9), UNBOUNDED, bound)


def _log_positive(y: Array) -> Array:
    """log y; 1 stands in for zeros, whose terms are not used."""
    return jnp.log(jnp.where(y > 0.0, y, 1.0))
