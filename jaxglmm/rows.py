"""The problem as the engine reads it: rows arranged in chunks, structure resolved."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.covariance import AbstractCovariance
from jaxglmm.design import PSEUDO, Grouping, HasTerms, Problem, Term, inner_columns
from jaxglmm.families import AbstractFamily
from jaxglmm.host import by_parts, empty, gather, is_constant
from jaxglmm.pattern import AbstractPattern, Nested
from jaxglmm.priors import Prior
from jaxglmm.restriction import Restriction, Share, joined

_MANY = 100_000
"""Rows from which numbers that all share are worth a program of their own."""

UNROLLED = 4
"""Columns of a factor up to which the algebra of its levels is written out, column by column."""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rows:
    """Arrays in chunk order; axes are (slot, chunk) unless said otherwise.

    `weight`, `offset` and Z may have axes of length one instead: numbers that all rows share.

    Attributes:
        y: responses.
        weight: the law's own constant: prior weight, trials, or 1.
        multiplier: factor of each row's log-density; 0 for padding and for weight zero.
        offset: added to the first linear predictor.
        offsets: added to the others; empty where there is nothing to add.
        X: fixed-effects columns; shape (fixed, slot, chunk).
        Z: columns of each grouping factor; shape (column, slot, chunk) each.
        codes: levels of each grouping factor: (chunk,) of the leading one and of those that it is
            nested in, else (slot, chunk).
        pattern: which levels of the grouping factors meet, its arrays over rows in chunk order.
        constants: of each grouping factor and term, what its covariance structure is given.
        free: whether each column of X has a coefficient to estimate (padding has none).
        groupings: the factors' static structure.
        family, predictors, method, quadrature_points, one_to_one: as in `Problem` and `Layout`,
            static.
        restriction: of (theta, phi), None where there is none; that of the fixed effects is in X
            and the offsets already (`ascent.reduction`).
        prior: what is added to the log-likelihood, None for nothing.
    """

    y: Array
    weight: Array
    multiplier: Array
    offset: Array
    offsets: tuple[Array, ...]
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
    quadrature_points: int = dataclasses.field(metadata={"static": True})
    one_to_one: bool = dataclasses.field(metadata={"static": True})
    restriction: Share | None = None
    prior: Prior | None = None

    @property
    def inside(self) -> tuple[int, ...]:
        """Columns of X whose coefficients are inner variables beside u: the last of the effects."""
        return inner_columns(self.family, self.predictors, self.method)

    @property
    def outside(self) -> tuple[int, ...]:
        """Columns of X whose coefficients are parameters."""
        inside = set(self.inside)
        return tuple(j for j in range(self.X.shape[0]) if j not in inside)

    @property
    def fixed_inside(self) -> bool:
        """Some fixed effects are inner variables."""
        return bool(self.inside)

    @property
    def by_pseudo_data(self) -> bool:
        """The method is one of pseudo-likelihood."""
        return self.method in PSEUDO

    @property
    def random_only(self) -> Rows:
        """The same rows with the fixed effects among the parameters, by Laplace's approximation."""
        return dataclasses.replace(self, method="laplace", quadrature_points=1)

    @property
    def num_fixed(self) -> int:
        """Number of fixed effects among the parameters, padding included."""
        return len(self.outside)

    @property
    def num_theta(self) -> int:
        """Number of covariance parameters."""
        return sum(g.num_theta for g in self.groupings)

    @property
    def dtype(self) -> Any:
        """The floating type of all arithmetic."""
        return self.X.dtype


class HasGroupings(Protocol):
    """What theta is taken apart by."""

    @property
    def groupings(self) -> tuple[Structure, ...]: ...

    @property
    def constants(self) -> tuple[tuple[tuple[Array, ...], ...], ...]: ...


@dataclasses.dataclass(frozen=True)
class Slice:
    """One term's share of theta.

    Attributes:
        grouping: number of its grouping factor.
        covariance: its structure.
        constants: what the structure is given.
        theta: its parameters; shape (num_theta,).
        is_further: whether a linear predictor behind the first is among those that it feeds.
    """

    grouping: int
    covariance: AbstractCovariance
    constants: tuple[Array, ...]
    theta: Array
    is_further: bool


def by_term(rows: HasGroupings, theta: Array) -> Iterator[Slice]:
    """theta term by term."""
    start = 0
    for k, (grouping, constants) in enumerate(zip(rows.groupings, rows.constants, strict=True)):
        for term, own in zip(grouping.terms, constants, strict=True):
            stop = start + term.covariance.num_theta
            further = any(a > 0 for a in term.predictors)
            yield Slice(k, term.covariance, own, theta[start:stop], further)
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
        return tuple(a for term in self.terms for a in term.predictors)

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
        xp: `jax.numpy` inside a program, `numpy` to prepare arrays on the host. There, numbers
            that all rows share (weights of one, no offset, intercepts) are told and held once.
    """
    problem = without_weightless(problem, xp)
    layout, family = problem.layout, problem.family
    dtype = xp.result_type(problem.X, problem.y)
    rows = layout.rows

    def known(values: Any) -> Any:
        return _known(xp.asarray(values, dtype), rows, xp)

    weights = known(problem.weights)
    ones = xp.ones_like(weights)
    divides = divides_dispersion(problem)
    divisor = xp.where(weights > 0, weights, ones) if divides else ones
    multiplier = xp.where(weights > 0, ones, xp.zeros_like(ones)) if divides else weights
    return Rows(
        y=_by_row(xp.asarray(problem.y, dtype), rows, xp),
        weight=known(problem.trials) if family.weight_role == "trials" else divisor,
        multiplier=_kept(multiplier, layout.filled, xp),
        offset=known(problem.offset),
        offsets=tuple(map(known, problem.offsets)),
        X=_columns(
            problem.X, rows, dtype, problem.X.shape[1] if num_fixed is None else num_fixed, xp
        ),
        Z=tuple(_random_columns(g, rows, dtype, xp) for g in problem.groupings),
        codes=_codes(problem, rows, xp),
        pattern=problem.pattern.gathered(rows, xp),
        constants=tuple(constants_of(g, dtype, xp) for g in problem.groupings),
        free=xp.arange(num_fixed or problem.X.shape[1]) < problem.X.shape[1],
        groupings=tuple(structure_of(g) for g in problem.groupings),
        family=family,
        predictors=problem.predictors + (0,) * ((num_fixed or 0) - problem.X.shape[1]),
        method=problem.method,
        quadrature_points=problem.quadrature_points,
        one_to_one=layout.one_to_one,
        restriction=_inner(problem.restriction, dtype, xp),
        prior=_prior(problem, num_fixed, dtype, xp),
    )


def divides_dispersion(problem: Problem) -> bool:
    """Whether prior weights divide the law's dispersion; else they multiply the log-density."""
    return problem.family.weight_role == "dispersion" and not problem.weights_multiply


def without_weightless(problem: Problem, xp: Any) -> Problem:
    """Rows of weight zero with the predictors of the first row that has a weight.

    Their densities count zero times, which is NaN where a predictor is out of all bounds. What all
    rows share they go on sharing.
    """
    weights = problem.weights
    if weights.shape[0] == 1 or isinstance(weights, np.ndarray) and np.all(weights > 0):
        return problem
    counts = xp.asarray(weights) > 0
    first = xp.argmax(counts)

    def silent(values: Any) -> Any:
        if values.shape[0] == 1:
            return values
        values = xp.asarray(values)
        return xp.where(counts if values.ndim == 1 else counts[:, None], values, values[first])

    return problem.replace(
        X=silent(problem.X),
        offset=silent(problem.offset),
        offsets=tuple(map(silent, problem.offsets)),
        groupings=tuple(dataclasses.replace(g, Z=silent(g.Z)) for g in problem.groupings),
    )


def _by_row(values: Any, rows: Any, xp: Any) -> Any:
    return gather(values, rows) if xp is np else values[rows]


def _known(values: Any, rows: Any, xp: Any) -> Any:
    """Known numbers by row; (1, 1) for one that all rows share.

    On the host few rows have theirs in full: a fit with weights then runs the program of one
    without.
    """
    if not _is_shared(values, xp):
        return _by_row(values, rows, xp)
    shared = xp.reshape(values[:1], (1, 1))
    return np.full(rows.shape, shared) if xp is np and rows.size < _MANY else shared


def _kept(values: Any, filled: Any, xp: Any) -> Any:
    """Values, and zero in slots without a row; of full shape."""
    if xp is not np:
        return xp.where(filled, values, xp.zeros_like(values))
    kept, values = empty(filled.shape, values.dtype), np.broadcast_to(values, filled.shape)

    def write(part: slice) -> None:
        np.multiply(values[:, part], filled[:, part], out=kept[:, part])

    by_parts(write, filled.shape[1], filled.shape[0])
    return kept


def _columns(matrix: Any, rows: Any, dtype: Any, num_columns: int, xp: Any) -> Any:
    """The columns by row, padded; shape (column, slot, chunk)."""
    matrix = xp.asarray(matrix, dtype)
    own = matrix.shape[1]
    if xp is np:
        columns = empty((num_columns, *rows.shape), dtype)
        columns[own:] = 0.0
        if matrix.strides[0] == 0:  # one row in memory
            columns[:own] = matrix[0][:, None, None]
        else:
            gather(matrix, rows, columns[:own])
        return columns
    if own < num_columns:
        nothing = xp.zeros((matrix.shape[0], num_columns - own), dtype)
        matrix = xp.concatenate([matrix, nothing], axis=1)
    return xp.moveaxis(matrix[rows], -1, 0)


def _random_columns(grouping: Grouping, rows: Any, dtype: Any, xp: Any) -> Any:
    """The columns of a factor by row; (column, 1, 1) where all rows share them.

    A program for many columns takes them some chunks at a time, from full arrays.
    """
    Z = xp.asarray(grouping.Z, dtype)
    if not _is_shared(Z, xp):
        return _columns(Z, rows, dtype, grouping.num_columns, xp)
    shared = xp.reshape(Z[:1], (-1, 1, 1))
    wide = structure_of(grouping).wide
    return xp.broadcast_to(shared, (grouping.num_columns, *rows.shape)) if wide else shared


def _is_shared(values: Any, xp: Any) -> bool:
    """Whether all rows have the same; of as many entries as there are rows the host can tell."""
    return values.shape[0] == 1 or (xp is np and is_constant(values))


def _codes(problem: Problem, index: Any, xp: Any) -> tuple[Any, ...]:
    """Levels of each factor: by chunk of the leading one and those it is nested in, else by row."""
    pattern, levels = problem.pattern, problem.layout.levels
    if not problem.groupings:
        return ()
    if isinstance(pattern, Nested):
        rest = [xp.asarray(pattern.ancestors(0, k)) for k in range(1, len(problem.groupings))]
        return (levels, *(up[levels] for up in rest))
    return (levels, *(xp.asarray(g.codes)[index] for g in problem.groupings[1:]))


def constants_of(grouping: Grouping, dtype: Any, xp: Any) -> Any:
    """What the covariance structure of each term is given."""
    own = grouping.constants or ((),) * len(grouping.terms)
    return tuple(tuple(xp.asarray(array, dtype) for array in term) for term in own)


def _inner(restriction: Restriction | None, dtype: Any, xp: Any) -> Share | None:
    """Of (theta, phi), if they are restricted."""
    if restriction is None or not restriction.inner:
        return None
    both = joined(restriction.theta, restriction.phi, xp=xp)
    return Share(xp.asarray(both.values, dtype), both.index)


def _prior(problem: Problem, num_fixed: int | None, dtype: Any, xp: Any) -> Prior | None:
    """With as many fixed effects as the rows have."""
    if problem.prior is None:
        return None
    padding = (num_fixed or problem.X.shape[1]) - problem.X.shape[1]
    matrix = xp.pad(problem.prior.matrix, ((0, 0), (0, padding)))
    padded = dataclasses.replace(problem.prior, matrix=matrix)
    return jax.tree.map(lambda leaf: xp.asarray(leaf, dtype), padded)


def structure_of(grouping: Grouping) -> Structure:
    """The static part of a grouping factor."""
    return Structure(num_levels=grouping.num_levels, terms=grouping.terms)
