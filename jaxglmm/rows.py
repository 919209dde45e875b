"""The problem as the engine reads it: rows arranged in chunks, structure resolved."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.covariance import AbstractCovariance
from jaxglmm.design import Grouping, HasTerms, Problem, Term
from jaxglmm.families import AbstractFamily
from jaxglmm.pattern import AbstractPattern

UNROLLED = 4
"""Columns of a factor up to which the algebra of its levels is written out, column by column."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rows:
    """Arrays in chunk order; axes are (slot, chunk) unless said otherwise.

    Attributes:
        y: responses.
        weight: the law's own constant: prior weight, trials, or 1.
        multiplier: factor of each row's log-density; 0 for padding and for weight zero.
        offset: added to the first linear predictor.
        X: fixed-effects columns; shape (fixed, slot, chunk).
        Z: columns of each grouping factor; shape (column, slot, chunk) each.
        codes: levels of each grouping factor: (chunk,) of the leading one, else (slot, chunk).
        pattern: which levels of the grouping factors meet, its arrays over rows in chunk order.
        constants: of each grouping factor and term, what its covariance structure is given.
        free: whether each column of X has a coefficient to estimate (padding has none).
        groupings: the factors' static structure.
        family, predictors, method, one_to_one: as in `Problem` and `Layout`, static.
    """

    y: Array
    weight: Array
    multiplier: Array
    offset: Array
    X: Array
    Z: tuple[Array, ...]
    codes: tuple[Array, ...]
    pattern: AbstractPattern
    constants: tuple[tuple[tuple[Array, ...], ...], ...]
    free: Array
    groupings: tuple[Structure, ...] = dataclasses.field(metadata={"static": True})
    family: AbstractFamily = dataclasses.field(metadata={"static": True})
    predictors: tuple[int, ...] = dataclasses.field(metadata={"static": True})
    method: str = dataclasses.field(metadata={"static": True})
    one_to_one: bool = dataclasses.field(metadata={"static": True})

    @property
    def fixed_inside(self) -> bool:
        """Fixed effects are inner variables beside u, no parameters: the last of the effects."""
        return self.method != "laplace" and self.X.shape[0] > 0

    @property
    def random_only(self) -> Rows:
        """The same rows with the fixed effects among the parameters."""
        return dataclasses.replace(self, method="laplace")

    @property
    def num_fixed(self) -> int:
        """Number of fixed effects among the parameters, padding included."""
        return 0 if self.fixed_inside else self.X.shape[0]

    @property
    def num_theta(self) -> int:
        """Number of covariance parameters."""
        return sum(g.num_theta for g in self.groupings)

    @property
    def dtype(self) -> Any:
        """The floating type of all arithmetic."""
        return self.X.dtype


@dataclasses.dataclass(frozen=True)
class Slice:
    """One term's share of theta.

    Attributes:
        grouping: number of its grouping factor.
        covariance: its structure.
        constants: what the structure is given.
        theta: its parameters; shape (num_theta,).
    """

    grouping: int
    covariance: AbstractCovariance
    constants: tuple[Array, ...]
    theta: Array


def by_term(rows: Rows, theta: Array) -> Iterator[Slice]:
    """theta term by term."""
    start = 0
    for k, (grouping, constants) in enumerate(zip(rows.groupings, rows.constants, strict=True)):
        for term, own in zip(grouping.terms, constants, strict=True):
            stop = start + term.covariance.num_theta
            yield Slice(k, term.covariance, own, theta[start:stop])
            start = stop


@dataclasses.dataclass(frozen=True)
class Structure(HasTerms):
    """The static part of a grouping factor."""

    num_levels: int
    terms: tuple[Term, ...]

    @property
    def triangular(self) -> bool:
        """Lambda is zero above its diagonal."""
        return all(term.covariance.triangular for term in self.terms)

    @functools.cached_property
    def predictors(self) -> tuple[int, ...]:
        """Linear predictor that each column feeds."""
        return tuple(t.predictor for t in self.terms for _ in range(t.covariance.dim))

    @property
    def wide(self) -> bool:
        """A level has too many random effects for a program that names each."""
        return self.num_columns > UNROLLED

    def columns_of(self, predictor: int) -> list[int]:
        """The columns that feed a linear predictor."""
        return [column for column, a in enumerate(self.predictors) if a == predictor]


def arrange(problem: Problem, *, num_fixed: int | None = None, xp: Any = jnp) -> Rows:
    """Gather a problem's rows into its layout.

    Args:
        problem: the data in the caller's order.
        num_fixed: pad X with zero columns to this many (their coefficients are held at zero).
        xp: `jax.numpy` inside a program, `numpy` to prepare arrays on the host.
    """
    layout, family = problem.layout, problem.family
    dtype = xp.result_type(problem.X, problem.y)
    rows = layout.rows

    def gather(values: Any) -> Any:
        return xp.asarray(values, dtype)[rows]

    weights = gather(problem.weights)
    counts = xp.logical_and(layout.filled, weights > 0)
    ones = xp.ones_like(weights)
    safe = xp.where(counts, weights, ones)
    divides = family.weight_role == "dispersion" and not problem.weights_multiply
    known = safe if divides else ones
    return Rows(
        y=gather(problem.y),
        weight=gather(problem.trials) if family.weight_role == "trials" else known,
        multiplier=xp.where(counts, ones if divides else weights, xp.zeros_like(ones)),
        offset=gather(problem.offset),
        X=_columns(
            problem.X, rows, dtype, problem.X.shape[1] if num_fixed is None else num_fixed, xp
        ),
        Z=tuple(_columns(g.Z, rows, dtype, g.num_columns, xp) for g in problem.groupings),
        codes=tuple(
            layout.levels if i == 0 else xp.asarray(g.codes)[rows]
            for i, g in enumerate(problem.groupings)
        ),
        pattern=problem.pattern.gathered(rows, xp),
        constants=tuple(_constants(g, dtype, xp) for g in problem.groupings),
        free=xp.arange(num_fixed or problem.X.shape[1]) < problem.X.shape[1],
        groupings=tuple(_structure(g) for g in problem.groupings),
        family=family,
        predictors=problem.predictors + (0,) * ((num_fixed or 0) - problem.X.shape[1]),
        method=problem.method,
        one_to_one=layout.one_to_one,
    )


def _columns(matrix: Any, rows: Any, dtype: Any, num_columns: int, xp: Any) -> Any:
    matrix = xp.asarray(matrix, dtype)
    padding = num_columns - matrix.shape[1]
    if padding:
        matrix = xp.concatenate([matrix, xp.zeros((matrix.shape[0], padding), dtype)], axis=1)
    return (
        xp.moveaxis(matrix[rows], -1, 0) if xp is jnp else np.ascontiguousarray(matrix.T)[:, rows]
    )


def _constants(grouping: Grouping, dtype: Any, xp: Any) -> Any:
    own = grouping.constants or ((),) * len(grouping.terms)
    return tuple(tuple(xp.asarray(array, dtype) for array in term) for term in own)


def _structure(grouping: Grouping) -> Structure:
    return Structure(num_levels=grouping.num_levels, terms=grouping.terms)
