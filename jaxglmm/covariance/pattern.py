"""A covariance with zeros where the user puts them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.covariance.base import (
    AbstractCovariance,
    Constants,
    Parameter,
    Representative,
    cholesky_of_natural,
    natural_of_factor,
    pairs,
    signs_of,
    standard_deviations,
)

Pair = tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Pattern(AbstractCovariance):
    """Any covariance whose entries at the pairs `zeros`, (i, j) with i > j, are zero.

    theta is the free entries of a lower triangle, whose rows are columns of the term in an order
    of elimination with little fill; its columns have a sign. An entry at a zero pair follows from
    those before it,

        L_ij = -(sum over k < j of L_ik L_jk) / L_jj,

    and is zero where no k has both L_ik and L_jk. The order leaves none but these if the graph of
    the pairs that are not zero is chordal (blocks, bands, trees, stars); otherwise L is not
    smooth where such an L_jj is zero.
    """

    zeros: tuple[Pair, ...] = ()

    name = "pattern"
    homogeneous = True
    linear = True

    @property
    def triangular(self) -> bool:
        return bool(np.all(np.diff(self._shape.order) == 1))

    @property
    def num_theta(self) -> int:
        return len(self._shape.free)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        correlations = tuple(p for p in pairs(self.dim) if (p.i, p.j) not in self.zeros)
        return standard_deviations(self.dim) + correlations

    @functools.cached_property
    def _shape(self) -> _Shape:
        return _triangle(self.dim, self.zeros)

    def factor(self, theta: Array, constants: Constants) -> Array:
        shape = self._shape
        L = jnp.zeros((self.dim, self.dim), theta.dtype).at[tuple(shape.free.T)].set(theta)
        for i, j in shape.solved:
            L = L.at[i, j].set(-(L[i, :j] @ L[j, :j]) / L[j, j])
        return L[np.argsort(shape.order)]

    def natural(self, theta: Array, constants: Constants) -> Array:
        return natural_of_factor(self.factor(theta, constants), self.parameters)

    def start(self, sd: Array, constants: Constants) -> Array:
        i, j = self._shape.free.T
        return jnp.where(i == j, sd[self._shape.order[i]], 0.0)

    def theta_of(self, values: Sequence[float]) -> np.ndarray:
        L = cholesky_of_natural(self.parameters, values, self._shape.order)
        return L[tuple(self._shape.free.T)]

    def rectify(self, theta: Array) -> Representative:
        i, j = self._shape.free.T
        signs = signs_of(theta[i == j])
        return Representative(theta * signs[j], signs, signs[j])


class _Shape(NamedTuple):
    """Where the entries of the triangle are."""

    order: np.ndarray  # column of the term that each row belongs to
    free: np.ndarray  # (row, column) of each entry of theta, row by row
    solved: list[Pair]  # entries that follow from others, in the order of their computation


def _triangle(dim: int, zeros: tuple[Pair, ...]) -> _Shape:
    linked = np.ones((dim, dim), bool)
    for i, j in zeros:
        linked[i, j] = linked[j, i] = False
    order, filled = _elimination(linked)
    linked, filled = linked[np.ix_(order, order)], filled[np.ix_(order, order)]
    solved = np.argwhere(np.tril(filled & ~linked))
    return _Shape(order, np.argwhere(np.tril(linked)), [(int(i), int(j)) for i, j in solved])


def _elimination(linked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """An order of the columns, and which are linked once eliminations have filled links in.

    Each step takes the column whose neighbours lack the fewest links among themselves and adds
    them: none at all where the graph is chordal (Rose, Tarjan & Lueker 1976).
    """
    filled = linked.copy()
    order: list[int] = []
    left = np.ones(len(linked), bool)
    for _ in range(len(linked)):
        missing = [
            np.count_nonzero(~filled[np.ix_(around, around)]) for around in filled & left[None, :]
        ]
        column = int(np.argmin(np.where(left, missing, np.iinfo(int).max)))
        around = filled[column] & left
        filled[np.ix_(around, around)] = True
        left[column] = False
        order.append(column)
    return np.array(order), filled
