"""The exact Hessian of the Laplace log-likelihood: the gradient's tangents, one direction a column.

Along a direction of psi the mode moves by u' = H^-1 (d(grad_u J) at fixed u), and with it eta. The
law's derivatives move by those of one order more, elementwise; with x = (eta, phi) and its tangent
x', the rows' shares of `laplace.gradient` have the tangents

    W'_ab     = -sum_i d^3 log p_abi x'_i,
    third'_a  = sum_i (sum_bc h_bc d^4 log p_abci / 2) x'_i + sum_bc h'_bc d^3 log p_abc / 2,
    slope'_i  = sum_j d^2 F_ij x'_j + sum_a d^2 log p_ai s'_a + sum_ab h'_ab d^3 log p_abi / 2,

whose coefficients are computed once. The rest is algebra on levels, differentiated by JAX.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import add
from jaxglmm.factor import AbstractFactor
from jaxglmm.likelihood import partial
from jaxglmm.marginal.laplace import Levels, Pieces, pieces, slope_in_theta
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
    transpose_lambda,
    transpose_random,
)
from jaxglmm.rows import Rows

# Below this many numbers all columns are computed at once: one short program instead of a loop.
_AT_ONCE = 20_000


class Curved(NamedTuple):
    """The Hessian and how the mode moves with psi."""

    hessian: Array
    du: Effects  # (param, column, level) per grouping factor


class _Point(NamedTuple):
    """A point, the coefficients of its tangents row by row, and its linearised levels."""

    at: Pieces
    lam: tuple[Array, ...]
    fourth: tuple[tuple[Array, ...], ...]  # sum_bc h_bc d^4 log p_abci / 2, by (a, i)
    second: tuple[tuple[Array, ...], ...]  # d^2 F_ij
    push_lambda: Callable[[Array], tuple[Array, ...]]  # theta' -> Lambda'
    push_inverse: Callable[..., tuple[Any, Any, Any]]  # (A', Lambda') -> (H', P', Q')
    push_slope: Callable[[Array, Levels], Array]  # tangent of the gradient in theta


def hessian(rows: Rows, factor: AbstractFactor, psi: Array, u: Effects) -> Curved:
    """The exact Hessian in psi at a mode u."""
    params = unflatten(psi, rows)
    return hessian_of_pieces(rows, factor, params, pieces(rows, factor, params, u, order=4))


def hessian_of_pieces(rows: Rows, factor: AbstractFactor, params: Params, at: Pieces) -> Curved:
    """The same where the pieces of the point, with derivatives of order four, are known."""
    point = _point(rows, factor, params, at)
    num_params = sum(x.shape[0] for x in jax.tree.leaves(params))

    def column(k: Array) -> tuple[Predictors, Array, Effects]:
        return _column(rows, factor, point, k, num_params)

    at_once = rows.y.size * num_params <= _AT_ONCE
    each = jax.vmap if at_once else functools.partial(functools.partial, jax.lax.map)
    slopes, others, du = each(column)(jnp.arange(num_params))
    fixed = each(lambda values: transpose_fixed(rows, values))(slopes)
    matrix = jnp.concatenate([fixed, others], axis=1)
    return Curved(0.5 * (matrix + matrix.T), du)


def _point(rows: Rows, factor: AbstractFactor, params: Params, at: Pieces) -> _Point:
    axes, variables = range(len(at.s)), range(len(at.s) + params.phi.shape[0])
    lam, push_lambda = jax.linearize(lambda theta: relative_factors(rows, theta), params.theta)

    def weighted(i: int, j: int) -> Array:
        return 0.5 * add(at.h[a][b] * partial(at.law, a, b, i, j) for a in axes for b in axes)

    def second(i: int, j: int) -> Array:
        value = partial(at.law, i, j) + weighted(i, j)
        return value + sum(at.s[a] * partial(at.law, a, i, j) for a in axes)

    def inverses(A: Any, lam: tuple[Array, ...]) -> tuple[Any, Any, Any]:
        H = factor.penalise(A, lam)
        P = factor.selected_inverse(factor.factorise(H))
        return H, P, factor.spread(P, lam)

    def slope(theta: Array, levels: Levels) -> Array:
        return slope_in_theta(rows, factor, theta, levels)

    return _Point(
        at=at,
        lam=lam,
        fourth=tuple(tuple(weighted(a, i) for i in variables) for a in axes),
        second=tuple(tuple(second(i, j) for j in variables) for i in variables),
        push_lambda=push_lambda,
        push_inverse=jax.linearize(inverses, at.levels.A, lam)[1],
        push_slope=jax.linearize(slope, params.theta, at.levels)[1],
    )


class _Direction(NamedTuple):
    """Tangents of the unknowns along one parameter."""

    unit: Params
    lam: tuple[Array, ...]
    u: Effects
    r: Effects
    x: tuple[Array, ...]  # of eta and phi


def _direction(
    rows: Rows, factor: AbstractFactor, point: _Point, k: Array, num_params: int
) -> _Direction:
    levels, lam = point.at.levels, point.lam
    unit = unflatten((jnp.arange(num_params) == k).astype(rows.dtype), rows)
    d_lam = point.push_lambda(unit.theta)
    # First at fixed u, which tells how u moves; then along its path.
    column, moved = fixed_column(rows, k), random_effects(d_lam, levels.u)
    eta = _sum(column, random_part(rows, moved))
    d_score = _contract(point.at, (), (*eta, *unit.phi))
    d_r = transpose_random(rows, d_score)
    pulled = _sum(transpose_lambda(d_lam, levels.r), transpose_lambda(lam, d_r))
    du = factor.solve(point.at.factored, pulled)
    db = random_effects(lam, du)
    d_r = _difference(d_r, factor.times(levels.A, db))
    eta = _sum(column, random_part(rows, _sum(moved, db)))
    return _Direction(unit, d_lam, du, d_r, (*eta, *unit.phi))


def _column(
    rows: Rows, factor: AbstractFactor, point: _Point, k: Array, num_params: int
) -> tuple[Predictors, Array, Effects]:
    """Tangents along parameter k of F's slopes in eta, the gradient in (theta, phi), and u.

    The slopes are stored before X' pulls them back: fused with that product, XLA's CPU backend
    would walk them one by one.
    """
    at, levels = point.at, point.at.levels
    axes = range(len(at.s))
    d = _direction(rows, factor, point, k, num_params)
    d_W = tuple(tuple(-w for w in _contract(at, (a,), d.x)) for a in axes)
    d_A = factor.gram(rows, d_W)
    d_H, d_P, d_Q = point.push_inverse(d_A, d.lam)
    d_h = factor.leverages(rows, d_Q)
    d_third = _sum(_apply(point.fourth, d.x), _leveraged(at, d_h, axes))
    d_z_third = transpose_random(rows, d_third)
    d_c = _sum(transpose_lambda(d.lam, levels.third), transpose_lambda(point.lam, d_z_third))
    d_a = factor.solve(at.factored, _difference(d_c, factor.times(d_H, levels.a)))
    d_b = _sum(random_effects(d.lam, levels.a), random_effects(point.lam, d_a))
    slopes = _slopes(point, d.x, random_part(rows, d_b), d_h)
    d_theta = point.push_slope(d.unit.theta, Levels(d.u, d.r, d_A, d_P, d_z_third, d_a))
    own = [total(rows, slope)[None] for slope in slopes[len(axes) :]]
    return slopes[: len(axes)], jnp.concatenate([d_theta, *own]), d.u


def _slopes(
    point: _Point, x: tuple[Array, ...], d_s: Predictors, d_h: tuple[Predictors, ...]
) -> tuple[Array, ...]:
    """Tangents of the slopes of F in eta and phi."""
    at, variables = point.at, range(len(x))
    moved = tuple(add(partial(at.law, a, i) * v for a, v in enumerate(d_s)) for i in variables)
    return _sum(_sum(_apply(point.second, x), moved), _leveraged(at, d_h, variables))


def _contract(at: Pieces, index: tuple[int, ...], x: tuple[Array, ...]) -> tuple[Array, ...]:
    """sum_i of d^k log p_(b, index, i) x_i, for every predictor b."""
    return tuple(
        add(partial(at.law, b, *index, i) * v for i, v in enumerate(x)) for b in range(len(at.s))
    )


def _leveraged(at: Pieces, d_h: tuple[Predictors, ...], variables: range) -> tuple[Array, ...]:
    """sum_ab h'_ab d^3 log p_abi / 2."""
    axes = range(len(at.s))
    return tuple(
        0.5 * add(d_h[a][b] * partial(at.law, a, b, i) for a in axes for b in axes)
        for i in variables
    )


def _apply(matrix: tuple[tuple[Array, ...], ...], x: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(add(m * v for m, v in zip(row, x, strict=True)) for row in matrix)


def _sum(a: tuple[Array, ...], b: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(v + w for v, w in zip(a, b, strict=True))


def _difference(a: tuple[Array, ...], b: tuple[Array, ...]) -> tuple[Array, ...]:
    return tuple(v - w for v, w in zip(a, b, strict=True))
