"""Adaptive Gauss-Hermite quadrature of the marginal log-likelihood, and its gradient.

Levels of the only grouping factor are independent. With J the joint log-density of a level's rows
and its q spherical random effects, u its mode, H = L L' the negative Hessian there and nodes x of
weight w for the standard normal density (K points a dimension),

    v_k = u + T x_k,  T = L'^-1,    t_k = J(v_k) + log w_k + |x_k|^2 / 2,
    l = log sum_k exp(t_k) - log det H / 2                              (summed over the levels),

Liu & Pierce (1994), Biometrika 81:624-629; Pinheiro & Bates (1995), JCGS 4:12-35. Constants are
those of Laplace's approximation, which one node is; the normal law is integrated exactly.

The gradient. With p_k = exp(t_k) / sum, averages E over them and g = grad_u J,

    dl = E dJ(v) + (E g)' du + tr((E g x')' dT) - tr(H^-1 dH) / 2,

d in front of J being the change with params at fixed v. T is a function of H: the last two terms
are -tr(P dH) / 2 for a P that takes the place of H^-1. What is left is Laplace's gradient with this
P and with H^-1 E g added to a, but for dJ, which is averaged over the nodes instead of taken at the
mode. As v is linear in x, the moments E x, E xx' and E r x', r = Z' score, tell all averages.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.arrays import add, minus, plus
from jaxglmm.factor import AbstractFactor, small
from jaxglmm.factor.small import Stack
from jaxglmm.likelihood import log_kernel, partial, value_and_slopes
from jaxglmm.marginal import laplace
from jaxglmm.marginal.hessian import Curved
from jaxglmm.marginal.laplace import Pieces
from jaxglmm.marginal.tangents import map_columns
from jaxglmm.params import Params, flatten, unflatten
from jaxglmm.predictor import (
    Effects,
    Predictors,
    expand,
    fixed_part,
    linear_predictor,
    random_effects,
    random_part,
    reduce,
    relative_factors,
    total,
    transpose_fixed,
    transpose_lambda,
    transpose_random,
)
from jaxglmm.rows import Rows


class Rule(NamedTuple):
    """Nodes x, shape (node, latent), and log w + |x|^2 / 2, shape (node,)."""

    nodes: np.ndarray
    log_weights: np.ndarray


@functools.lru_cache(8)
def rule(num_points: int, num_latent: int) -> Rule:
    """The product of the rules of each dimension."""
    x, log_w = _one_dimension(num_points)
    log_w = log_w + 0.5 * x * x
    nodes = np.stack(np.meshgrid(*[x] * num_latent, indexing="ij"), axis=-1)
    log_weights = functools.reduce(np.add.outer, [log_w] * num_latent)
    return Rule(nodes.reshape(-1, num_latent), log_weights.ravel())


def _one_dimension(num_points: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes x and log w of the standard normal density, weights below the smallest number too.

    Nodes are the eigenvalues of the Jacobi matrix of the orthonormal Hermite polynomials h_j, and
    w = 1 / (K h_(K-1)(x)^2) (Golub & Welsch 1969, Math. Comp. 23:221-230).
    """
    from scipy.linalg import eigh_tridiagonal

    roots = np.sqrt(np.arange(1, num_points))
    x = np.array(eigh_tridiagonal(np.zeros(num_points), roots, eigvals_only=True), float)
    before, here, log_scale = np.zeros_like(x), np.ones_like(x), np.zeros_like(x)
    for j, root in enumerate(roots):
        before, here = here, (x * here - (roots[j - 1] if j else 0.0) * before) / root
        size = np.maximum(np.abs(before), np.abs(here))
        before, here, log_scale = before / size, here / size, log_scale + np.log(size)
    return x, -2.0 * (np.log(np.abs(here)) + log_scale) - np.log(num_points)


def rule_bytes(num_points: int, num_latent: int) -> float:
    """Memory that the nodes take, here and in the program."""
    return 16.0 * (num_latent + 1) * float(num_points) ** num_latent


def most_points(num_latent: int, limit: float) -> int:
    """The largest number of points whose rule takes no more bytes than that."""
    low, high = 1, 2
    while rule_bytes(high, num_latent) <= limit:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if rule_bytes(middle, num_latent) <= limit else (low, middle)
    return low


def _rule(rows: Rows) -> tuple[Array, Array]:
    (grouping,) = rows.groupings
    found = rule(rows.quadrature_points, grouping.num_latent)
    return jnp.asarray(found.nodes, rows.dtype), jnp.asarray(found.log_weights, rows.dtype)


def _spread(factor: AbstractFactor, H: Any) -> tuple[Array, Array]:
    """T as (row, column, level), and log det H."""
    factored: Stack = factor.factorise(H)
    diagonal = small.to_dense(factored)[..., 0, 0]
    q = len(factored)
    unit = jnp.eye(q, dtype=diagonal.dtype)[:, :, None] * jnp.ones_like(diagonal)
    columns = [small.solve_upper(factored, unit[j]) for j in range(q)]
    return jnp.stack(columns, axis=1), factor.logdet(factored)


def _at_node(u: Array, T: Array, x: Array) -> Array:
    """v = u + T x, shape (latent, level)."""
    return u + jnp.tensordot(x, T, axes=((0,), (1,)))


def log_likelihood(rows: Rows, factor: AbstractFactor, params: Params, u: Effects) -> Array:
    """The log-likelihood without the data's constant, about a mode u; differentiable in u."""
    lam = relative_factors(rows, params.theta)
    T, logdet = _spread(factor, laplace.hessian_in_u(rows, factor, params, u))

    def term(node: tuple[Array, Array]) -> Array:
        v = _at_node(u[0], T, node[0])
        eta = linear_predictor(rows, params.beta, random_effects(lam, (v,)))
        by_level = reduce(rows, 0, log_kernel(rows, eta, params.phi))
        return by_level - 0.5 * jnp.sum(v * v, axis=0) + node[1]

    terms = jax.lax.map(term, _rule(rows))
    return jnp.sum(jax.nn.logsumexp(terms, axis=0)) - 0.5 * logdet


class _Averages(NamedTuple):
    """Over the nodes: sums with the weights exp(t - top), then means; level by level."""

    total: Array  # of the weights
    slopes: tuple[Array, ...]  # of log p in eta_0, ..., by row
    own: tuple[Array, ...]  # and in phi_0, ..., summed over a level
    x: Array  # E x, (latent, level)
    xx: Array  # E x x'
    rx: Array  # E r x', (column, latent, level)


class _Sweep(NamedTuple):
    top: Array  # the largest t so far
    sums: _Averages


def _scaled(rows: Rows, by: Array, of: _Averages) -> _Averages:
    wide = expand(rows, 0, by)
    slopes = tuple(wide * slope for slope in of.slopes)
    return jax.tree.map(lambda part: by * part, of._replace(slopes=()))._replace(slopes=slopes)


def _averages(
    rows: Rows, params: Params, lam: tuple[Array, ...], u: Effects, T: Array
) -> tuple[Array, _Averages]:
    """log sum_k exp(t_k) of every level and the means, one node after another."""
    (grouping,), m = rows.groupings, rows.family.num_predictors
    fixed = fixed_part(rows, params.beta)

    def at(x: Array, log_weight: Array) -> tuple[Array, _Averages]:
        v = _at_node(u[0], T, x)
        eta = plus(fixed, random_part(rows, random_effects(lam, (v,))))
        value, slopes = value_and_slopes(rows, eta, params.phi)
        t = reduce(rows, 0, value) - 0.5 * jnp.sum(v * v, axis=0) + log_weight
        (r,) = transpose_random(rows, slopes[:m])
        ones = jnp.ones_like(t)
        return t, _Averages(
            total=ones,
            slopes=tuple(jnp.broadcast_to(slope, rows.y.shape) for slope in slopes[:m]),
            own=tuple(reduce(rows, 0, slope) for slope in slopes[m:]),
            x=x[:, None] * ones,
            xx=(x[:, None] * x)[:, :, None] * ones,
            rx=r[:, None, :] * x[:, None],
        )

    def step(state: _Sweep, node: tuple[Array, Array]) -> tuple[_Sweep, None]:
        t, own = at(*node)
        # The scale of the weights is not part of what they average.
        top = jax.lax.stop_gradient(jnp.maximum(state.top, t))
        before = _scaled(rows, jnp.exp(state.top - top), state.sums)
        return _Sweep(
            top, jax.tree.map(jnp.add, before, _scaled(rows, jnp.exp(t - top), own))
        ), None

    shape = jax.eval_shape(lambda: at(jnp.zeros(grouping.num_latent, rows.dtype), rows.y[0, 0])[1])
    nothing = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shape)
    lowest = jnp.full(nothing.total.shape, 0.5 * jnp.finfo(rows.dtype).min, rows.dtype)
    end, _ = jax.lax.scan(step, _Sweep(lowest, nothing), _rule(rows))
    means = _scaled(rows, 1.0 / end.sums.total, end.sums)
    return end.top + jnp.log(end.sums.total), means


class Averaged(NamedTuple):
    """A point (params, u): Laplace's pieces with P in place of H^-1, and what takes dJ's place."""

    pieces: Pieces
    slopes: Predictors  # E score less that at the mode, by row
    own: tuple[Array, ...]  # the same in phi, summed over the rows
    by_lambda: Array  # E r v' less r u', summed over the levels


def averaged(rows: Rows, factor: AbstractFactor, params: Params, u: Effects) -> Averaged:
    """The point (params, u), u being the mode."""
    lam = relative_factors(rows, params.theta)
    at = laplace.pieces(rows, factor, params, u)
    H = factor.penalise(at.levels.A, lam)
    (T, logdet), pull = jax.vjp(functools.partial(_spread, factor), H)
    logs, mean = _averages(rows, params, lam, u, T)
    m = len(mean.slopes)
    (r,) = transpose_random(rows, mean.slopes)
    # E v, E g and E g x'.
    v = u[0] + jnp.sum(T * mean.x, axis=1)
    g = lam[0].T @ r - v
    Tx = u[0][:, None] * mean.x + jnp.sum(T[:, :, None] * mean.xx, axis=1)
    gx = jnp.tensordot(lam[0].T, mean.rx, axes=1) - Tx
    P = _inverse(pull((gx, -0.5 * jnp.ones_like(logdet)))[0])
    return Averaged(
        pieces=_with(rows, factor, lam, at, P, g)._replace(
            value=jnp.sum(logs) - 0.5 * logdet,
        ),
        slopes=minus(mean.slopes, tuple(at.law[(a,)] for a in range(m))),
        own=tuple(
            jnp.sum(own) - total(rows, partial(at.law, m + k)) for k, own in enumerate(mean.own)
        ),
        by_lambda=jnp.sum((r - at.levels.r[0])[:, None] * u[0], axis=-1)
        + jnp.sum(mean.rx[:, None] * T, axis=(-2, -1)),
    )


def _inverse(slope: Stack) -> Stack:
    """P from the derivative of l in the lower triangle of H: -tr(P dH) / 2 for every dH."""
    return [
        [(-2.0 if i == j else -1.0) * entry for j, entry in enumerate(row)]
        for i, row in enumerate(slope)
    ]


def _with(
    rows: Rows, factor: AbstractFactor, lam: tuple[Array, ...], at: Pieces, P: Stack, g: Array
) -> Pieces:
    """The pieces with that P and what follows from it, g being added to the pull on the mode."""
    h = factor.leverages(rows, factor.spread(P, lam))
    axes = range(len(h))
    third = tuple(
        0.5 * add(h[b][c] * partial(at.law, a, b, c) for b in axes for c in axes) for a in axes
    )
    z_third = transpose_random(rows, third)
    a = factor.solve(at.factored, plus(transpose_lambda(lam, z_third), (g,)))
    levels = at.levels._replace(P=P, third=z_third, a=a)
    s = random_part(rows, random_effects(lam, a))
    return at._replace(h=h, third=third, s=s, levels=levels)


def gradient(rows: Rows, factor: AbstractFactor, params: Params, at: Averaged) -> Params:
    """The total gradient in params of the log-likelihood about the mode."""
    like = laplace.gradient(rows, factor, params, at.pieces)

    def more(theta: Array) -> Array:
        return jnp.sum(relative_factors(rows, theta)[0] * at.by_lambda)

    return Params(
        beta=like.beta + transpose_fixed(rows, at.slopes),
        theta=like.theta + jax.grad(more)(params.theta),
        phi=like.phi + jnp.stack(at.own) if at.own else like.phi,
    )


def hessian(rows: Rows, factor: AbstractFactor, psi: Array, u: Effects) -> Curved:
    """The exact Hessian in psi, and how the mode moves, near a mode u."""

    def along(psi: Array) -> tuple[Array, Effects]:
        moved = laplace.chord(rows, factor, psi, u)
        params = unflatten(psi, rows)
        at = averaged(rows, factor, params, moved)
        return flatten(gradient(rows, factor, params, at)), moved

    def column(direction: Array) -> tuple[Array, Effects]:
        return jax.jvp(along, (psi,), (direction,))[1]

    matrix, du = map_columns(column, jnp.eye(psi.shape[0], dtype=psi.dtype), rows.y.size)
    return Curved(0.5 * (matrix + matrix.T), du)
