"""What rows contribute to the tangents of the gradient, along one parameter.

Along a direction of psi the linear predictors move by a column of X (or phi by one) and by Z v, v
the tangent of b. With x = (eta, phi) and its tangent x', the derivatives of the law move by those
of one order more:

    score'_a  = sum_i d^2 log p_ai x'_i,                W'_ab = -sum_i d^3 log p_abi x'_i,
    third'_a  = sum_i (sum_bc h_bc d^4 log p_abci / 2) x'_i + sum_bc h'_bc d^3 log p_abc / 2,
    slope'_i  = sum_j d^2 F_ij x'_j + sum_a d^2 log p_ai s'_a + sum_ab h'_ab d^3 log p_abi / 2,

with F of `laplace`. `RowSums` sums these over the rows for every parameter. Where levels are
independent, v, h' and s' are products of a row's z with numbers of its level, so that
`LevelSums` reads the rows once, for the sums over each level of the coefficients of v, h' and s':
the covariance parameters then cost no pass over the rows at all.
"""

from __future__ import annotations

import abc
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import add, minus, plus
from jaxglmm.factor import AbstractFactor
from jaxglmm.likelihood import Partials, partial
from jaxglmm.marginal.laplace import Pieces
from jaxglmm.params import Params, unflatten
from jaxglmm.predictor import (
    Effects,
    Predictors,
    fixed_column,
    random_effects,
    random_part,
    relative_factors,
    total,
    transpose_fixed,
    transpose_random,
)
from jaxglmm.rows import Rows
from jaxglmm.written import written

T = TypeVar("T")

# Below this many numbers all columns are computed at once: one short program instead of a loop.
_AT_ONCE = 20_000
_FEW = 256  # numbers of a product of matrices


def written_by_level(rows: Rows, factor: AbstractFactor, values: T) -> T:
    """Sums over levels that pairs of parameters read, `written` where that pays: of independent
    levels, whose matrices are written out. (Those of wide ones go from product to product.)"""
    return written(values) if factor.by_level and not rows.groupings[0].wide else values


def map_columns(function: Callable[[Any], Any], columns: Any, size: int) -> Any:
    """The function over the leading axis of `columns`; `size` is that of one column's arrays."""
    count = jax.tree.leaves(columns)[0].shape[0]
    at_once = size * count <= _AT_ONCE
    return jax.vmap(function)(columns) if at_once else jax.lax.map(function, columns)


class AbstractSums(abc.ABC):
    """The rows' part of a column of the Hessian."""

    @property
    @abc.abstractmethod
    def columns(self) -> Any:
        """What the methods want to know of each parameter, along the leading axis."""

    @property
    @abc.abstractmethod
    def size(self) -> int:
        """Numbers that a method works on at once."""

    @abc.abstractmethod
    def score(self, column: Any, v: Effects) -> Effects:
        """Z' score', the tangent of b being v."""

    @abc.abstractmethod
    def gram(self, column: Any, v: Effects) -> Any:
        """The tangent Z' W' Z of A."""

    @abc.abstractmethod
    def third(self, column: Any, v: Effects, d_Q: Any) -> Effects:
        """Z' third', the tangent of Q being d_Q."""

    @abc.abstractmethod
    def slopes(self, column: Any, v: Effects, d_Q: Any, d_b: Effects) -> Any:
        """What `pull` makes the tangent of the gradient in (beta, phi) from; s' = Z d_b."""

    @abc.abstractmethod
    def pull(self, slopes: Any) -> Array:
        """Tangents of the gradient in (beta, phi), all parameters at once; (param, fixed + own)."""


def sums(rows: Rows, factor: AbstractFactor, params: Params, at: Pieces) -> AbstractSums:
    """The cheaper of the two, by the structure of the factor."""
    by_rows = RowSums(rows, factor, at, params)
    return LevelSums(by_rows) if factor.by_level else by_rows


class RowSums(AbstractSums):
    """Sums over all rows, anew for every parameter."""

    def __init__(self, rows: Rows, factor: AbstractFactor, at: Pieces, params: Params) -> None:
        self.rows, self.factor, self.at, self.params = rows, factor, at, params
        self.axes = range(len(at.s))
        self.Q = factor.spread(at.levels.P, relative_factors(rows, params.theta))
        variables = range(len(at.s) + params.phi.shape[0])
        self.fourth = tuple(tuple(self._weighted(a, i) for i in variables) for a in self.axes)
        self.second = tuple(tuple(self._second(i, j) for j in variables) for i in variables)

    def _weighted(self, i: int, j: int) -> Array:
        pairs = ((a, b) for a in self.axes for b in self.axes)
        return 0.5 * add(self.at.h[a][b] * partial(self.at.law, a, b, i, j) for a, b in pairs)

    def _second(self, i: int, j: int) -> Array:
        value = partial(self.at.law, i, j) + self._weighted(i, j)
        return value + sum(s * partial(self.at.law, a, i, j) for a, s in enumerate(self.at.s))

    @property
    def columns(self) -> Array:
        return jnp.arange(sum(x.shape[0] for x in jax.tree.leaves(self.params)))

    @property
    def size(self) -> int:
        return max(x.size for x in (self.rows.y, *jax.tree.leaves(self.at.levels.A)))

    def _moved(self, k: Array, v: Effects | None) -> tuple[Array, ...]:
        """Tangents of eta and phi."""
        num_params = self.columns.shape[0]
        unit = unflatten((jnp.arange(num_params) == k).astype(self.rows.dtype), self.rows)
        eta = fixed_column(self.rows, k)
        if v is not None:
            eta = tuple(e + r for e, r in zip(eta, random_part(self.rows, v), strict=True))
        return (*eta, *unit.phi)

    def score(self, column: Array, v: Effects | None) -> Effects:
        return transpose_random(self.rows, self._contract((), self._moved(column, v)))

    def gram(self, column: Array, v: Effects | None) -> Any:
        x = self._moved(column, v)
        d_W = tuple(tuple(-w for w in self._contract((a,), x)) for a in self.axes)
        return self.factor.gram(self.rows, d_W)

    def third(self, column: Array, v: Effects | None, d_Q: Any | None) -> Effects:
        moved = _apply(self.fourth, self._moved(column, v))
        if d_Q is not None:
            moved = plus(moved, self._leveraged(d_Q, self.axes))
        return transpose_random(self.rows, moved)

    def slopes(
        self, column: Array, v: Effects | None, d_Q: Any | None, d_b: Effects | None
    ) -> tuple[Predictors, Array]:
        """Slopes in eta row by row, and in phi.

        The former are written before X' pulls them back: fused with that product, XLA's CPU
        backend would walk them one by one.
        """
        x = self._moved(column, v)
        moved = _apply(self.second, x)
        if d_b is not None:
            d_s, law = random_part(self.rows, d_b), self.at.law
            moved = tuple(
                value + add(partial(law, a, i) * s for a, s in enumerate(d_s))
                for i, value in enumerate(moved)
            )
        if d_Q is not None:
            moved = plus(moved, self._leveraged(d_Q, range(len(x))))
        m = len(self.axes)
        own = [total(self.rows, slope) for slope in moved[m:]]
        return moved[:m], jnp.stack(own) if own else jnp.zeros((0,), self.rows.dtype)

    def pull(self, slopes: tuple[Predictors, Array]) -> Array:
        by_row, own = slopes
        fixed = map_columns(lambda r: transpose_fixed(self.rows, r), by_row, self.size)
        return jnp.concatenate([fixed, own], axis=1)

    def _contract(self, index: tuple[int, ...], x: tuple[Array, ...]) -> tuple[Array, ...]:
        """sum_i of d^k log p_(b, index, i) x_i, for every predictor b."""
        law = self.at.law
        return tuple(
            add(partial(law, b, *index, i) * v for i, v in enumerate(x)) for b in self.axes
        )

    def _leveraged(self, d_Q: Any, variables: range) -> tuple[Array, ...]:
        """sum_ab h'_ab d^3 log p_abi / 2; h is not linear in Q for every structure."""

        def leverages(Q: Any) -> tuple[Predictors, ...]:
            return self.factor.leverages(self.rows, Q)

        d_h, axes, law = jax.jvp(leverages, (self.Q,), (d_Q,))[1], self.axes, self.at.law
        return tuple(
            0.5 * add(d_h[a][b] * partial(law, a, b, i) for a in axes for b in axes)
            for i in variables
        )


class _Sums(NamedTuple):
    """A parameter's own tangents, with v, h' and s' zero, by its row of the Hessian in slopes."""

    score: Effects
    gram: Any
    third: Effects
    slopes: Array


class LevelSums(AbstractSums):
    """Sums over the rows of each level, once, for the parameters beta and phi that rows know.

    Their own sums of z score', z z' W' and z third' are also the coefficients of v, h' and s' in
    their slopes, as d^2 F is d^2 log p + sum_bc h_bc d^4 log p / 2 + sum_a s_a d^3 log p with
    s = Z Lambda a.
    """

    def __init__(self, by_rows: RowSums) -> None:
        rows, at, factor = by_rows.rows, by_rows.at, by_rows.factor
        axes, index = by_rows.axes, by_rows.columns
        first, last = rows.num_fixed, rows.num_fixed + rows.num_theta

        def own(k: Array) -> tuple[Effects, Any, Effects, Any]:
            third, slopes = by_rows.third(k, None, None), by_rows.slopes(k, None, None, None)
            return by_rows.score(k, None), by_rows.gram(k, None), third, slopes

        index = jnp.concatenate([index[:first], index[last:]])
        self.written = functools.partial(written_by_level, rows, factor)
        (score, gram, third, slopes), self.A3, self.A4 = self.written(
            (
                map_columns(own, index, rows.y.size),
                factor.cubic(rows, third_derivatives(at.law, len(axes))),
                factor.gram(rows, tuple(row[: len(axes)] for row in by_rows.fourth)),
            )
        )
        b = random_effects(relative_factors(rows, by_rows.params.theta), at.levels.a)
        bent = jax.vmap(lambda M: factor.times(M, b))(gram)
        self.factor, self.theta = factor, (first, last)
        self.own = _Sums(score, gram, third, by_rows.pull(slopes))
        self.slope_of_v = tuple(s + t - c for s, t, c in zip(score, third, bent, strict=True))
        self.A = at.levels.A

    @property
    def columns(self) -> _Sums:
        first, last = self.theta

        def spread(own: Array) -> Array:
            none = jnp.zeros((last - first, *own.shape[1:]), own.dtype)
            return jnp.concatenate([own[:first], none, own[first:]])

        return jax.tree.map(spread, self.own)

    @property
    def size(self) -> int:
        return max(leaf.size for leaf in jax.tree.leaves(self.slope_of_v))

    def score(self, column: _Sums, v: Effects) -> Effects:
        return minus(column.score, self.factor.times(self.A, v))

    def gram(self, column: _Sums, v: Effects) -> Any:
        return self.factor.moved(column.gram, self.A3, v)

    def third(self, column: _Sums, v: Effects, d_Q: Any) -> Effects:
        leveraged = tuple(0.5 * part for part in self.factor.contract_cubic(d_Q, self.A3))
        return plus(plus(column.third, self.factor.times(self.A4, v)), leveraged)

    def slopes(self, column: _Sums, v: Effects, d_Q: Any, d_b: Effects) -> Array:
        pairs = zip((*self.slope_of_v, *self.own.score), self.written((*v, *d_b)), strict=True)
        moved = _products(list(pairs))

        def spread(gram: Any) -> Array:
            return jnp.sum(self.factor.contract(gram, d_Q))

        return column.slopes + moved - 0.5 * jax.vmap(spread)(self.own.gram)

    def pull(self, slopes: Array) -> Array:
        return slopes


def _products(pairs: list[tuple[Array, Array]]) -> Array:
    """sum over all pairs (of, v) of sum(of[i] * v), for every i.

    In a batch a product of matrices with so little to it takes longer than its parts do and one
    sum of them all.
    """
    precision = jax.lax.Precision.HIGHEST
    if sum(of.size for of, _ in pairs) > _FEW:
        return add(jnp.tensordot(of, v, axes=v.ndim, precision=precision) for of, v in pairs)
    parts = add(of * v for of, v in pairs)
    flat = parts.reshape(parts.shape[0], math.prod(parts.shape[1:]))
    return jnp.matmul(flat, jnp.ones(flat.shape[1:], flat.dtype), precision=precision)


def third_derivatives(law: Partials, num_predictors: int) -> tuple[tuple[Predictors, ...], ...]:
    """d^3 log p / d eta_a d eta_b d eta_c."""
    axes = range(num_predictors)
    return tuple(tuple(tuple(partial(law, a, b, c) for c in axes) for b in axes) for a in axes)


def _apply(matrix: tuple[tuple[Array, ...], ...], x: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(add(m * v for m, v in zip(row, x, strict=True)) for row in matrix)
