"""Responses drawn from a model, one for every row, in the order of the data.

    u ~ N(0, I) or given,   eta = X beta + Z Lambda(theta) u + offset,   y ~ law(eta, phi, weight)

Randomness is counted, not carried along: draw r of a seed has the key fold_in(key(seed), r), and
each purpose its own fold_in of that (the random effects of a grouping factor, the responses). A
draw is the same however many others are made with it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.design import Problem
from jaxglmm.families import AbstractFamily
from jaxglmm.params import Params
from jaxglmm.predictor import Effects, factors_of_groups, random_effects
from jaxglmm.rows import (
    Structure,
    constants_of,
    divides_dispersion,
    structure_of,
    without_weightless,
)

_EFFECTS, _RESPONSE = 0, 1  # purposes of randomness


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Source:
    """What responses are drawn from beside parameters: a problem without its responses.

    Attributes:
        X: fixed-effects design of all linear predictors side by side; shape (obs, fixed).
        weight: the law's own constant: prior weight, trials, or 1; shape (obs,).
        offsets: added to each linear predictor; shape (obs,) or (1,).
        Z: columns of each grouping factor; shape (obs, column) or (1, column).
        codes: levels of each grouping factor; shape (obs,).
        constants: of each grouping factor and term, what its covariance structure is given.
        groupings: the factors' static structure.
        family, predictors: as in `Problem`, static.
    """

    X: Array
    weight: Array
    offsets: tuple[Array, ...]
    Z: tuple[Array, ...]
    codes: tuple[Array, ...]
    constants: tuple[tuple[tuple[Array, ...], ...], ...]
    groupings: tuple[Structure, ...] = dataclasses.field(metadata={"static": True})
    family: AbstractFamily = dataclasses.field(metadata={"static": True})
    predictors: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    @property
    def num_obs(self) -> int:
        """Number of rows."""
        return self.weight.shape[0]

    @property
    def dtype(self) -> Any:
        """The floating type of all arithmetic."""
        return self.X.dtype


def make_source(problem: Problem, *, xp: Any = jnp) -> Source:
    """Of a problem, whose y has a say in the floating type alone; `xp` as in `rows.arrange`.

    Rows of weight zero, which are out of the model, have the predictors of the first row that has
    a weight, as in the fit: what is drawn for them is finite and means nothing.
    """
    problem = without_weightless(problem, xp)
    dtype = xp.result_type(problem.X, problem.y)

    def array(values: Any) -> Any:
        return xp.asarray(values, dtype)

    none = (np.zeros(1),) * (problem.family.num_predictors - 1)
    return Source(
        X=array(problem.X),
        weight=_weight(problem, dtype, xp),
        offsets=tuple(map(array, (problem.offset, *(problem.offsets or none)))),
        Z=tuple(array(g.Z) for g in problem.groupings),
        codes=tuple(xp.asarray(g.codes) for g in problem.groupings),
        constants=tuple(constants_of(g, dtype, xp) for g in problem.groupings),
        groupings=tuple(map(structure_of, problem.groupings)),
        family=problem.family,
        predictors=problem.predictors,
    )


def _weight(problem: Problem, dtype: Any, xp: Any) -> Any:
    """The law's own constant of every row."""
    if problem.family.weight_role == "trials":
        own = xp.asarray(problem.trials, dtype)
    elif divides_dispersion(problem):
        weights = xp.asarray(problem.weights, dtype)
        own = xp.where(weights > 0, weights, xp.ones_like(weights))
    else:
        own = xp.ones(1, dtype)
    return xp.broadcast_to(own, (problem.num_obs,))


def simulate(key: Array, params: Params, problem: Problem, u: Effects | None = None) -> Array:
    """One data set; shape (obs,), a pure function that may be jitted and mapped over.

    Args:
        key: a JAX key.
        params: as of `engine.maximise`, all fixed effects among them.
        problem: its y has no say.
        u: spherical random effects, (latent, level) for each grouping factor; None for new ones.

    Returns:
        Responses as `problem.y` holds them: successes of trials, numbers of categories. Rows of
        weight zero hold numbers that mean nothing (`make_source`).
    """
    return draw(key, params, make_source(problem), u)


def draw(key: Array, params: Params, source: Source, u: Effects | None = None) -> Array:
    """`simulate` from what it needs of a problem."""
    u = new_effects(key, source) if u is None else u
    eta = linear_predictors(params, source, u)
    phi = jnp.asarray(params.phi, source.dtype)
    of_rows = eta if source.family.num_predictors > 1 else eta[0]
    own = jax.random.fold_in(key, _RESPONSE)
    return source.family.sample(own, of_rows, phi, jnp.asarray(source.weight))


def draws(source: Source, params: Params, u: Effects | None, seed: Array, numbers: Array) -> Array:
    """The draws of these numbers; shape (draw, obs)."""

    def numbered(number: Array) -> Array:
        return draw(draw_key(seed, number), params, source, u)

    return jax.vmap(numbered)(numbers)


def draw_key(seed: int | Array, number: int | Array) -> Array:
    """The key of one draw of a seed."""
    return jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), number)


def new_effects(key: Array, source: Source) -> Effects:
    """u ~ N(0, I), (latent, level) for each grouping factor.

    Level by level, so that levels without rows, which only pad, move none of the others'.
    """
    own = jax.random.fold_in(key, _EFFECTS)
    return tuple(
        jax.random.normal(
            jax.random.fold_in(own, k), (grouping.num_levels, grouping.num_latent), source.dtype
        ).T
        for k, grouping in enumerate(source.groupings)
    )


def linear_predictors(params: Params, source: Source, u: Effects) -> tuple[Array, ...]:
    """eta of every linear predictor; shape (obs,) each."""
    beta, theta = (jnp.asarray(v, source.dtype) for v in (params.beta, params.theta))
    b = random_effects(factors_of_groups(source, theta), u)
    parts = []
    for a, offset in enumerate(source.offsets):
        mine = [j for j, feeds in enumerate(source.predictors) if feeds == a]
        fixed = _columns(source.X, mine) @ beta[np.asarray(mine, int)]
        eta = jnp.broadcast_to(offset, (source.num_obs,)) + fixed
        for k, grouping in enumerate(source.groupings):
            columns = grouping.columns_of(a)
            if columns:
                of_rows = _columns(b[k].T, columns)[source.codes[k]]
                eta = eta + jnp.sum(_columns(source.Z[k], columns) * of_rows, axis=1)
        parts.append(eta)
    return tuple(parts)


def _columns(matrix: Array, which: list[int]) -> Array:
    """matrix[:, which], without a copy where that is all of them."""
    return matrix if len(which) == matrix.shape[1] else matrix[:, np.asarray(which, int)]
