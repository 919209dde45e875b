"""What follows from a law's density: moments, tails, quantiles, draws and deviances."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.families.generic import count_tails, count_variance, line_tails, line_variance
from jaxglmm.families.inversion import count_quantile, line_quantile
from jaxglmm.families.saturation import PLAIN, largest, predictor_of
from jaxglmm.families.support import TailFunction, line
from jaxglmm.links.base import AbstractLink, Range

_FIRST = {"count": 0.0, "positive_count": 1.0, "binomial": 0.0, "ordinal": 0.0}
_MEANS: dict[str, Range] = {"real": "real", "binomial": "unit"}  # else "positive"


class AbstractDistribution(abc.ABC):
    """Functions of a response beside its density, elementwise over broadcast arrays.

    In all of them eta is an array (a tuple of them for a law of several linear predictors), phi has
    shape (num_phi,) and weight is what it is in the density. They are meant for simulation and for
    residuals, not to be differentiated, and run under jit and vmap.

    A law needs none of its own: those here work from `log_prob` by sums, an integral and inversion,
    for a law that has one peak. Closed forms take their place where there are any.
    """

    link: AbstractLink
    support: ClassVar[str]
    elementwise: ClassVar[bool]
    peaks_at_mean: ClassVar[bool] = False

    @property
    @abc.abstractmethod
    def num_thresholds(self) -> int:
        """Number of thresholds, one less than the categories of an ordinal response."""

    @abc.abstractmethod
    def log_prob(self, y: Array, eta: Any, phi: Array, weight: Array) -> Array:
        """log p(y | eta, phi, weight), fully normalised."""

    @abc.abstractmethod
    def response_mean(self, eta: Any, phi: Array) -> Array:
        """E[y | eta] (of a proportion y / weight, where the weight is trials)."""

    def response_variance(self, eta: Any, phi: Array, weight: Array) -> Array:
        """Var(y | eta), of what `response_mean` is the mean of."""
        log_p, like, weight = self._log_prob_of_y(eta, phi, weight)
        if self.support not in _FIRST:
            return line_variance(log_p, line(self.support, like.dtype), like)
        variance = count_variance(log_p, *self._counts(like, weight))
        return variance / weight**2 if self.support == "binomial" else variance

    def tails(self, eta: Any, phi: Array, weight: Array) -> TailFunction:
        """The function y -> P(Y <= y), P(Y > y); what does not depend on y is computed once.

        y is a number of successes where the weight is trials. Both have the precision of the law's
        density, relative to themselves in closed forms and to one in sums and integrals.
        """
        log_p, like, weight = self._log_prob_of_y(eta, phi, weight)
        if self.support in _FIRST:
            return count_tails(log_p, *self._counts(like, weight))
        return line_tails(log_p, line(self.support, like.dtype), like)

    def cdf(self, y: Array, eta: Any, phi: Array, weight: Array) -> Array:
        """P(Y <= y)."""
        return self.tails(eta, phi, weight)(y)[0]

    def quantile(self, p: Array, eta: Any, phi: Array, weight: Array) -> Array:
        """The least y of the support with P(Y <= y) >= p; NaN for p outside [0, 1]."""
        p = jnp.broadcast_to(p, jnp.broadcast_shapes(jnp.shape(p), _like(eta, weight).shape))
        tails = self.tails(eta, phi, weight)
        if self.support in _FIRST:
            return count_quantile(tails, p, *self._counts(p, weight))
        return line_quantile(tails, p, self.support)

    def sample(self, key: Array, eta: Any, phi: Array, weight: Array) -> Array:
        """One response for every row, from a JAX key."""
        like = _like(eta, weight)
        least = jnp.finfo(like.dtype).tiny  # a quantile of zero may be infinite
        p = jax.random.uniform(key, like.shape, like.dtype, minval=least)
        return self.quantile(p, eta, phi, weight)

    def saturated(self, y: Array, eta: Any, phi: Array, weight: Array) -> Array:
        """log p(y) at the saturated mean: its largest value over the means, of any link.

        A law that `peaks_at_mean` has it where the mean is y (a response at the end of the means is
        then certain), any other where the derivative in the mean vanishes (as Ferrari &
        Cribari-Neto 2004 for the beta law) or at the end of the means.
        """
        y = jnp.broadcast_to(y, jnp.broadcast_shapes(jnp.shape(y), _like(eta, weight).shape))
        means = _MEANS.get(self.support, "positive") if self.peaks_at_mean else self.link.range
        law = self._with_plain_link(means)

        def log_p(at: Array) -> Array:
            return law._log_prob_of_y(at, phi, weight)[0](y)

        mean = y / weight if self.support == "binomial" else y
        if not self.peaks_at_mean:
            return largest(log_p, mean, means)
        certain = (y == 0.0) & (self.support != "real")
        certain = certain | ((y == weight) & (self.support == "binomial"))
        return jnp.where(certain, 0.0, log_p(predictor_of(mean, means)))

    def deviance(self, y: Array, eta: Any, phi: Array, weight: Array) -> Array:
        """2 (log p at the saturated mean - log p), the row's part of the deviance; never negative.

        Where the law has a dispersion this is R's unit deviance (`dev.resids` of a family) divided
        by it: by sigma^2 for gaussian and by phi for gamma, inverse_gaussian and tweedie.
        """
        log_p = self._log_prob_of_y(eta, phi, weight)[0]
        return jnp.maximum(2.0 * (self.saturated(y, eta, phi, weight) - log_p(y)), 0.0)

    def deviance_residual(self, y: Array, eta: Any, phi: Array, weight: Array) -> Array:
        """The root of the deviance, with the sign of y less its mean."""
        apart = y - self._centre(eta, phi, weight)
        return jnp.sign(apart) * jnp.sqrt(self.deviance(y, eta, phi, weight))

    def _with_plain_link(self, means: Range) -> Any:
        return dataclasses.replace(self, link=PLAIN[means])  # type: ignore[type-var]

    def _centre(self, eta: Any, phi: Array, weight: Array) -> Array:
        """The mean of y itself."""
        mean = self.response_mean(eta, phi)
        return weight * mean if self.support == "binomial" else mean

    def _counts(self, like: Array, weight: Array) -> tuple[Array, Array | None]:
        """The first and the last count of the support."""
        first = jnp.full_like(like, _FIRST[self.support])
        last = {"binomial": weight, "ordinal": self.num_thresholds}.get(self.support)
        return first, None if last is None else jnp.full_like(like, last)

    def _log_prob_of_y(
        self, eta: Any, phi: Array, weight: Array
    ) -> tuple[Callable[[Array], Array], Array, Array]:
        """log p as a function of y, an array of the rows' shape, and the weight in that shape."""
        like = _like(eta, weight)
        weight = jnp.broadcast_to(weight, like.shape).astype(like.dtype)
        if self.elementwise:
            return lambda y: self.log_prob(y, eta, phi, weight), like, weight
        several = isinstance(eta, tuple)
        predictors = eta if several else (eta,)

        def row(y: Array, weight: Array, phi: Array, *at: Array) -> Array:
            return self.log_prob(y, at if several else at[0], phi, weight)

        rows = jnp.vectorize(row, signature=f"(),(),(k){',()' * len(predictors)}->()")
        own = jnp.moveaxis(phi, 0, -1)
        return lambda y: rows(y, weight, own, *predictors), like, weight


def _like(eta: Any, weight: Array) -> Array:
    """An array of the rows' shape and dtype."""
    arrays = [jnp.asarray(v) for v in (eta if isinstance(eta, tuple) else (eta,))]
    shape = jnp.broadcast_shapes(*(v.shape for v in arrays), jnp.shape(weight))
    return jnp.broadcast_to(arrays[0], shape)
