"""Prior densities of parameters: penalties of the log-likelihood, for maxima a posteriori.

A prior is a frozen pytree with a pure `log_density` of the parameter on the scale that users read
(a coefficient, a standard deviation, a correlation, a dispersion), without the Jacobian of another
scale: what is maximised is log-likelihood plus log-density, as in blme (and as glmmTMB's gamma; its
other densities are of the logarithm of a standard deviation). Any function of one array, returning
log-densities, serves as well (`Custom`).
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln

from jaxglmm.arrays import AnyArray
from jaxglmm.errors import InputError


class AbstractPrior(abc.ABC):
    """A density; hyperparameters are data, that programs need no compilation for."""

    positive: ClassVar[bool] = False
    """Of positive parameters alone."""

    joint: ClassVar[bool] = False
    """Of all correlations of a term together."""

    @abc.abstractmethod
    def log_density(self, x: Array) -> Array:
        """Of each entry, or of all together if the density is a joint one."""


def _check(prior: AbstractPrior, **positive: Any) -> None:
    for name, value in positive.items():
        if isinstance(value, (int, float)) and not 0 < value < math.inf:
            raise InputError(
                f"priors.{type(prior).__name__}({name}={value}): expected a positive number."
            )


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Normal(AbstractPrior):
    """N(mean, sd^2); on a standard deviation the half-normal law but for a constant."""

    mean: AnyArray | float = 0.0
    sd: AnyArray | float = 1.0

    def __post_init__(self) -> None:
        _check(self, sd=self.sd)

    def log_density(self, x: Array) -> Array:
        z = (x - self.mean) / self.sd
        return -0.5 * z * z - jnp.log(self.sd) - 0.5 * math.log(2 * math.pi)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class StudentT(AbstractPrior):
    """t law about `mean` with this scale; df = 1 is Cauchy's (Gelman et al. 2008 for coefficients:
    mean 0, scale 2.5)."""

    df: AnyArray | float = 1.0
    mean: AnyArray | float = 0.0
    scale: AnyArray | float = 1.0

    def __post_init__(self) -> None:
        _check(self, df=self.df, scale=self.scale)

    def log_density(self, x: Array) -> Array:
        z, half = (x - self.mean) / self.scale, 0.5 * (self.df + 1.0)
        constant = gammaln(half) - gammaln(0.5 * self.df) - 0.5 * jnp.log(math.pi * self.df)
        return constant - jnp.log(self.scale) - half * jnp.log1p(z * z / self.df)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Gamma(AbstractPrior):
    """Density proportional to x^(shape - 1) exp(-rate x), x > 0.

    A shape above one keeps standard deviations off zero; shape 2.5 and rate 0, which leaves the
    density without a constant, is blme's default for them (Chung et al. 2013, Psychometrika
    78:685-709).
    """

    shape: AnyArray | float = 2.5
    rate: AnyArray | float = 0.0

    positive = True

    def __post_init__(self) -> None:
        _check(self, shape=self.shape)
        if isinstance(self.rate, (int, float)) and not 0 <= self.rate < math.inf:
            raise InputError(f"priors.Gamma(rate={self.rate}): expected a number from 0 on.")

    def log_density(self, x: Array) -> Array:
        proper = jnp.asarray(self.rate) > 0
        log_rate = jnp.log(jnp.where(proper, self.rate, 1.0))
        constant = jnp.where(proper, self.shape * log_rate - gammaln(self.shape), 0.0)
        return constant + (self.shape - 1.0) * jnp.log(x) - self.rate * x


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class LKJ(AbstractPrior):
    """det(R)^(eta - 1) of a correlation matrix R (Lewandowski, Kurowicka & Joe 2009, eq. 16).

    eta = 1 is uniform, larger ones draw correlations to zero. x is the pairs (1, 0), (2, 0),
    (2, 1), ... of R.
    """

    eta: AnyArray | float = 2.0

    joint = True

    def __post_init__(self) -> None:
        _check(self, eta=self.eta)

    def log_density(self, x: Array) -> Array:
        dim = round(0.5 * (1.0 + math.sqrt(1.0 + 8.0 * x.shape[0])))
        i, j = np.tril_indices(dim, -1)
        R = jnp.eye(dim, dtype=x.dtype).at[i, j].set(x).at[j, i].set(x)
        constant = jnp.zeros((), x.dtype)
        for k in range(1, dim):
            a = self.eta + 0.5 * (k - 1)
            log_beta = 2.0 * gammaln(a) - gammaln(2.0 * a)
            constant += k * ((2.0 * self.eta - 2.0 + k) * math.log(2.0) + log_beta)
        return (self.eta - 1.0) * jnp.linalg.slogdet(R)[1] - constant


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Custom(AbstractPrior):
    """A function of an array of parameters that returns their log-densities, written in JAX."""

    function: Callable[[Array], Array] = dataclasses.field(metadata={"static": True})

    def log_density(self, x: Array) -> Array:
        return self.function(x)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Penalty:
    """A density of some entries of a vector of parameters."""

    density: AbstractPrior
    places: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    def log_density(self, vector: Array) -> Array:
        """A scalar."""
        return jnp.sum(self.density.log_density(vector[np.asarray(self.places)]))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Prior:
    """Of all parameters of a model, independent of one another but for joint densities.

    Attributes:
        on_beta: of fixed effects, as the caller knows them: origin + matrix beta.
        on_natural: of the natural parameters of the covariance structures, one term after another,
            and of the law (`params.natural_values`).
        matrix: shape (caller's fixed effects, fixed); the identity unless the problem was moved.
        origin: shape (caller's fixed effects,).
    """

    on_beta: tuple[Penalty, ...]
    on_natural: tuple[Penalty, ...]
    matrix: AnyArray
    origin: AnyArray

    def through(self, matrix: AnyArray, origin: AnyArray) -> Prior:
        """The prior of other fixed effects gamma, beta = origin + matrix gamma."""
        moved = self.origin + self.matrix @ origin
        return dataclasses.replace(self, matrix=self.matrix @ matrix, origin=moved)

    def log_density(self, beta: Array, natural: Array) -> Array:
        """A scalar."""
        total = jnp.zeros((), natural.dtype)
        if self.on_beta:
            coefficients = self.origin + self.matrix @ beta
            total += sum(penalty.log_density(coefficients) for penalty in self.on_beta)
        return total + sum(penalty.log_density(natural) for penalty in self.on_natural)
