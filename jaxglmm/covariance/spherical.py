"""Unstructured covariance in deviations and angles, for parameters that are held or equal."""

from __future__ import annotations

import dataclasses
import math

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
    pairs,
    signs_of,
    standard_deviations,
)


@dataclasses.dataclass(frozen=True)
class Spherical(AbstractCovariance):
    """L = diag(theta_i^2) T(x): theta is the roots of the deviations and angles x_ij, j < i.

    The rows of T are unit vectors (Pinheiro & Bates 1996, Stat. Comput. 6, 289-296, sec. 2.2),

        T_ij = sin x_ij cos x_i0 ... cos x_i(j-1),    T_ii = cos x_i0 ... cos x_i(i-1),

    so that every deviation, and every correlation with the first column, sin x_i0, has an entry
    of theta to itself. Roots, not signed deviations, for the reason given in `cs`.
    """

    name = "spherical"
    roots = True

    @property
    def num_theta(self) -> int:
        return self.dim * (self.dim + 1) // 2

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return standard_deviations(self.dim) + pairs(self.dim)

    @property
    def _below(self) -> tuple[np.ndarray, np.ndarray]:
        return np.tril_indices(self.dim, -1)

    def _angles(self, theta: Array) -> Array:
        """x below the diagonal, zeros elsewhere; shape (dim, dim)."""
        none = jnp.zeros((self.dim, self.dim), theta.dtype)
        return none.at[self._below].set(theta[self.dim :])

    def _unit_rows(self, theta: Array) -> Array:
        """T; shape (dim, dim)."""
        x = self._angles(theta)
        sines = jnp.where(np.eye(self.dim, dtype=bool), 1.0, jnp.sin(x))
        return jnp.tril(sines * _before(jnp.cos(x)))

    def factor(self, theta: Array, constants: Constants) -> Array:
        return theta[: self.dim, None] ** 2 * self._unit_rows(theta)

    def natural(self, theta: Array, constants: Constants) -> Array:
        T = self._unit_rows(theta)
        return jnp.concatenate([jnp.sqrt(theta[: self.dim] ** 4), (T @ T.T)[self._below]])

    def start(self, sd: Array, constants: Constants) -> Array:
        i, j = self._below
        return jnp.concatenate([jnp.sqrt(sd), jnp.zeros((len(i),), sd.dtype)])

    def theta_of_factor(self, factor: np.ndarray) -> np.ndarray:
        """The reported theta of a lower triangle L whose diagonal is not negative; (num_theta,)."""
        sd = np.sqrt(np.sum(factor**2, axis=1))
        i, j = self._below
        # What of a row is left from each column on: sd cos x_i0 ... cos x_i(j-1).
        left = np.sqrt(np.cumsum(factor[:, ::-1] ** 2, axis=1))[:, ::-1]
        beyond = np.pad(left, ((0, 0), (0, 1)))[:, 1:]
        return np.concatenate([np.sqrt(sd), np.arctan2(factor, beyond)[i, j]])

    def coordinate(self, number: int, value: float) -> Coordinate | None:
        parameter = self.parameters[number]
        if parameter.kind == "sd":
            return Coordinate(number, math.sqrt(value))
        return None if parameter.j else Coordinate(number, math.asin(value))

    def rectify(self, theta: Array) -> Representative:
        """Angles between -pi/2 and pi/2, which leave T a diagonal that is not negative."""
        x, (i, j) = self._angles(theta), self._below
        before = signs_of(_before(jnp.cos(x)))
        columns = jnp.diagonal(before)
        turn = (before * columns)[i, j]
        roots = signs_of(theta[: self.dim])
        angles, slope = fold(x[i, j])
        return Representative(
            jnp.concatenate([theta[: self.dim] * roots, turn * angles]),
            columns,
            jnp.concatenate([roots, turn * slope]),
        )


def _before(cosines: Array) -> Array:
    """The product of the entries of a row before each."""
    shifted = jnp.concatenate([jnp.ones_like(cosines[:, :1]), cosines[:, :-1]], axis=1)
    return jnp.cumprod(shifted, axis=1)
