"""Toeplitz correlations: a variance for each column, a correlation for each lag."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.covariance.angles import fold
from jaxglmm.covariance.base import (
    AbstractCovariance,
    Constants,
    Coordinate,
    Parameter,
    Representative,
    signs_of,
    standard_deviations,
)
from jaxglmm.covariance.cs import START


@dataclasses.dataclass(frozen=True)
class Toeplitz(AbstractCovariance):
    """L = diag(theta_i^2) T(x): theta is the roots of the deviations and the angles x_1, x_2, ...

    sin x_k is the partial correlation at lag k, so that every x gives a positive semidefinite T T'
    and every positive semidefinite Toeplitz matrix has an x (Barndorff-Nielsen & Schou 1973).
    Roots, not signed deviations, for the reason given in `cs`.
    """

    name = "toep"
    roots = True

    @property
    def num_theta(self) -> int:
        return 2 * self.dim - 1

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        lags = tuple(Parameter("corr", lag, 0) for lag in range(1, self.dim))
        return standard_deviations(self.dim) + lags

    def factor(self, theta: Array, constants: Constants) -> Array:
        return theta[: self.dim, None] ** 2 * _root(theta[self.dim :])

    def natural(self, theta: Array, constants: Constants) -> Array:
        # The first row of T is a unit vector: its first column holds the correlations with it.
        correlations = _root(theta[self.dim :])[1:, 0]
        return jnp.concatenate([jnp.sqrt(theta[: self.dim] ** 4), correlations])

    def start(self, sd: Array, constants: Constants) -> Array:
        first = np.arange(self.dim - 1) == 0
        angles = jnp.where(first, math.asin(START), 0.0).astype(sd.dtype)
        return jnp.concatenate([jnp.sqrt(sd), angles])

    def coordinate(self, number: int, value: float) -> Coordinate | None:
        """Deviations and the correlation at lag one; those beyond depend on it."""
        if number > self.dim:
            return None
        return Coordinate(number, math.asin(value) if number == self.dim else math.sqrt(value))

    def theta_of(self, values: Sequence[float]) -> np.ndarray:
        angles = np.arcsin(_partial_correlations(values[self.dim :]))
        return np.concatenate([np.sqrt(values[: self.dim]), angles])

    def rectify(self, theta: Array) -> Representative:
        signs = signs_of(theta[: self.dim])
        angles, slope = fold(theta[self.dim :])
        # A cosine's sign is that of its column of T and of all later ones.
        columns = jnp.cumprod(jnp.concatenate([jnp.ones((1,), theta.dtype), slope]))
        roots = theta[: self.dim] * signs
        return Representative(
            jnp.concatenate([roots, angles]), columns, jnp.concatenate([signs, slope])
        )


def _partial_correlations(correlations: Sequence[float]) -> np.ndarray:
    """Those at lags 1, 2, ... by the recursion of Durbin and Levinson.

    a predicts a value by the m before it, the nearest first; the error of this has the variance v,
    and what it has in common with the value m + 1 places back gives the next partial correlation.
    """
    rho, found = np.asarray(correlations, float), []
    a, v = np.zeros(0), 1.0
    for m in range(len(rho)):
        own = (rho[m] - a @ rho[:m][::-1]) / v
        v *= 1.0 - own**2
        if not v > 0:
            raise ValueError("The correlations are those of no process.")
        a = np.append(a - own * a[::-1], own)
        found.append(own)
    return np.array(found)


def _root(angles: Array) -> Array:
    """The lower triangular T with T T' of these partial correlations; shape (dim, dim).

    In the basis of its innovations a stationary process moves by an isometry, x_(i+1) = U x_i with
    x_0 = e_0, and U is the product of the plane rotations [[g, c], [c, -g]] of (k - 1, k) with
    g = sin x_k, c = cos x_k. Its entries are

        U_ij = -g_i c_(i+1) ... c_j g_(j+1) for i <= j,  U_(j+1)j = c_(j+1),  g_0 = -1,

    row i of T is x_i, and nothing is divided by: T is smooth where a partial correlation is one.
    """
    dim = angles.shape[0] + 1
    one, zero = jnp.ones((1,), angles.dtype), jnp.zeros((1,), angles.dtype)
    g, c = jnp.sin(angles), jnp.cos(angles)
    before, after = jnp.concatenate([-one, g]), jnp.concatenate([g, zero])
    i, j = np.indices((dim, dim))
    steps = jnp.concatenate([one, c])[None, :]
    products = jnp.cumprod(jnp.where(j > i, steps, 1.0), axis=1)
    U = jnp.where(i <= j, -before[:, None] * products * after, 0.0) + jnp.diag(c, -1)

    def move(x: Array, _: None) -> tuple[Array, Array]:
        return U @ x, x

    first = jnp.where(np.arange(dim) == 0, one, zero)
    return jax.lax.scan(move, first, None, length=dim)[1]
