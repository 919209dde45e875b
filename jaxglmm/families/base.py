"""What a law is: one scalar log-density of a response given its linear predictor."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.families.distribution import AbstractDistribution
from jaxglmm.links.base import AbstractLink

Support = Literal[
    "real",
    "positive",
    "nonnegative",
    "count",
    "positive_count",
    "binomial",
    "unit_open",
    "unit_closed",
    "unit_zero",
    "ordinal",
]
WeightRole = Literal["dispersion", "trials", "multiplier"]
Zeros = Literal["refused", "present", "absent", "own"]
Predictors = tuple[Array, ...]

INTERIOR, BOUNDARY, UNBOUNDED = 0, 1, 2
"""Codes of `AbstractFamily.limit`."""


@dataclasses.dataclass(frozen=True)
class AbstractFamily(AbstractDistribution):
    """A law p(y | eta, phi, weight), written in eta through its link.

    `log_kernel` and `log_base` are JAX functions of scalars; the engine vmaps them and
    derives every derivative in eta and phi by autodiff. The `initial_*` methods see whole arrays
    of responses. `phi` holds the law's own parameters, unconstrained,
    shape (num_phi,); `natural` maps them to the scale that users read.

    A law written with elementwise operations alone may say `elementwise = True`: the engine then
    calls it with arrays for y, eta and weight, which is quicker to trace, and with a tuple of
    scalars for phi: of the elements of one vector a derivative along one is one along all of them.

    `weight` is the known constant of the law, by `weight_role`:
    "dispersion"  the prior weight that divides the dispersion;
    "trials"      the number of trials, y being the number of successes;
    "multiplier"  unused (1): prior weights multiply the log-density outside the law.

    A law of several linear predictors says `num_predictors`; its eta is then a tuple. Further
    predictors for an existing law are `families.modelled`'s, which asks the law for

    A law of an exponential family, whose variance is phi V(mu) / weight with phi[0] the logarithm
    of phi (of its root, for the normal law) or phi one, says `exponential`: pseudo-likelihood fits
    it.

    `zeros`       "present": it has mass at zero, to which more may be added (zero inflation);
                  "absent": it has none, and zeros may have a probability of their own (hurdle);
                  "own": phi[1] is the logit of such a probability, for which a linear predictor
                  may stand; "refused": neither;
    `dispersed`   phi[0] is the logarithm of its first parameter, for which a linear predictor
                  may stand.
    """

    link: AbstractLink

    name: ClassVar[str]
    support: ClassVar[Support]
    weight_role: ClassVar[WeightRole]
    phi_names: ClassVar[tuple[str, ...]] = ()
    signed: ClassVar[tuple[str, ...]] = ()  # those among them that may be negative
    num_predictors: ClassVar[int] = 1
    num_nodes: ClassVar[int] = 1  # exponentials of the sum that a row's density takes
    elementwise: ClassVar[bool] = False
    zeros: ClassVar[Zeros] = "refused"
    dispersed: ClassVar[bool] = False
    exponential: ClassVar[bool] = False
    at_limit: ClassVar[str] = ""  # which simpler law BOUNDARY means, a sentence

    @property
    def least_squares(self) -> bool:
        """log_kernel is -weight (y - eta)^2 exp(-2 phi) / 2 - phi, with a single phi."""
        return False

    @property
    def known(self) -> dict[str, float]:
        """Parameters of the law's own that are not estimated, by name."""
        return {}

    @property
    def base(self) -> AbstractFamily:
        """The law without the predictors that `families.modelled` added: itself."""
        return self

    @property
    def components(self) -> tuple[str, ...]:
        """What each linear predictor is for: "cond" (the mean), "disp", "zi"."""
        return ("cond",) * self.num_predictors

    @property
    def shifts(self) -> bool:
        """Whether y and eta enter log p by their difference alone."""
        return False

    @property
    def num_phi(self) -> int:
        """Number of parameters of the law's own."""
        return len(self.phi_names)

    @property
    def num_thresholds(self) -> int:
        """Number of thresholds on the scale of eta among the law's own parameters.

        They take the place of an intercept: `natural` gives them first, before those of
        `phi_names`, and they are reported beside the fixed effects.
        """
        return 0

    def response_mean(self, eta: Any, phi: Array) -> Array:
        """E[y | eta] (of a proportion y / weight, where the weight is trials), elementwise; for an
        ordinal response P(y = k) of every category k, along a last axis. Of several predictors
        eta is a tuple."""
        del phi
        return self.link.mean(eta)

    @abc.abstractmethod
    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        """The part of log p that depends on eta or phi."""

    @abc.abstractmethod
    def log_base(self, y: Array, weight: Array) -> Array:
        """The rest of log p: a constant of the data, kept out of every loop."""

    def log_prob(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        """log p(y | eta, phi, weight), fully normalised."""
        return self.log_kernel(y, eta, phi, weight) + self.log_base(y, weight)

    def natural(self, phi: Array) -> Array:
        """The law's parameters on their natural scale: thresholds, then those of `phi_names`."""
        return jnp.exp(phi)

    def coordinate(self, number: int, value: float) -> tuple[int, float] | None:
        """The entry of phi that alone decides on a parameter, and where that has a value.

        Args:
            number: of the parameter in `natural`.
            value: inside its bounds.

        Returns:
            None where the parameter is a function of several entries.
        """
        return number, math.log(value)

    @property
    def by_parameter(self) -> AbstractFamily:
        """The same law by a phi of which more parameters have an entry each, if any."""
        return self

    def beside(self, held: np.ndarray, phi: Array) -> Array:
        """phi with entries moved to where the law is defined beside those that are held.

        Args:
            held: which entries stay what they are; shape (num_phi,), not traced.
            phi: near a maximum, but for these.
        """
        del held
        return phi

    def phi_of(self, values: Sequence[float]) -> np.ndarray:
        """phi where `natural` has these values; shape (num_phi,).

        Raises:
            ValueError, ZeroDivisionError: some are outside of the range of the law.
        """
        phi = np.zeros(self.num_phi)
        for number, value in enumerate(values):
            try:
                found = self.coordinate(number, value)
            except (ValueError, ZeroDivisionError):
                found = None
            if found is None or not math.isfinite(found[1]):
                name = self.phi_names[number - self.num_thresholds]
                raise ValueError(f"{name} is outside of its range")
            phi[found[0]] = found[1]
        return phi

    @abc.abstractmethod
    def initial_mean(self, y: Array, weight: Array) -> Array:
        """A mean near y, inside the law's range: where fitting starts."""

    @abc.abstractmethod
    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        """Moment estimate of phi from arrays of responses and means; shape (num_phi,)."""

    def initial_others(
        self, y: Array, mu: Array, weight: Array, multiplier: Array
    ) -> tuple[Array, ...]:
        """Constants near the linear predictors behind the first; scalars."""
        del mu, weight, multiplier
        return (jnp.zeros((), y.dtype),) * (self.num_predictors - 1)

    def free(self) -> AbstractFamily:
        """The same law with all its own parameters to be estimated: where a fit starts from."""
        return self

    def limit(self, phi: Array, start: Array) -> Array:
        """INTERIOR, BOUNDARY (a simpler law is reached) or UNBOUNDED (no maximum exists)."""
        del phi, start
        return jnp.asarray(INTERIOR)


def collapsed(phi: Array, start: Array) -> Array:
    """UNBOUNDED when a log-dispersion fell by more than 15 below that about a constant mean.

    The residual scale is then 3e-7 of the responses' own: the model fits the data exactly and
    its density has no maximum.
    """
    return jnp.where(phi[0] < start[0] - 15.0, UNBOUNDED, INTERIOR)


def within_reach(link: AbstractLink, y: Array) -> Array:
    """Responses of the whole real line, moved to where the link's means lie."""
    if link.range == "real":
        return y
    if link.range == "unit":
        return jnp.clip(y, 1e-2, 1.0 - 1e-2)
    return jnp.maximum(y, 1e-2 * jnp.mean(jnp.abs(y)))
