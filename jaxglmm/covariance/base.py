"""What a covariance structure is: the map from theta to the factor of one random-effects term."""

from __future__ import annotations

import abc
import dataclasses
from typing import ClassVar

import jax.numpy as jnp
from jax import Array


@dataclasses.dataclass(frozen=True)
class AbstractCovariance(abc.ABC):
    """Cov(b) = L(theta) L(theta)' for the `dim` columns of a term, on the scale of eta.

    theta is unconstrained and signed: the raw entries of the lower-triangular L, so that a zero
    variance is an interior point of the parameter space. The likelihood is even in the sign of a
    column of L; `signs` and `spread` lead to the representative with a non-negative diagonal.
    """

    dim: int

    name: ClassVar[str]
    has_correlations: ClassVar[bool]

    @property
    @abc.abstractmethod
    def num_theta(self) -> int:
        """Length of theta."""

    @abc.abstractmethod
    def factor(self, theta: Array) -> Array:
        """L(theta), lower triangular; shape (dim, dim)."""

    @abc.abstractmethod
    def start(self, sd: Array) -> Array:
        """theta of a diagonal covariance with these standard deviations, shape (dim,)."""

    @abc.abstractmethod
    def signs(self, theta: Array) -> Array:
        """+1 or -1 for each column of L: its sign in the representative with diag(L) >= 0."""

    @abc.abstractmethod
    def spread(self, signs: Array) -> Array:
        """The factor that changing the signs of the columns puts on each entry of theta."""

    def covariance(self, theta: Array) -> Array:
        """L L'; shape (dim, dim)."""
        factor = self.factor(theta)
        return factor @ factor.T

    def sd(self, theta: Array) -> Array:
        """Standard deviations; shape (dim,)."""
        return jnp.sqrt(jnp.sum(self.factor(theta) ** 2, axis=1))

    def correlations(self, theta: Array) -> Array:
        """Correlations of the pairs (1, 0), (2, 0), (2, 1), ...; shape (dim (dim - 1) / 2,)."""
        rows = self.factor(theta)
        rows = rows / jnp.sqrt(jnp.sum(rows**2, axis=1, keepdims=True))
        gram = rows @ rows.T
        low = jnp.tril_indices(self.dim, -1)
        return gram[low]
