"""What a law is: one scalar log-density of a response given its linear predictor."""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar, Literal

import jax.numpy as jnp
from jax import Array

from jaxglmm.links.base import AbstractLink

Support = Literal["real", "positive", "count", "binomial", "unit_open"]
WeightRole = Literal["dispersion", "trials", "multiplier"]

INTERIOR, BOUNDARY, UNBOUNDED = 0, 1, 2
"""Codes of `AbstractFamily.limit`."""


@dataclasses.dataclass(frozen=True)
class AbstractFamily(abc.ABC):
    """A law p(y | eta, phi, weight), written in eta through its link.

    `log_kernel`, `log_base` and `variance` are JAX functions of scalars; the engine vmaps them and
    derives every derivative in eta and phi by autodiff. The `initial_*` methods see whole arrays
    of responses. `phi` holds the law's own parameters, unconstrained,
    shape (num_phi,); `natural` maps them to the scale that users read.

    A law written with elementwise operations alone may say `elementwise = True`: the engine then
    calls it with arrays for y, eta and weight (phi stays one vector), which is quicker to trace.

    `weight` is the known constant of the law, by `weight_role`:
    "dispersion"  the prior weight that divides the dispersion;
    "trials"      the number of trials, y being the number of successes;
    "multiplier"  unused (1): prior weights multiply the log-density outside the law.
    """

    link: AbstractLink

    name: ClassVar[str]
    support: ClassVar[Support]
    weight_role: ClassVar[WeightRole]
    phi_names: ClassVar[tuple[str, ...]] = ()
    num_predictors: ClassVar[int] = 1
    elementwise: ClassVar[bool] = False

    @property
    def least_squares(self) -> bool:
        """log_kernel is -weight (y - eta)^2 exp(-2 phi) / 2 - phi, with a single phi."""
        return False

    @property
    def known(self) -> dict[str, float]:
        """Parameters of the law's own that are not estimated, by name."""
        return {}

    @property
    def shifts(self) -> bool:
        """Whether y and eta enter log p by their difference alone."""
        return False

    @property
    def num_phi(self) -> int:
        """Number of parameters of the law's own."""
        return len(self.phi_names)

    @abc.abstractmethod
    def log_kernel(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        """The part of log p that depends on eta or phi."""

    @abc.abstractmethod
    def log_base(self, y: Array, weight: Array) -> Array:
        """The rest of log p: a constant of the data, kept out of every loop."""

    def log_prob(self, y: Array, eta: Array, phi: Array, weight: Array) -> Array:
        """log p(y | eta, phi, weight), fully normalised."""
        return self.log_kernel(y, eta, phi, weight) + self.log_base(y, weight)

    @abc.abstractmethod
    def variance(self, mu: Array, phi: Array, weight: Array) -> Array:
        """Var(y | mu) on the scale of y."""

    def natural(self, phi: Array) -> Array:
        """The law's parameters on their natural scale, in the order of `phi_names`."""
        return jnp.exp(phi)

    @abc.abstractmethod
    def initial_mean(self, y: Array, weight: Array) -> Array:
        """A mean near y, inside the law's range: where fitting starts."""

    @abc.abstractmethod
    def initial_phi(self, y: Array, mu: Array, weight: Array, multiplier: Array) -> Array:
        """Moment estimate of phi from arrays of responses and means; shape (num_phi,)."""

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
