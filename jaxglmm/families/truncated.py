"""What the laws of counts that condition on y > 0 share; mu is the untruncated law's mean."""

from __future__ import annotations

import abc
import dataclasses

import jax.numpy as jnp
from jax import Array

from jaxglmm.families.base import AbstractFamily
from jaxglmm.families.support import TailFunction
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.power import Log
from jaxglmm.special import log1m_exp_neg_exp
from jaxglmm.tails import Tails


@dataclasses.dataclass(frozen=True)
class AbstractTruncated(AbstractFamily):
    """A law of counts given y > 0: log p(y) - log(1 - P(0)).

    It stands before the untruncated law among the bases of a class, and says `_log_rate`.
    """

    link: AbstractLink = Log()

    support = "positive_count"
    zeros = "absent"
    peaks_at_mean = False

    @abc.abstractmethod
    def _log_rate(self, log_mean: Array, phi: Array) -> Array:
        """log(-log P(0)) of the untruncated law."""

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        some = log1m_exp_neg_exp(self._log_rate(self.link.log_mean(eta), phi))
        return super().log_kernel(y, eta, phi, weight) - some

    def response_mean(self, eta: Array, phi: Array) -> Array:
        return self.link.mean(eta) / self._some(eta, phi)

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        """(V + mu^2) / (1 - P(0)) - E(y | y > 0)^2, V being the untruncated law's variance."""
        whole = super().response_variance(eta, phi, weight)
        mu, mean = self.link.mean(eta), self.response_mean(eta, phi)
        return (whole / mu + mu) * mean - mean**2

    def _some(self, eta: Array, phi: Array) -> Array:
        """1 - P(0) of the untruncated law."""
        return -jnp.expm1(-jnp.exp(self._log_rate(self.link.log_mean(eta), phi)))

    def tails(self, eta: Array, phi: Array, weight: Array) -> TailFunction:
        """P(Y > y) over P(Y > 0), and (P(Y <= y) - P(0)) / P(Y > 0) where that is the smaller."""
        whole, some = super().tails(eta, phi, weight), self._some(eta, phi)

        def tails(y: Array) -> Tails:
            below, above = whole(jnp.maximum(y, 0.0))
            above = above / some
            below = jnp.where(above < 0.5, 1.0 - above, (below - (1.0 - some)) / some)
            return jnp.where(y < 1.0, 0.0, below), jnp.where(y < 1.0, 1.0, above)

        return tails

    def saturated(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        return AbstractFamily.saturated(self, y, eta, phi, weight)

    def initial_mean(self, y: Array, weight: Array) -> Array:
        """mu with E(y | y > 0) near y: the first step of mu = y (1 - exp(-mu)), from mu = y."""
        del weight
        return -y * jnp.expm1(-y)


def excess(y: Array, mu: Array, multiplier: Array) -> Array:
    """Sum of an estimate of Var(y) - mu for the untruncated law.

    E y (y - 1) = (1 - P(0)) E(y (y - 1) | y > 0), with a Poisson law's P(0) = exp(-mu).
    """
    return jnp.sum(multiplier * (-y * (y - 1.0) * jnp.expm1(-mu) - mu * mu))
