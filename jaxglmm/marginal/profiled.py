"""The normal law with identity link: sums over the rows once, beta and sigma in closed form.

With weights Omega, Lambda relative to sigma and v = u sigma, the penalised residual sum of squares

    r2(theta) = min over (beta, v) of |y - X beta - Z Lambda v|^2_Omega + |v|^2

needs A = [Z X]' Omega [Z X], g = [Z X]' Omega y and y' Omega y alone, and the log-likelihood
maximised over beta and sigma is (Bates et al. 2015, eqs. 30-42)

    l(theta) = -log det H / 2 - m (1 + log(r2 / m)) / 2,        sigma^2 = r2 / m,

H = Lambda' A Lambda + I over the random effects and m the number of rows; for REML H includes the
border of X, and m is less by the number of its columns. With P = H^-1 (REML: with the border),
e = g - A Lambda v and primes for tangents along theta, beta being one more column without a prior,

    r2_i = -2 e' Lambda_i v,    v_j = H^-1 (Lambda_j' e - Lambda' A Lambda_j v),
    l_i  = -tr(P H_i) / 2 - m r2_i / (2 r2),
    l_ij = -(tr(P H_ij) - tr(P H_i P H_j)) / 2 - m (r2_ij / r2 - r2_i r2_j / r2^2) / 2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import add, minus, plus
from jaxglmm.factor import AbstractFactor
from jaxglmm.marginal.hessian import traces
from jaxglmm.predictor import (
    Effects,
    fixed_part,
    random_effects,
    relative_factors,
    total,
    transpose_lambda,
    transpose_random,
)
from jaxglmm.rows import Rows

_FLAT = 1e-5  # relative size of a curvature that counts as zero


class Sums(NamedTuple):
    """All that the rows say."""

    A: Any
    g: Effects
    square: Array  # y' Omega y
    count: Array  # m


class Residual(NamedTuple):
    """The penalised least squares of one theta."""

    square: Array  # r2
    slopes: Array  # r2_i
    v: Effects  # with beta as its last member
    e: Effects
    factored: Any


class Profile(NamedTuple):
    """One point theta."""

    value: Array
    error: Array  # standard error of `value`, where log det H is an estimate
    gradient: Array
    least: Residual
    P: Any


class Curvature(NamedTuple):
    """Second derivatives at a point."""

    hessian: Array  # l_ij
    logdet: Array  # of log det H
    residual: Array  # r2_ij
    dv: Effects  # v_j, the parameter along the leading axis


def sums(rows: Rows, factor: AbstractFactor, origin: Array) -> Sums:
    """Sums over the rows, fixed effects being inner; y is taken from `origin`, some near beta.

    r2 comes as a difference from y' Omega y, which should not be much larger.
    """
    weight = rows.multiplier * rows.weight
    y = rows.y - fixed_part(rows.random_only, origin)[0]
    restricted = rows.method == "reml" and rows.fixed_inside
    return Sums(
        A=factor.gram(rows, ((weight,),)),
        g=transpose_random(rows, (weight * y,)),
        square=total(rows, weight * y * y),
        count=total(rows, rows.multiplier) - (jnp.sum(rows.free) if restricted else 0),
    )


def residual(rows: Rows, factor: AbstractFactor, of: Sums, theta: Array) -> Residual:
    """The least squares at theta, relative to sigma."""
    lam = relative_factors(rows, theta)
    factored = factor.factorise(factor.penalise(of.A, lam))
    pulled = transpose_lambda(lam, of.g)
    v = factor.solve(factored, pulled)
    e = minus(of.g, factor.times(of.A, random_effects(lam, v)))
    slopes = jax.grad(lambda t: _minus_twice(rows, t, e, v))(theta)
    return Residual(of.square - _dot(pulled, v), slopes, v, e, factored)


def _minus_twice(rows: Rows, theta: Array, e: Effects, v: Effects) -> Array:
    """-2 e' Lambda v."""
    return -2.0 * _dot(e, random_effects(relative_factors(rows, theta), v))


def _against(rows: Rows, factor: AbstractFactor, A: Any, P: Any, theta: Array) -> Array:
    """tr(P H), whose derivatives in theta with P held are those of log det H and tr(P H_ij)."""
    H = factor.penalise(A, relative_factors(rows, theta))
    return jnp.sum(factor.contract(P, H))


def _bent(rows: Rows, factor: AbstractFactor, A: Any, P: Any, theta: Array) -> Array:
    """The part of d2 log det H that the second derivatives of Lambda make."""
    slopes = factor.slopes(A, relative_factors(rows, theta), P)
    return jax.hessian(lambda t: _dot(slopes, relative_factors(rows, t)))(theta)


def profile(rows: Rows, factor: AbstractFactor, of: Sums, theta: Array) -> Profile:
    """Value and gradient at theta, relative to sigma."""
    least = residual(rows, factor, of, theta)
    logdet, P, error = factor.measure(least.factored)
    lam, pull = jax.vjp(lambda t: relative_factors(rows, t), theta)
    (by_logdet,) = pull(factor.slopes(of.A, lam, P))
    m = of.count
    value = -0.5 * logdet - 0.5 * m * (1.0 + jnp.log(least.square / m))
    gradient = -0.5 * (by_logdet + m * least.slopes / least.square)
    return Profile(value, 0.5 * error, gradient, least, P)


def curve(
    rows: Rows, factor: AbstractFactor, of: Sums, theta: Array, at: Profile, exact: Array | None
) -> Curvature:
    """The Hessian at a point of known profile; `exact` as in `hessian.traces`."""
    lam, push_lambda = jax.linearize(lambda t: relative_factors(rows, t), theta)
    H, push_h = jax.linearize(lambda lam: factor.penalise(of.A, lam), lam)

    least = at.least

    def slopes(theta: Array, e: Effects, v: Effects) -> Array:
        return jax.grad(lambda t: _minus_twice(rows, t, e, v))(theta)

    def column(direction: Array) -> tuple[Effects, Array, tuple[Array, ...]]:
        d_lam = push_lambda(direction)
        moved = random_effects(d_lam, least.v)
        bent = transpose_lambda(lam, factor.times(of.A, moved))
        dv = factor.solve(least.factored, minus(transpose_lambda(d_lam, least.e), bent))
        db = plus(moved, random_effects(lam, dv))
        de = tuple(-part for part in factor.times(of.A, db))
        _, d_slope = jax.jvp(slopes, (theta, least.e, least.v), (direction, de, dv))
        return dv, d_slope, d_lam

    directions = jnp.eye(theta.shape[0], dtype=theta.dtype)
    if factor.curves(theta.shape[0]):
        dv, second, moved = jax.vmap(column)(directions)
        by_logdet = factor.along_factors(of.A, lam, least.factored, moved)
        by_logdet = by_logdet + _bent(rows, factor, of.A, at.P, theta)
    else:
        dv, second, moved = jax.lax.map(column, directions)
        by_logdet = jax.hessian(lambda t: _against(rows, factor, of.A, at.P, t))(theta)
        d_h = jax.lax.map(push_h, moved)
        by_logdet = by_logdet - traces(factor, H, least.factored, at.P, d_h, exact)
    ratio = least.slopes / least.square
    spread = second / least.square - ratio[:, None] * ratio[None, :]
    hessian = -0.5 * _symmetric(by_logdet + of.count * spread)
    # Curvature that is nothing beside what it is the difference of is rounding, no scale of steps.
    bend = of.count * jnp.abs(jnp.diagonal(second)) / least.square
    size = jnp.abs(jnp.diagonal(by_logdet)) + bend
    lifted = jnp.where(-jnp.diagonal(hessian) < _FLAT * size, _FLAT * size, 0.0)
    hessian = hessian - jnp.diag(lifted)
    return Curvature(hessian, _symmetric(by_logdet), _symmetric(second), dv)


def _symmetric(matrix: Array) -> Array:
    return 0.5 * (matrix + matrix.T)


def _dot(a: Effects, b: Effects) -> Array:
    return add(jnp.sum(x * y) for x, y in zip(a, b, strict=True))
