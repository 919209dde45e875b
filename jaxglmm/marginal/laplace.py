"""The Laplace approximation of the marginal log-likelihood and its gradient.

    l(params) = sum log p(y | eta(u)) - |u|^2 / 2 - log det H(u) / 2   at the mode u,

exact for the normal law with identity link (Tierney & Kadane 1986; Bates et al. 2015 for the
spherical u). The gradient, with P = H^-1 on the sparsity of H:

    l = J(params, u) - log det H(params, u) / 2,         dJ/du = 0 at the mode,
    dl = dJ - tr(P dH) / 2 + c' du,                      c = -grad_u log det H / 2,
    du = H^-1 d(grad_u J)   =>   c' du = a' d(grad_u J),  a = H^-1 c,

where d is the change with params at fixed u. Rows enter through eta and the law alone: with
s = Z Lambda a, Q = Lambda P Lambda' and leverages h_ab = z_a' Q z_b, their share of dl is that of

    F = log p + s . grad log p + h : hess log p / 2      at fixed s and h,

whose slopes in eta are score - W s + third with third_a = sum_bc h_bc d^3 log p / 2. What is left
is algebra on levels, in A = Z'WZ, r = Z' score and Z' third. Nothing is written per structure or
per law.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import add, plus
from jaxglmm.factor import AbstractFactor
from jaxglmm.likelihood import (
    Partials,
    log_kernel,
    partial,
    partials,
    score,
    score_and_weights,
    weights,
)
from jaxglmm.mode import penalised_gradient
from jaxglmm.params import Params, flatten, unflatten
from jaxglmm.predictor import (
    Effects,
    Predictors,
    linear_predictor,
    random_effects,
    random_part,
    relative_factors,
    shrunk,
    total,
    transpose_fixed,
    transpose_lambda,
    transpose_random,
)
from jaxglmm.rows import Rows


def joint(rows: Rows, params: Params, u: Effects) -> Array:
    """log p(y | u) - |u|^2 / 2 without the data's constant, a scalar."""
    lam = relative_factors(rows, params.theta)
    eta = linear_predictor(rows, params.beta, random_effects(lam, u))
    return total(rows, log_kernel(rows, eta, params.phi)) - 0.5 * _square(rows, u)


def hessian_in_u(rows: Rows, factor: AbstractFactor, params: Params, u: Effects) -> Any:
    """H = Lambda' Z' W Z Lambda + I with the observed W."""
    lam = relative_factors(rows, params.theta)
    eta = linear_predictor(rows, params.beta, random_effects(lam, u))
    return factor.assemble(rows, lam, score_and_weights(rows, eta, params.phi)[1])


def log_likelihood(rows: Rows, factor: AbstractFactor, params: Params, u: Effects) -> Array:
    """The Laplace log-likelihood without the data's constant, at a mode u (differentiable in u)."""
    logdet = factor.logdet(factor.factorise(hessian_in_u(rows, factor, params, u)))
    return joint(rows, params, u) - 0.5 * logdet


class Levels(NamedTuple):
    """What the gradient in theta needs of one point (params, u): nothing of the size of rows."""

    u: Effects
    r: Effects  # Z' score
    A: Any  # Z'WZ
    P: Any  # selected inverse of H
    third: Effects  # Z' third
    a: Effects  # H^-1 Lambda' Z' third


class Pieces(NamedTuple):
    """What a point (params, u) is made of."""

    value: Array
    error: Array  # standard error of `value`, where log det H is an estimate
    law: Partials  # derivatives of log p
    h: tuple[Predictors, ...]  # leverages, by pair of predictors
    third: Predictors
    s: Predictors  # Z Lambda a
    factored: Any
    levels: Levels


def pieces(
    rows: Rows, factor: AbstractFactor, params: Params, u: Effects, order: int = 3
) -> Pieces:
    """Factorise H at (params, u); `order` is that of the law's derivatives kept, at least 3."""
    lam = relative_factors(rows, params.theta)
    eta = linear_predictor(rows, params.beta, random_effects(lam, u))
    law = partials(rows, eta, params.phi, order)
    axes = range(len(eta))
    A = factor.gram(rows, weights(law, len(eta)))
    factored = factor.factorise(factor.penalise(A, lam))
    logdet, P, error = factor.measure(factored)
    h = factor.leverages(rows, factor.spread(P, lam))
    third = tuple(
        0.5 * add(h[b][c] * partial(law, a, b, c) for b in axes for c in axes) for a in axes
    )
    r = transpose_random(rows, tuple(law[(a,)] for a in axes))
    z_third = transpose_random(rows, third)
    a = factor.solve(factored, transpose_lambda(lam, z_third))
    value = total(rows, law[()]) - 0.5 * _square(rows, u) - 0.5 * logdet
    s = random_part(rows, random_effects(lam, a))
    return Pieces(value, 0.5 * error, law, h, third, s, factored, Levels(u, r, A, P, z_third, a))


def _square(rows: Rows, u: Effects) -> Array:
    pairs = zip(u, shrunk(rows, u), strict=True)
    return sum((jnp.sum(v * w) for v, w in pairs), jnp.zeros((), rows.dtype))


def gradient(rows: Rows, factor: AbstractFactor, params: Params, at: Pieces) -> Params:
    """The total gradient in params of the Laplace log-likelihood at the mode."""
    m, num_phi = len(at.s), params.phi.shape[0]
    slopes = slopes_of_rows(at, range(m + num_phi))
    own = [total(rows, slope) for slope in slopes[m:]]
    return Params(
        beta=transpose_fixed(rows, slopes[:m]),
        theta=slope_in_theta(rows, factor, params.theta, at.levels),
        phi=jnp.stack(own) if own else params.phi,
    )


def slopes_of_rows(at: Pieces, variables: range) -> tuple[Array, ...]:
    """dF by predictor and own parameter of the law, row by row."""
    axes = range(len(at.s))
    slopes = []
    for i in variables:
        slope = partial(at.law, i)
        for a in axes:
            slope = slope + at.s[a] * partial(at.law, a, i)
        if i < len(at.s):
            slopes.append(slope + at.third[i])
            continue
        for a in axes:
            for b in axes:
                slope = slope + 0.5 * at.h[a][b] * partial(at.law, a, b, i)
        slopes.append(slope)
    return tuple(slopes)


def slope_in_theta(rows: Rows, factor: AbstractFactor, theta: Array, at: Levels) -> Array:
    """Lambda enters eta, Lambda' r and H: the gradient of t' Lambda u + r' Lambda a - tr(P H) / 2.

    t, the slopes of F in eta pulled back by Z', is r - A Lambda a + Z' third.
    """
    moved = factor.times(at.A, random_effects(relative_factors(rows, theta), at.a))
    pairs = tuple(
        _pair_sums(r - v + z, u) + _pair_sums(r, a)
        for r, v, z, u, a in zip(at.r, moved, at.third, at.u, at.a, strict=True)
    )

    def value(theta: Array) -> Array:
        lam = relative_factors(rows, theta)
        half = 0.5 * jnp.sum(factor.contract(at.P, factor.penalise(at.A, lam)))
        return sum((jnp.sum(L * p) for L, p in zip(lam, pairs, strict=True)), -half)

    return jax.grad(value)(theta)


def _pair_sums(a: Array, b: Array) -> Array:
    """sum over levels of a_i b_j; XLA's CPU product of such long, thin matrices is slow."""
    return jnp.sum(a[:, None, :] * b[None, :, :], axis=-1)


def value_and_gradient(
    rows: Rows, factor: AbstractFactor, psi: Array, u: Effects
) -> tuple[Array, Array]:
    """The log-likelihood (without the data's constant) and its gradient in psi at a mode u."""
    params = unflatten(psi, rows)
    at = pieces(rows, factor, params, u)
    return at.value, flatten(gradient(rows, factor, params, at))


def chord(rows: Rows, factor: AbstractFactor, psi: Array, u: Effects) -> Effects:
    """u + H^-1 grad_u J(psi, u) with H held fixed: u itself at a mode, and right to first order.

    Its derivative in psi and in the data at a mode is that of the mode, whatever u's own is.
    """
    at = jax.lax.stop_gradient
    fixed_rows, fixed_u = jax.tree.map(at, rows), jax.tree.map(at, u)
    params = unflatten(at(psi), fixed_rows)
    fixed = factor.factorise(hessian_in_u(fixed_rows, factor, params, fixed_u))
    params = unflatten(psi, rows)
    lam = relative_factors(rows, params.theta)
    eta = linear_predictor(rows, params.beta, random_effects(lam, fixed_u))
    g = penalised_gradient(rows, lam, score(rows, eta, params.phi), fixed_u)
    return plus(fixed_u, factor.solve(fixed, g))
