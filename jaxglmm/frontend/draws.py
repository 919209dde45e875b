"""Simulated responses: a problem and parameters to draws by their numbers, in the caller's units.

Draws are made a block at a time by one compiled program, which maps over the block's lanes. The
number of lanes follows from the problem alone, and draw r is lane r % lanes of block r // lanes
whatever is asked for: its bits depend on the seed and r only.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxglmm.design import Problem
from jaxglmm.errors import InputError
from jaxglmm.frontend import programs
from jaxglmm.frontend.checks import LARGEST_NUMBER, check_choice, check_seed, check_whole
from jaxglmm.frontend.model import ModelData
from jaxglmm.host import is_constant
from jaxglmm.layout import bucket
from jaxglmm.params import Params
from jaxglmm.predictor import Effects
from jaxglmm.simulation import Source, draws, make_source

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM

_NUMBERS = 2**18  # of an array of a block: 2 MiB, which caches hold
_MOST_LANES = 256
_STEPS = 4  # of the loops that find a number, which count as work where a program is optimised
_AT_ONCE = 2**23  # numbers of responses that are in memory together


def draws_of_fit(fit: GLMM, num_draws: int, seed: int, kind: str, first: int) -> np.ndarray:
    """At the estimates; shape (num_draws, rows used)."""
    check_choice("kind", kind, ("population", "conditional"))
    params = finite_estimates(fit)
    u = tuple(fit.estimate.u) if kind == "conditional" else None
    return draws_of(fit.problem, fit.data, params, u, num_draws, seed, first)


def finite_estimates(fit: GLMM) -> Params:
    """The parameters of a fit to draw from; an InputError where some are not finite."""
    params = fit.estimate.params
    if not all(np.isfinite(part).all() for part in (params.beta, params.theta, params.phi)):
        raise InputError(
            f"The estimates are not finite (status '{fit.status}'), so nothing can be simulated "
            f"from this fit. {fit.status_message}"
        )
    return params


def draws_of(
    problem: Problem,
    data: ModelData,
    params: Params,
    u: Effects | None,
    num_draws: int,
    seed: int,
    first: int = 0,
) -> np.ndarray:
    """Draws first, first + 1, ... of a seed, in the units of the formula's response."""
    check_whole("num_draws", num_draws, 1, LARGEST_NUMBER)
    check_whole("first", first, 0, LARGEST_NUMBER - int(num_draws))
    check_seed(seed)
    y = numbered_draws(problem, params, u, int(num_draws), int(seed), int(first))
    return in_units(y, data)


def numbered_draws(
    problem: Problem, params: Params, u: Effects | None, num_draws: int, seed: int, first: int
) -> np.ndarray:
    """The same in the units of `problem.y`; shape (num_draws, obs)."""
    source = _padded(make_source(problem, xp=np))
    lanes = _num_lanes(source)
    fixed = (
        source,
        _as_float(params, source.dtype),
        None if u is None else _padded_effects(u, source),
        np.asarray(seed, np.int64),
    )
    y = np.empty((num_draws, problem.num_obs), source.dtype)
    for block in range(first // lanes, (first + num_draws - 1) // lanes + 1):
        start = block * lanes - first
        own = slice(max(start, 0), min(start + lanes, num_draws))
        which = (np.arange(lanes) + block * lanes).astype(np.uint32)
        with jax.enable_x64(True):
            made = np.asarray(
                programs.run(draws, (*fixed, which), num_nodes=_STEPS * lanes).outputs
            )
        y[own] = made[own.start - start : own.stop - start, : problem.num_obs]
    return y


def _num_lanes(source: Source) -> int:
    """A power of two."""
    width = source.num_obs * (1 + max((g.num_columns for g in source.groupings), default=0))
    return min(_MOST_LANES, 1 << max((_NUMBERS // width).bit_length() - 1, 0))


def _padded(source: Source) -> Source:
    """In bucketed shapes: the last row repeated, and levels without rows."""
    n, size = source.num_obs, bucket(source.num_obs)
    index = np.minimum(np.arange(size), n - 1)

    def in_full(values: Any) -> Any:
        return values if size == n else values[index]

    def by_row(values: Any) -> Any:
        return values[:1] if is_constant(values) else in_full(values)

    return dataclasses.replace(
        source,
        X=by_row(source.X),
        weight=in_full(source.weight),
        offsets=tuple(map(by_row, source.offsets)),
        Z=tuple(map(by_row, source.Z)),
        codes=tuple(map(in_full, source.codes)),
        groupings=tuple(
            dataclasses.replace(g, num_levels=bucket(g.num_levels)) for g in source.groupings
        ),
    )


def _padded_effects(u: Effects, source: Source) -> Effects:
    pairs = zip(u, source.groupings, strict=True)
    return tuple(
        np.pad(np.asarray(v, source.dtype), ((0, 0), (0, g.num_levels - v.shape[1])))
        for v, g in pairs
    )


def _as_float(params: Params, dtype: Any) -> Params:
    return Params(*(np.asarray(part, dtype) for part in (params.beta, params.theta, params.phi)))


def portions(num_draws: int, num_obs: int) -> Iterator[tuple[int, int]]:
    """(first, count) of the draws that are in memory together, whatever their number."""
    step = max(_AT_ONCE // max(num_obs, 1), 1)
    return ((first, min(step, num_draws - first)) for first in range(0, num_draws, step))


def in_units(y: np.ndarray, data: ModelData) -> np.ndarray:
    """Categories for their numbers, proportions where the formula's response is one."""
    if data.categories:
        kinds = {type(category) for category in data.categories}
        labels = np.array(data.categories, dtype=None if len(kinds) == 1 else object)
        return labels[y.astype(int)]
    response = data.spec.response
    if data.trials is not None and response is not None and response.kind == "plain":
        return y / np.maximum(data.trials, 1.0)
    return y
