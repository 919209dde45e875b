"""What a covariance structure is: the map from theta to the factor of one random-effects term."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.arrays import AnyArray

Constants = tuple[AnyArray, ...]

_SMALL = 1e-4  # a standard deviation that is nothing beside the error of a level's own estimate
_CLOSE = 1e-8  # distance of a correlation from its bound that counts as none


class Parameter(NamedTuple):
    """What a natural parameter is: its kind and the columns it belongs to.

    Attributes:
        kind: "sd", "corr", "range" or "shape".
        i: column; the first of all where they share the parameter.
        j: the other column of a correlation, j < i; None for other kinds.
    """

    kind: str
    i: int
    j: int | None = None


class Coordinate(NamedTuple):
    """A natural parameter that is a function of one entry of theta alone.

    Attributes:
        place: number of the entry.
        value: of the entry, where the natural parameter has the value asked for.
    """

    place: int
    value: float


class Representative(NamedTuple):
    """The member of a class of equal covariances that is reported.

    Attributes:
        theta: its parameters; shape (num_theta,).
        signs: +1 or -1 for each column of L: what its columns are multiplied by; shape (rank,).
        slope: diagonal of the Jacobian, +1 or -1 each: of its parameters in the others.
    """

    theta: Array
    signs: Array
    slope: Array


@dataclasses.dataclass(frozen=True)
class AbstractCovariance(abc.ABC):
    """Cov(b) = L(theta) L(theta)' for the `dim` columns of a term, on the scale of eta.

    theta is unconstrained, and L is smooth in it beyond the point where a variance is zero or a
    correlation at its bound: these are interior points of the parameter space. Several theta then
    have the same covariance; `rectify` leads to the one that is reported. `constants` are arrays
    that the structure is given and does not estimate; none for most.
    """

    dim: int

    name: ClassVar[str]

    homogeneous: ClassVar[bool] = False
    """L(s theta) = s L(theta): theta is relative to whatever L is relative to."""

    linear: ClassVar[bool] = False
    """The matrices L L' are those of a linear space that are positive semidefinite."""

    roots: ClassVar[bool] = False
    """theta begins with the roots of the standard deviations, one for each column."""

    scales_only: ClassVar[bool] = False
    """Correlations are given or follow a process: only a deviation of zero makes L singular."""

    @property
    def rank(self) -> int:
        """Number of columns of L: of spherical random effects in a level."""
        return self.dim

    @property
    def triangular(self) -> bool:
        """L is zero above its diagonal, which small matrices make use of."""
        return True

    @property
    @abc.abstractmethod
    def num_theta(self) -> int:
        """Length of theta."""

    @property
    @abc.abstractmethod
    def parameters(self) -> tuple[Parameter, ...]:
        """What `natural` returns: standard deviations, correlations, ranges, shapes."""

    @property
    def lowest_correlation(self) -> float:
        """The lower bound of the correlations."""
        return -1.0

    @abc.abstractmethod
    def factor(self, theta: Array, constants: Constants) -> Array:
        """L(theta); shape (dim, rank)."""

    @abc.abstractmethod
    def natural(self, theta: Array, constants: Constants) -> Array:
        """The values of `parameters`; NaN, or not differentiable, at a variance of zero."""

    @abc.abstractmethod
    def start(self, sd: Array, constants: Constants) -> Array:
        """theta to start from where columns seem to have these deviations, shape (dim,)."""

    starts_from_correlations: ClassVar[bool] = False
    """`start_correlated` makes use of correlations, which are then estimated from moments."""

    def start_correlated(self, sd: Array, correlations: Array, constants: Constants) -> Array:
        """`start` where columns seem to have these correlations too, a (dim, dim) matrix."""
        del correlations
        return self.start(sd, constants)

    @abc.abstractmethod
    def rectify(self, theta: Array) -> Representative:
        """The reported theta of the same covariance."""

    def coordinate(self, number: int, value: float) -> Coordinate | None:
        """The entry of theta that alone decides on a parameter, and where that has a value.

        Args:
            number: of the parameter among `parameters`.
            value: inside its bounds or at one.

        Returns:
            None where the parameter is a function of several entries.
        """
        del number, value

    def theta_of(self, values: Sequence[float]) -> np.ndarray | None:
        """The reported theta whose `natural` has these values.

        Args:
            values: of `parameters`, inside their bounds; a deviation may be zero.

        Returns:
            Shape (num_theta,); None where the structure has no such map.

        Raises:
            ValueError: no covariance matrix has these values.
        """
        theta = np.zeros(self.num_theta)
        for number, value in enumerate(values):
            found = self.coordinate(number, value)
            if found is None:
                return None
            theta[found.place] = found.value
        return theta

    @property
    def by_parameter(self) -> AbstractCovariance:
        """The same covariances by a theta of which more parameters have an entry each, if any."""
        return self

    def covariance(self, theta: Array, constants: Constants) -> Array:
        """L L'; shape (dim, dim)."""
        factor = self.factor(theta, constants)
        return factor @ factor.T

    def unit(self, constants: Constants, scale: Array) -> Array:
        """`scale` of `at_bound` for each standard deviation among `parameters`."""
        del constants
        shared = sum(p.kind == "sd" for p in self.parameters) < self.dim
        return jnp.max(scale, keepdims=True) if shared else scale

    def others_at_bound(self, theta: Array, constants: Constants) -> Array:
        """`at_bound` of ranges and shapes."""
        del constants
        return jnp.zeros((0,), bool)

    def at_bound(self, theta: Array, constants: Constants, scale: Array) -> Array:
        """Which of `parameters` are at a bound: zero deviations, correlations of one in size, ...

        Args:
            theta: shape (num_theta,).
            constants: the structure's.
            scale: by column, the inverse of the standard error of one level's own estimate, which
                says what is nothing for a deviation; shape (dim,).
        """
        values, unit = self.natural(theta, constants), self.unit(constants, scale)
        kinds = [p.kind for p in self.parameters]
        num_sd, num_corr = kinds.count("sd"), kinds.count("corr")
        sd, corr = values[:num_sd], values[num_sd : num_sd + num_corr]
        close = max(_CLOSE, 4.0 * float(jnp.finfo(values.dtype).eps))
        bound = (corr > 1.0 - close) | (corr < self.lowest_correlation + close)
        others = self.others_at_bound(theta, constants)
        return jnp.concatenate([sd * unit < _SMALL, bound, others])

    def is_singular(self, theta: Array, constants: Constants, scale: Array) -> Array:
        """Whether a parameter is at its bound or some combination of the columns of L is nothing.

        Arguments as in `at_bound`.
        """
        bound = jnp.any(self.at_bound(theta, constants, scale))
        if self.scales_only:
            return bound
        factor = scale[:, None] * self.factor(theta, constants)
        if self.rank == 1:
            return bound | (jnp.sqrt(jnp.sum(factor**2)) < _SMALL)
        return bound | (jnp.linalg.svd(factor, compute_uv=False)[-1] < _SMALL)


def standard_deviations(dim: int) -> tuple[Parameter, ...]:
    """One of each column."""
    return tuple(Parameter("sd", i) for i in range(dim))


def pairs(dim: int) -> tuple[Parameter, ...]:
    """The correlations (1, 0), (2, 0), (2, 1), ..."""
    return tuple(Parameter("corr", i, j) for i in range(dim) for j in range(i))


def natural_of_factor(factor: Array, parameters: tuple[Parameter, ...]) -> Array:
    """Standard deviations of all columns, then those correlations of L L' that are listed."""
    sd = jnp.sqrt(jnp.sum(factor**2, axis=1))
    listed = [(p.i, p.j) for p in parameters if p.j is not None]
    if not listed:
        return sd
    rows = factor / sd[:, None]
    i, j = np.array(listed).T
    return jnp.concatenate([sd, (rows @ rows.T)[i, j]])


def cholesky_of_natural(
    parameters: tuple[Parameter, ...], values: Sequence[float], order: np.ndarray | None = None
) -> np.ndarray:
    """The lower Cholesky factor of a covariance, its columns in `order` if that is given.

    Args:
        parameters: standard deviations of all columns, then correlations; others are zero.
        values: theirs; ValueError where the correlations are not positive definite.
        order: number of the column that comes first, second, ...
    """
    dim = sum(parameter.kind == "sd" for parameter in parameters)
    R, sd = np.eye(dim), np.asarray(values[:dim], float)
    for parameter, value in zip(parameters[dim:], values[dim:], strict=True):
        R[parameter.i, parameter.j] = R[parameter.j, parameter.i] = value
    order = np.arange(dim) if order is None else order
    return sd[order, None] * np.linalg.cholesky(R[np.ix_(order, order)])


def signs_of(values: Array) -> Array:
    """+1 or -1, and +1 for zero."""
    return jnp.where(values < 0, -1.0, 1.0).astype(values.dtype)


def root_mean_square(values: Array) -> Array:
    """A scalar."""
    return jnp.sqrt(jnp.mean(values**2))
