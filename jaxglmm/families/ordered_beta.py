"""The ordered beta law: proportions with zeros and ones."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.families.base import BOUNDARY, INTERIOR, UNBOUNDED, AbstractFamily
from jaxglmm.families.beta import Beta, log_beta_kernel
from jaxglmm.families.search import peak
from jaxglmm.families.support import TailFunction, with_ends
from jaxglmm.families.thresholds import in_order
from jaxglmm.links.base import AbstractLink
from jaxglmm.links.unit import Logit

_FAR = 20.0  # beyond the cutpoints no response inside is at its most likely
_NEVER = 1e-6  # a cutoff this near 0 or 1: zeros or ones do not occur


@dataclasses.dataclass(frozen=True)
class OrderedBeta(AbstractFamily):
    """Zero, one, or between them Beta(mu phi, (1 - mu) phi), by two cutpoints c_1 < c_2 of eta.

    P(0) = 1 - F(eta - c_1), P(1) = F(eta - c_2) with F the link's inverse, mu = F(eta), and
    phi = (log phi, c_1, log(c_2 - c_1)). The cutoffs F(c_1) and F(c_2) are reported, as by glmmTMB.
    Kubinec (2022), Political Analysis 31:519-536, eq. (4) and (5).

    separate: phi = (log phi, c_1, c_2), so that one cutoff can be held (see `by_parameter`).
    """

    link: AbstractLink = Logit()
    separate: bool = False

    name = "ordered_beta"
    support = "unit_closed"
    weight_role = "multiplier"
    dispersed = True
    elementwise = True
    phi_names = ("phi", "lower_cutoff", "upper_cutoff")
    at_limit = (
        "a cutoff is at 0 or 1, as there are no zeros or no ones: 'beta' with "
        "zero_inflation='~ 1', or 'beta' alone, may do."
    )

    def natural(self, phi: Array) -> Array:
        cutoffs = self.link.mean(jnp.stack(self._cutpoints(phi)))
        return jnp.concatenate([jnp.exp(phi[:1]), cutoffs])

    def coordinate(self, number: int, value: float) -> tuple[int, float] | None:
        """The precision, and where they are separate the cutoffs."""
        if number == 0:
            return 0, math.log(value)
        return (number, self._cutpoint(value)) if self.separate else None

    @property
    def by_parameter(self) -> OrderedBeta:
        return dataclasses.replace(self, separate=True)

    def beside(self, held: np.ndarray, phi: Array) -> Array:
        if not self.separate:
            return phi
        return jnp.concatenate([phi[:1], in_order(held[1:], phi[1:])])

    def _cutpoint(self, cutoff: float) -> float:
        if not 0.0 < cutoff < 1.0:
            raise ValueError("Cutoffs are between 0 and 1.")
        with jax.enable_x64(True):
            return float(self.link.predictor(jnp.asarray(cutoff)))

    def _cutpoints(self, phi: Array) -> tuple[Array, Array]:
        return phi[1], phi[2] if self.separate else phi[1] + jnp.exp(phi[2])

    def _width(self, phi: Array) -> Array:
        return phi[2] - phi[1] if self.separate else jnp.exp(phi[2])

    def phi_of(self, values: Sequence[float]) -> np.ndarray:
        precision, *cutoffs = values
        low, high = map(self._cutpoint, cutoffs)
        if not low < high:
            raise ValueError("Cutoffs ascend.")
        return np.array([math.log(precision), low, high if self.separate else math.log(high - low)])

    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        low, high = self._cutpoints(phi)
        inside = _inside(y)
        log_mu, log1m_mu = self.link.log_means(eta)
        beta = log_beta_kernel(inside, phi[0] + log_mu, phi[0] + log1m_mu, jnp.exp(phi[0]))
        ends = self.link.log_tail(eta - jnp.where(y == 0.0, low, high), y == 0.0)
        within = self.link.log_between(eta - high, self._width(phi))
        found = jnp.where(y == inside, within + beta, ends)
        if not self.separate:
            return found
        return jnp.where(high > low, found, jnp.nan)  # without a response inside none would tell

    def log_base(self, y: Array, weight: Array) -> Array:
        del weight
        inside = _inside(y)
        return jnp.where(y == inside, -jnp.log(inside) - jnp.log1p(-inside), 0.0)

    def response_mean(self, eta: Array, phi: Array) -> Array:
        _, within, one = self._shares(eta, phi)
        return one + within * self.link.mean(eta)

    def response_variance(self, eta: Array, phi: Array, weight: Array) -> Array:
        del weight
        zero, within, one = self._shares(eta, phi)
        mu = self.link.mean(eta)
        mean = one + within * mu
        square = one + within * (mu * mu + mu * (1.0 - mu) / (1.0 + jnp.exp(phi[0])))
        return square - mean * mean

    def _shares(self, eta: Array, phi: Array) -> tuple[Array, Array, Array]:
        """P(0), P(0 < y < 1), P(1)."""
        low, high = self._cutpoints(phi)
        one, zero = self.link.mean(eta - high), jnp.exp(self.link.log1m_mean(eta - low))
        return zero, jnp.exp(self.link.log_between(eta - high, self._width(phi))), one

    def _beta(self) -> Beta:
        return Beta(self.link)

    def tails(self, eta: Array, phi: Array, weight: Array) -> TailFunction:
        zero, within, one = self._shares(eta, phi)
        inside = self._beta().tails(eta, phi[:1], weight)
        return with_ends(inside, zero, within, one)

    def sample(self, key: Array, eta: Array, phi: Array, weight: Array) -> Array:
        keys = jax.random.split(key)
        zero, _, one = self._shares(eta, phi)
        u = jax.random.uniform(keys[0], eta.shape, eta.dtype)
        inside = self._beta().sample(keys[1], eta, phi[:1], weight)
        return jnp.where(u < zero, 0.0, jnp.where(u >= 1.0 - one, 1.0, inside))

    def saturated(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        """Zero at the ends, which a predictor may make certain."""
        y = jnp.broadcast_to(y, jnp.broadcast_shapes(jnp.shape(y), jnp.shape(eta)))
        inside = _inside(y)
        low, high = self._cutpoints(phi)
        first, last = jnp.minimum(low, 0.0) - _FAR, jnp.maximum(high, 0.0) + _FAR
        at = peak(lambda e: self.log_prob(inside, e, phi, weight), first + 0.0 * y, last + 0.0 * y)
        return jnp.where(y == inside, at[1], 0.0)

    def initial_mean(self, y: Array, weight: Array) -> Array:
        del weight
        return jnp.clip(y, 0.02, 0.98)

    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        """Precision by moments inside; cutpoints by the shares of zeros and ones."""
        del weight
        inside = _inside(y)
        used = multiplier * (y == inside)
        spread = jnp.sum(used * (y - mu) ** 2)
        precision = jnp.sum(used * mu * (1.0 - mu)) / spread - 1.0
        precision = jnp.where(jnp.sum(used) > 0, precision, 1.0)  # no response inside tells it
        total = jnp.sum(multiplier)
        middle = jnp.sum(multiplier * self.link.predictor(mu)) / total
        zeros, ones = jnp.sum(multiplier * (y == 0.0)), jnp.sum(multiplier * (y == 1.0))
        # Half a response at each end and one between.
        low = middle - self.link.predictor(1.0 - (zeros + 0.5) / (total + 2.0))
        high = middle - self.link.predictor((ones + 0.5) / (total + 2.0))
        start = jnp.stack([jnp.clip(precision, 0.5, 1e6), high - low])
        last = high if self.separate else jnp.log(start[1])
        return jnp.stack([jnp.log(start[0]), low, last])

    def limit(self, phi: Array, start: Array) -> Array:
        """A cutoff at 0 or 1 (zeros or ones do not occur); a precision of 1e12 is a perfect fit."""
        del start
        low, high = self._cutpoints(phi)
        ends = jnp.minimum(self.link.mean(low), jnp.exp(self.link.log1m_mean(high)))
        bound = jnp.where(ends < _NEVER, BOUNDARY, INTERIOR)
        return jnp.where(phi[0] > jnp.log(1e12), UNBOUNDED, bound)


def _inside(y: Array) -> Array:
    """y, and 1/2 in place of 0 and 1."""
    return jnp.where((y > 0.0) & (y < 1.0), y, 0.5)
