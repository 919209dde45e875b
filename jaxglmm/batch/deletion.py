"""Fits without some of the rows, from the fit of all."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import AnyArray
from jaxglmm.ascent.climb import advance, begin
from jaxglmm.ascent.estimate import Estimate
from jaxglmm.ascent.optimum import choose_route, ends, estimate, maximise_rows
from jaxglmm.ascent.start import start
from jaxglmm.batch.many import Own, own_rows
from jaxglmm.batch.pool import in_blocks
from jaxglmm.control import Control
from jaxglmm.factor import choose
from jaxglmm.marginal import criterion
from jaxglmm.marginal.inside import constant, inward
from jaxglmm.mode import zeros
from jaxglmm.params import Params, flatten, log_prior
from jaxglmm.rows import Rows


def without(rows: Rows, units: Array, numbers: Array) -> Own:
    """Models without a unit each.

    Args:
        rows: of all.
        units: unit of each row; shape (slot, chunk).
        numbers: the unit that each model lacks; shape (model,).
    """

    def left(number: Array) -> Array:
        return jnp.where(units == number, 0.0, rows.multiplier)

    return Own(y=None, multiplier=jax.vmap(left)(numbers))


def step_many(
    rows: Rows, own: Own, count: AnyArray, control: Control, first: Params, *, width: int
) -> Estimate:
    """One Newton step of each model's ascent, from `first`; arguments as of `maximise_many`.

    The Hessian is that at `first`, and the estimates stand for maxima.
    """
    route, end = choose_route(rows), ends(rows, control)

    def one(own: Own) -> Estimate:
        mine = own_rows(rows, own)
        prepared = route.prepare(mine, first)
        objective = route.objective(mine, prepared)
        # Nothing promised: the mode is found to rounding.
        from_ = begin(objective, prepared.psi, prepared.u)._replace(
            promise=jnp.zeros((), rows.dtype)
        )
        state = advance(objective, from_, end)
        step = state.metric @ state.at.gradient
        at = objective.move(state.at, state.curved, step, 0.5 * state.promise)
        top = state._replace(at=at, certified=jnp.isfinite(state.promise))
        begun = start(rows.random_only)
        return estimate(mine, begun, route.maximum(mine, prepared, top), end)

    return in_blocks(one, own, count, width)


def values_at(rows: Rows, estimates: Estimate, count: AnyArray, width: int) -> Array:
    """What is maximised over all rows, at the parameters of each estimate; shape (model,)."""

    def one(at: Estimate) -> Array:
        inner, u = inward(rows, at.params, zeros(rows.random_only))
        value = criterion.marginal(rows, choose(rows), inner, u) + constant(rows)
        return value + log_prior(rows, at.params)

    return in_blocks(one, estimates, count, width)


def by_weight(rows: Rows, first: Params, *, control: Control) -> Any:
    """Derivatives of the estimates (beta, theta, phi) in the weights of the rows, by the implicit
    function theorem; shape (param, slot, chunk)."""

    def fitted(multiplier: Array) -> Array:
        weighted = dataclasses.replace(rows, multiplier=multiplier)
        return flatten(maximise_rows(weighted, control, first).params)

    psi, pull = jax.vjp(fitted, jnp.broadcast_to(rows.multiplier, rows.y.shape))
    return jax.lax.map(lambda unit: pull(unit)[0], jnp.eye(psi.shape[0], dtype=psi.dtype))
