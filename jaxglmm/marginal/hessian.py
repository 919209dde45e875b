"""The exact Hessian of the Laplace log-likelihood: the gradient's tangents, one parameter a column.

Along a direction of psi the mode moves by u' = H^-1 (d(grad_u J) at fixed u), and with it b. The
rows' part of `laplace.gradient`'s tangents is in `tangents`; the rest is algebra on levels,
differentiated by JAX. P enters the gradient in -tr(P dH_i) / 2 alone, dH_i the tangent of H along
the mode's path, so that its own tangent -P dH_j P adds tr(P dH_i P dH_j) / 2 to the Hessian: all
other tangents are taken with P held.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import minus, plus
from jaxglmm.factor import AbstractFactor
from jaxglmm.marginal.laplace import Levels, Pieces, pieces, slope_in_theta
from jaxglmm.marginal.tangents import AbstractSums, map_columns, sums, written_by_level
from jaxglmm.params import Params, unflatten
from jaxglmm.predictor import Effects, random_effects, relative_factors, transpose_lambda
from jaxglmm.rows import Rows


class Curved(NamedTuple):
    """The Hessian and how the mode moves with psi."""

    hessian: Array
    du: Effects  # (param, latent, level) per grouping factor


class _Point(NamedTuple):
    """A point and its linearised levels."""

    at: Pieces
    lam: tuple[Array, ...]
    H: Any
    push_lambda: Callable[[Array], tuple[Array, ...]]  # theta' -> Lambda'
    push_h: Callable[[Any, tuple[Array, ...]], Any]  # (A', Lambda') -> H'
    push_q: Callable[[tuple[Array, ...]], Any]  # Lambda' -> Q' with P held
    push_slope: Callable[[Array, Levels], Array]  # tangent of the gradient in theta


def hessian(rows: Rows, factor: AbstractFactor, psi: Array, u: Effects) -> Curved:
    """The exact Hessian in psi at a mode u."""
    params = unflatten(psi, rows)
    return hessian_of_pieces(rows, factor, params, pieces(rows, factor, params, u, order=4))


def hessian_of_pieces(
    rows: Rows, factor: AbstractFactor, params: Params, at: Pieces, exact: Array | None = None
) -> Curved:
    """The same where the pieces of the point, with derivatives of order four, are known.

    Traces may be estimated where `exact` is false, if the factor does so.
    """
    at = at._replace(levels=written_by_level(rows, factor, at.levels))
    point, by = _point(rows, factor, params, at), sums(rows, factor, params, at)
    first, last = rows.num_fixed, rows.num_fixed + rows.num_theta
    directions = jnp.eye(last + params.phi.shape[0], dtype=rows.dtype)[:, first:last]

    def column(of: tuple[Any, Array]) -> tuple[Any, Array, Effects, Any]:
        return _column(factor, point, by, *of)

    slopes, d_theta, du, d_H = map_columns(column, (by.columns, directions), by.size)
    others = by.pull(slopes)
    matrix = jnp.concatenate([others[:, :first], d_theta, others[:, first:]], axis=1)
    matrix = matrix + 0.5 * traces(factor, point.H, at.factored, at.levels.P, d_H, exact)
    return Curved(0.5 * (matrix + matrix.T), du)


def traces(
    factor: AbstractFactor, H: Any, factored: Any, P: Any, moved: Any, exact: Array | None
) -> Array:
    """tr(P dH_i P dH_j), estimated unless `exact` where that is the factor's way."""

    def exactly() -> Array:
        return factor.trace_products(H, factored, P, moved)

    if exact is None or not factor.keeps:
        return exactly()
    return jax.lax.cond(exact, exactly, lambda: factor.rough_trace_products(factored, moved))


def _point(rows: Rows, factor: AbstractFactor, params: Params, at: Pieces) -> _Point:
    lam, push_lambda = jax.linearize(lambda theta: relative_factors(rows, theta), params.theta)

    H, push_h = jax.linearize(factor.penalise, at.levels.A, lam)
    push_q = jax.linearize(lambda lam: factor.spread(at.levels.P, lam), lam)[1]

    def slope(theta: Array, levels: Levels) -> Array:
        return slope_in_theta(rows, factor, theta, levels)

    return _Point(
        at=at,
        lam=lam,
        H=H,
        push_lambda=push_lambda,
        push_h=push_h,
        push_q=push_q,
        push_slope=jax.linearize(slope, params.theta, at.levels)[1],
    )


def _column(
    factor: AbstractFactor, point: _Point, by: AbstractSums, own: Any, theta: Array
) -> tuple[Any, Array, Effects, Any]:
    """Tangents along one parameter of the gradient in (beta, phi), to be pulled, and theta, both
    with P held; of u; and of H.

    `own` is what `by` knows of the parameter, `theta` its direction in theta.
    """
    levels, lam, d_lam = point.at.levels, point.lam, point.push_lambda(theta)
    # First at fixed u, which tells how u moves; then along its path.
    moved = random_effects(d_lam, levels.u)
    d_r = by.score(own, moved)
    pulled = plus(transpose_lambda(d_lam, levels.r), transpose_lambda(lam, d_r))
    du = factor.solve(point.at.factored, pulled)
    db = random_effects(lam, du)
    v, d_r = plus(moved, db), minus(d_r, factor.times(levels.A, db))
    d_A = by.gram(own, v)
    d_H, d_Q = point.push_h(d_A, d_lam), point.push_q(d_lam)
    d_third = by.third(own, v, d_Q)
    d_c = plus(transpose_lambda(d_lam, levels.third), transpose_lambda(lam, d_third))
    da = factor.solve(point.at.factored, minus(d_c, factor.times(d_H, levels.a)))
    d_s = plus(random_effects(d_lam, levels.a), random_effects(lam, da))
    held = jax.tree.map(jnp.zeros_like, levels.P)
    d_theta = point.push_slope(theta, Levels(du, d_r, d_A, held, d_third, da))
    return by.slopes(own, v, d_Q, d_s), d_theta, du, d_H
