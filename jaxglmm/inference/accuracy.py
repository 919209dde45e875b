"""How far quadrature would move the estimates of Laplace's approximation: one Newton step."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxglmm import curvature
from jaxglmm.arrays import AnyArray
from jaxglmm.ascent.maximum import LaplaceRoute
from jaxglmm.ascent.restricted import share_of
from jaxglmm.marginal.inside import constant
from jaxglmm.params import Params, log_prior, unflatten
from jaxglmm.predictor import Effects
from jaxglmm.rows import Rows


class Step(NamedTuple):
    """The log-likelihood at the parameters, and where Newton's step leads from them."""

    log_likelihood: AnyArray
    params: Params


def newton_step(rows: Rows, params: Params, u: Effects) -> Step:
    """Up the log-likelihood of `rows` (with its prior) in the parameters that are free, from
    `params` with a guess u of their mode; the metric is the absolute inverse of the exact Hessian.
    """
    route = LaplaceRoute()
    prepared = route.prepare(rows, params)
    objective = route.objective(rows, prepared)
    at_last = jnp.zeros((), rows.dtype)  # nothing is promised: the mode is found to rounding level
    found = objective.evaluate(prepared.psi, u, at_last, objective.blank)
    curved = objective.curve(found.point, found.pieces, jnp.asarray(True))
    metric: Array = curvature.metric(-curved.hessian)
    psi, share = prepared.psi + metric @ found.point.gradient, share_of(rows, rows.num_fixed)
    value = found.point.value + constant(rows) - log_prior(rows, params)
    return Step(value, unflatten(psi if share is None else share.expand(psi), rows))
