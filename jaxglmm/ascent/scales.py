"""What is nothing for a standard deviation: the error of one level's own estimate."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from jaxglmm.likelihood import score_and_weights
from jaxglmm.params import Params
from jaxglmm.predictor import Effects, linear_predictor, random_effects, reduce, relative_factors
from jaxglmm.rows import Rows


def term_scales(rows: Rows, params: Params, u: Effects) -> list[Array]:
    """The root of a level's mean information on each column, the inverse of that error.

    One array of shape (column,) for each term; levels without information do not count.
    """
    lam = relative_factors(rows, params.theta)
    eta = linear_predictor(rows, params.beta, random_effects(lam, u))
    _, W = score_and_weights(rows, eta, params.phi)
    scales: list[Array] = []
    for k, grouping in enumerate(rows.groupings):
        found: list[Array] = []
        for column, a in enumerate(grouping.predictors):
            information = reduce(rows, k, rows.Z[k][column] ** 2 * jnp.abs(W[a][a]))
            levels = jnp.maximum(jnp.sum(information > 0), 1)
            found.append(jnp.sqrt(jnp.sum(information) / levels))
        first = 0
        for term in grouping.terms:
            last = first + term.covariance.dim
            scales.append(jnp.stack(found[first:last]))
            first = last
    return scales
