"""Restricted fixed effects leave the problem: columns of equal ones are added, held ones offsets.

With beta = c + M free, eta = (X M) free + (offset + X c): a problem like any other, whatever the
method and the route to its maximum. Restricted theta and phi are for `restricted`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxglmm.arrays import AnyArray
from jaxglmm.ascent.estimate import Estimate
from jaxglmm.design import Problem
from jaxglmm.params import Params
from jaxglmm.restriction import HELD, all_free


def reduce(problem: Problem, xp: Any = jnp) -> Problem:
    """The problem in its free fixed effects; `xp` as in `rows.arrange`."""
    restriction = problem.restriction
    if restriction is None or restriction.beta.trivial:
        return problem
    beta = restriction.beta
    feeds = np.asarray(problem.predictors)
    further = problem.offsets
    if beta.held[feeds > 0].any():
        number = problem.family.num_predictors - 1
        known = further or (xp.zeros_like(problem.y),) * number
        further = tuple(_offset(problem, known[a - 1], a, xp) for a in range(1, number + 1))
    first = [beta.index.index(place) for place in range(beta.num_free)]
    return problem.replace(
        X=_added(problem.X, beta.index, xp),
        offset=_offset(problem, problem.offset, 0, xp),
        offsets=further,
        predictors=tuple(problem.predictors[column] for column in first),
        restriction=dataclasses.replace(restriction, beta=all_free(beta.num_free)),
        prior=None if problem.prior is None else problem.prior.through(beta.matrix, beta.values),
    )


def _added(X: AnyArray, index: tuple[int, ...], xp: Any) -> AnyArray:
    """X M: the sums of the columns that share a coefficient."""
    sums = [
        sum(X[:, column] for column, place in enumerate(index) if place == k)
        for k in range(max(index, default=HELD) + 1)
    ]
    return xp.stack(sums, axis=1) if sums else X[:, :0]


def _offset(problem: Problem, given: AnyArray, predictor: int, xp: Any) -> AnyArray:
    """The offset of a linear predictor, with what its held columns add."""
    assert problem.restriction is not None
    beta = problem.restriction.beta
    held = np.flatnonzero(beta.held & (np.asarray(problem.predictors) == predictor))
    if not len(held):
        return given
    values = xp.asarray(beta.values, problem.X.dtype)
    return given + problem.X[:, held] @ values[held]


def reduce_params(problem: Problem, params: Params) -> Params:
    """Parameters of `reduce(problem)` near those of the problem."""
    if problem.restriction is None or problem.restriction.beta.trivial:
        return params
    return dataclasses.replace(params, beta=problem.restriction.beta.collapse(params.beta))


def expand(problem: Problem, estimate: Estimate) -> Estimate:
    """The estimate of the problem from that of `reduce(problem)`; its Hessian stays as it is."""
    if problem.restriction is None or problem.restriction.beta.trivial:
        return estimate
    beta = problem.restriction.beta.expand(estimate.params.beta)
    return dataclasses.replace(estimate, params=dataclasses.replace(estimate.params, beta=beta))
