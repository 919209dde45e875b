"""The Laplace approximation of the marginal log-likelihood and its gradient.

    l(params) = sum log p(y | eta(u)) - |u|^2 / 2 - log det H(u) / 2   at the mode u,

exact for the normal law with identity link (Tierney & Kadane 1986; Bates et al. 2015 for the
spherical u). The gradient, with P = H^-1 on the sparsity of H:

    l = J(params, u) - log det H(params, u) / 2,         dJ/du = 0 at the mode,
    dl = dJ - tr(P dH) / 2 + c' du,                      c = -grad_u log det H / 2,
    du = H^-1 d(grad_u J)   =>   c' du = a' d(grad_u J),  a = H^-1 c,

where d is the change with params at fixed u. As H enters through W(eta) and Lambda only, all of it
is the gradient of one sum over rows: log p + s . grad log p + h : hess log p / 2 with s = Z Lambda a
and h the leverages (the derivative of tr(P H) in W), P, a and h held fixed. Nothing is written per
structure or per law.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.factor import AbstractFactor
from jaxglmm.likelihood import (
    augmented,
    half_curvature,
    log_kernel,
    score,
    score_and_weights,
)
from jaxglmm.mode import find_mode, penalised_gradient, zeros
from jaxglmm.params import Params, flatten, unflatten
from jaxglmm.predictor import (
    Effects,
    Predictors,
    linear_predictor,
    random_effects,
    random_part,
    relative_factors,
    transpose_random,
)
from jaxglmm.rows import Rows


def joint(rows: Rows, params: Params, u: Effects) -> Array:
    """log p(y | u) - |u|^2 / 2 without the data's constant, a scalar."""
    lam = relative_factors(rows, params.theta)
    eta = linear_predictor(rows, params.beta, random_effects(lam, u))
    return jnp.sum(log_kernel(rows, eta, params.phi)) - 0.5 * _square(rows, u)


def hessian_in_u(rows: Rows, factor: AbstractFactor, params: Params, u: Effects) -> Any:
    """H = Lambda' Z' W Z Lambda + I with the observed W."""
    lam = relative_factors(rows, params.theta)
    eta = linear_predictor(rows, params.beta, random_effects(lam, u))
    return factor.assemble(rows, lam, score_and_weights(rows, eta, params.phi)[1])


def log_likelihood(rows: Rows, factor: AbstractFactor, params: Params, u: Effects) -> Array:
    """The Laplace log-likelihood without the data's constant, at a mode u (differentiable in u)."""
    logdet = factor.logdet(factor.factorise(hessian_in_u(rows, factor, params, u)))
    return joint(rows, params, u) - 0.5 * logdet


def marginal(rows: Rows, factor: AbstractFactor, params: Params) -> Array:
    """The same from the data alone: finds the mode; differentiable to any order."""
    u = find_mode(rows, factor, params, zeros(rows))
    return log_likelihood(rows, factor, params, u)


class Pieces(NamedTuple):
    """What the gradient holds fixed of one point (params, u)."""

    value: Array
    score: Predictors
    W: tuple[Predictors, ...]
    P: Any  # selected inverse of H
    h: tuple[Predictors, ...]  # leverages, by pair of predictors
    a: Effects  # H^-1 c


def pieces(rows: Rows, factor: AbstractFactor, params: Params, u: Effects) -> Pieces:
    """Factorise H at (params, u) and derive what the gradient holds fixed."""
    lam = relative_factors(rows, params.theta)
    eta = linear_predictor(rows, params.beta, random_effects(lam, u))
    score_, W = score_and_weights(rows, eta, params.phi)
    H, pull = jax.vjp(lambda weights: factor.assemble(rows, lam, weights), W)
    factored = factor.factorise(H)
    P = factor.selected_inverse(factored)
    (h,) = pull(jax.grad(factor.contract, argnums=1)(P, H))
    # c = -grad_u tr(P H) / 2, and -dW = d hess log p.
    third = jax.grad(lambda e: half_curvature(rows, e, params.phi, h))(eta)
    c = tuple(L.T @ v for L, v in zip(lam, transpose_random(rows, third), strict=True))
    value = jnp.sum(log_kernel(rows, eta, params.phi)) - 0.5 * _square(rows, u)
    value = value - 0.5 * factor.logdet(factored)
    return Pieces(value, score_, W, P, h, factor.solve(factored, c))


def _square(rows: Rows, u: Effects) -> Array:
    return sum((jnp.sum(v * v) for v in u), jnp.zeros((), rows.dtype))


def gradient(rows: Rows, factor: AbstractFactor, params: Params, u: Effects, at: Pieces) -> Params:
    """The total gradient in params of the Laplace log-likelihood at the mode u."""
    s = random_part(rows, random_effects(relative_factors(rows, params.theta), at.a))

    def total(p: Params) -> Array:
        lam = relative_factors(rows, p.theta)
        eta = linear_predictor(rows, p.beta, random_effects(lam, u))
        value = augmented(rows, eta, p.phi, s, at.h)
        # Lambda enters H and grad_u J beside eta: once more, at fixed W and score.
        value = value - 0.5 * factor.contract(at.P, factor.assemble(rows, lam, at.W))
        pulled = penalised_gradient(rows, lam, at.score, u)
        return value + sum(jnp.sum(x * y) for x, y in zip(at.a, pulled, strict=True))

    return jax.grad(total)(params)


def value_and_gradient(
    rows: Rows, factor: AbstractFactor, psi: Array, u: Effects
) -> tuple[Array, Array]:
    """The log-likelihood (without the data's constant) and its gradient in psi at a mode u."""
    params = unflatten(psi, rows)
    at = pieces(rows, factor, params, u)
    return at.value, flatten(gradient(rows, factor, params, u, at))


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
    return tuple(v + d for v, d in zip(fixed_u, factor.solve(fixed, g), strict=True))


def refined(
    rows: Rows, factor: AbstractFactor, psi: Array, u: Effects
) -> tuple[Array, Array]:
    """`value_and_gradient` along the mode's own path: its derivatives in psi and data are total."""
    return value_and_gradient(rows, factor, psi, chord(rows, factor, psi, u))


def hessian(rows: Rows, factor: AbstractFactor, psi: Array, u: Effects) -> Array:
    """The exact Hessian in psi at a mode u: the total derivative of the gradient."""
    _, pushforward = jax.linearize(lambda x: refined(rows, factor, x, u)[1], psi)
    matrix = _columns(pushforward, psi, rows.y.size)
    return 0.5 * (matrix + matrix.T)


def _columns(pushforward: Any, psi: Array, num_rows: int) -> Array:
    """The matrix of a linear map, all columns at once unless that would fill memory."""
    eye = jnp.eye(psi.shape[0], dtype=psi.dtype)
    at_once = max(1, min(psi.shape[0], 2_000_000 // max(num_rows, 1)))
    return jax.lax.map(pushforward, eye, batch_size=at_once)
