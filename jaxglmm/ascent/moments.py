"""Standard deviations of the columns of several factors at once, from squares of their scores.

A level l of a column c has the score s_l = sum w z r and the information I_l = sum w z^2 over its
rows, r being the residual on the scale of eta. Random effects of variance tau_d^2 in every column
d give, with residuals of variance rho / w,

    E s_l^2 = rho I_l + sum_d tau_d^2 sum_r I_lr^2,

I_lr = sum w z_c z_d over the rows that have level l of c's factor and level r of d's. Summed over
levels with weights g_l these are as many equations as there are variances: Henderson's method I
(1953, Biometrics 9, 226-252), weighted. A dispersion to be estimated, whose first estimate holds
the random effects too, adds rho and the equation of the squared scores of rows; otherwise rho = 1.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.ascent.shared import Columns, shared_squares
from jaxglmm.predictor import Predictors, by_column, reduce, total
from jaxglmm.rows import Rows

_SWEEPS = 64
_LEAST = 0.02  # of the residuals' variance is that of the rows themselves


class Moments(NamedTuple):
    """Standard deviation of every column, (column,) for each factor, and rho."""

    sds: tuple[Array, ...]
    residual: Array


def joint_moments(rows: Rows, s: Predictors, weights: Predictors) -> Moments:
    """Moment estimates for several factors; columns of one factor count as uncorrelated.

    Args:
        rows: the rows; their law's dispersion is to be estimated if it has one.
        s, weights: score and weight of each row, by predictor, without random effects.
    """
    of = [_columns(rows, k, s, weights) for k in range(len(rows.groupings))]
    matrix, right = _equations(rows, of, s, weights)
    residual, variances = jnp.split(_non_negative(matrix, right), [1])
    ends = list(itertools.accumulate(grouping.num_columns for grouping in rows.groupings))
    by_factor = zip(jnp.split(variances, ends[:-1]), of, strict=True)
    sds = tuple(
        jnp.clip(jnp.sqrt(v), *jax.vmap(lambda i: limits(rows, i))(c.information))
        for v, c in by_factor
    )
    return Moments(sds, jnp.clip(residual[0], _LEAST, 1.0))


def limits(rows: Rows, information: Array) -> tuple[Array, Array]:
    """0.2 of a level's and 5 of a row's error, from a column's information by level."""
    levels = jnp.maximum(jnp.sum(information > 0), 1)
    return 0.2 * _error(information, levels), 5.0 * row_error(rows, information)


def row_error(rows: Rows, information: Array) -> Array:
    """Of a column's effect by one row alone, from the column's information by level."""
    return _error(information, total(rows, (rows.multiplier > 0).astype(rows.dtype)))


def _error(information: Array, number: Array) -> Array:
    """Of a column that no row tells of zero: its standard deviation is left there."""
    mean = jnp.sum(information) / number
    return jnp.where(mean > 0, jnp.maximum(mean, jnp.finfo(information.dtype).tiny) ** -0.5, 0.0)


def _columns(rows: Rows, k: int, s: Predictors, weights: Predictors) -> Columns:
    """A level's weight is 1 / (1 + tau^2 I), tau as if there were no other factor.

    The variance of s^2 goes with its square where scores are normal. Those of few counts are far
    from it, and the few levels of little information whose scores are large would rule: the weight
    is half way to equal ones.
    """
    tiny = jnp.finfo(rows.dtype).tiny

    def sums(z: Array, a: int) -> Array:
        values = jnp.broadcast_arrays(z * s[a], z * z * weights[a], z * weights[a])
        return jax.lax.map(lambda one: reduce(rows, k, one), jnp.stack(values))

    scores, information, constant = jnp.moveaxis(by_column(rows, k, sums), 1, 0)
    alone = _by_column(scores**2 - information) / jnp.maximum(_by_column(information**2), tiny)
    trust = 1.0 / (1.0 + jnp.maximum(alone, 0.0) * information)
    own = _by_column(trust * information**2)
    whole = jnp.stack([total(rows, w) for w in weights])
    whole = jnp.maximum(whole[jnp.asarray(rows.groupings[k].predictors)], tiny)[:, None]
    # |I_l e_l - c_l c / whole|^2 for every level, c being the sums with a constant.
    part, rest = constant**2 / whole, _by_column(constant**2) / whole
    left = _by_column(trust * (information**2 - 2.0 * information * part + part * rest))
    share = left / jnp.maximum(own, tiny)
    return Columns(scores, information, constant, trust, own[:, 0], share[:, 0])


def _by_column(values: Array) -> Array:
    return jnp.sum(values, axis=1, keepdims=True)


def _equations(
    rows: Rows, of: list[Columns], s: Predictors, weights: Predictors
) -> tuple[Array, Array]:
    """Matrix and right-hand side for (rho, tau^2); rho is of the first predictor's rows."""
    weight = jnp.stack([jnp.broadcast_to(w, rows.y.shape) for w in weights])
    blocks = [[jnp.diag(c.own) for _ in of] for c in of]
    for k, m in itertools.combinations(range(len(of)), 2):
        both = shared_squares(rows, (k, m), (of[k], of[m]), weight)
        blocks[k][m], blocks[m][k] = both
    noise = jnp.concatenate([jnp.sum(c.trust * c.information, axis=1) for c in of])
    squares = jnp.concatenate([jnp.sum(c.trust * c.scores**2, axis=1) for c in of])
    first = jnp.asarray([a == 0 for grouping in rows.groupings for a in grouping.predictors])
    corner, top, free = jnp.ones((1,), rows.dtype), jnp.zeros_like(noise), jnp.ones_like(noise[:1])
    if rows.family.num_phi:
        corner, free = total(rows, weights[0])[None], total(rows, s[0] ** 2)[None]
        top = jnp.where(first, _row_squares(rows, weights), 0.0)
    left = jnp.where(first, noise, 0.0)
    matrix = jnp.block([[corner[None], top[None]], [left[:, None], jnp.block(blocks)]])
    return matrix, jnp.concatenate([free, squares - jnp.where(first, 0.0, noise)])


def _row_squares(rows: Rows, weights: Predictors) -> Array:
    """sum (w z)^2 over the rows, for every column."""
    factors = range(len(rows.groupings))
    return jnp.concatenate(
        [by_column(rows, k, lambda z, a: total(rows, (z * weights[a]) ** 2)) for k in factors]
    )


def _non_negative(matrix: Array, right: Array) -> Array:
    """x >= 0 that solves matrix x = right as far as it can, by Gauss-Seidel sweeps.

    No entry of the matrix is negative, so that no x exceeds its own equation's solution without
    the others, however near to singular the matrix is.
    """
    size = right.shape[0]
    diagonal = jnp.maximum(jnp.diag(matrix), jnp.finfo(right.dtype).tiny)

    def step(i: Array, x: Array) -> Array:
        c = i % size
        return x.at[c].set(jnp.maximum(x[c] + (right[c] - matrix[c] @ x) / diagonal[c], 0.0))

    return jax.lax.fori_loop(0, _SWEEPS * size, step, jnp.maximum(right / diagonal, 0.0))
