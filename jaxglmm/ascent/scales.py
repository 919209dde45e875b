"""What is nothing for a standard deviation: the error of one level's own estimate."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from jaxglmm.likelihood import score_and_weights
from jaxglmm.params import Params
from jaxglmm.predictor import (
    Effects,
    by_column,
    linear_predictor,
    random_effects,
    reduce,
    relative_factors,
)
from jaxglmm.rows import Rows, by_term


def term_scales(rows: Rows, params: Params, u: Effects) -> list[Array]:
    """The root of a level's mean information on each column, the inverse of that error.

    One array of shape (column,) for each term; levels without information do not count.
    """
    lam = relative_factors(rows, params.theta)
    eta = linear_predictor(rows, params.beta, random_effects(lam, u))
    _, W = score_and_weights(rows, eta, params.phi)
    scales: list[Array] = []
    for k, grouping in enumerate(rows.groupings):
        information = by_column(
            rows, k, lambda z, a, k=k: _information(rows, k, z * z * jnp.abs(W[a][a]))
        )
        first = 0
        for term in grouping.terms:
            last = first + term.covariance.dim
            scales.append(jnp.sqrt(information[first:last]))
            first = last
    return scales


def judged(rows: Rows, theta: Array, scales: list[Array]) -> Array:
    """theta where what is at a bound is sought: entries that are held are moved to where a level's
    own estimate has an error as large as its effect, which is none."""
    if rows.restriction is None:
        return theta
    tiny = jnp.finfo(theta.dtype).tiny
    regular = [theta[:0]] + [
        own.covariance.start(1.0 / jnp.maximum(scale, tiny), own.constants)
        for own, scale in zip(by_term(rows, theta), scales, strict=True)
    ]
    return jnp.where(rows.restriction.held[: rows.num_theta], jnp.concatenate(regular), theta)


def _information(rows: Rows, k: int, values: Array) -> Array:
    """The mean over the levels of factor k that have any."""
    sums = reduce(rows, k, values)
    return jnp.sum(sums) / jnp.maximum(jnp.sum(sums > 0), 1)
