"""What a link is: the map from a linear predictor eta to a mean mu."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.special import log1m_exp

Range = Literal["real", "positive", "unit"]
RANGES: dict[Range, tuple[float, float]] = {
    "real": (-math.inf, math.inf),
    "positive": (0.0, math.inf),
    "unit": (0.0, 1.0),
}


class AbstractLink(abc.ABC):
    """A map mu = mean(eta), elementwise; all derivatives come from autodiff.

    `range` is the set of means the link can reach: the real line, (0, inf) or (0, 1). Links into
    (0, 1) give `log_mean` and `log1m_mean` without forming the probability, so that both tails
    stay finite; `log_binomial` is their combination, which a canonical link may shorten.
    `is_monotone` is false of a link whose mean is defined, or rises, for eta of one sign alone.
    """

    name: str
    range: Range
    is_monotone: ClassVar[bool] = True

    @abc.abstractmethod
    def mean(self, eta: Array) -> Array:
        """mu = g^-1(eta)."""

    @abc.abstractmethod
    def predictor(self, mu: Array) -> Array:
        """eta = g(mu); used for starting values only."""

    def log_mean(self, eta: Array) -> Array:
        """log mu."""
        return jnp.log(self.mean(eta))

    def log1m_mean(self, eta: Array) -> Array:
        """log(1 - mu)."""
        return jnp.log1p(-self.mean(eta))

    def log_means(self, eta: Array) -> tuple[Array, Array]:
        """log mu and log(1 - mu)."""
        return self.log_mean(eta), self.log1m_mean(eta)

    def log_tail(self, eta: Array, upper: Array) -> Array:
        """log(1 - mu) where `upper`, else log mu; of a symmetric link both are one function."""
        return jnp.where(upper, self.log1m_mean(eta), self.log_mean(eta))

    def log_binomial(self, y: Array, n: Array, eta: Array) -> Array:
        """y log(mu) + (n - y) log(1 - mu)."""
        return y * self.log_mean(eta) + (n - y) * self.log1m_mean(eta)

    def log_between(self, low: Array, width: Array) -> Array:
        """log(mean(low + width) - mean(low)) for width > 0, of an increasing link into (0, 1).

        The difference is taken in the tail where both are small.
        """
        high = low + width
        upper = self.log_mean(high) > self.log1m_mean(low)
        large = jnp.where(upper, self.log1m_mean(low), self.log_mean(high))
        small = jnp.where(upper, self.log1m_mean(high), self.log_mean(low))
        return large + log1m_exp(small - large)


@dataclasses.dataclass(frozen=True)
class Link(AbstractLink):
    """A user's link from its inverse alone: `Link(lambda eta: ..., range="unit")`.

    Args:
        inverse: elementwise JAX function eta -> mu, strictly monotone on `bracket`.
        range: "real", "positive" or "unit": where the means lie.
        name: what summaries print.
        bracket: interval of eta in which starting values are looked for.

    `predictor` inverts numerically by bisection: it only supplies starting values.
    """

    inverse: Callable[[Array], Array]
    range: Range = "real"
    name: str = "custom"
    bracket: tuple[float, float] = (-30.0, 30.0)

    def mean(self, eta: Array) -> Array:
        return self.inverse(eta)

    def predictor(self, mu: Array) -> Array:
        low = jnp.full_like(mu, self.bracket[0])
        high = jnp.full_like(mu, self.bracket[1])
        rising = self.inverse(high) > self.inverse(low)

        def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
            low, high = ends
            middle = 0.5 * (low + high)
            above = (self.inverse(middle) < mu) == rising
            return jnp.where(above, middle, low), jnp.where(above, high, middle)

        low, high = jax.lax.fori_loop(0, 60, halve, (low, high))
        return 0.5 * (low + high)
