"""What a route to the maximum ends with, and the general route: up the Laplace log-likelihood."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxglmm.ascent.climb import climb
from jaxglmm.ascent.objective import LaplaceObjective
from jaxglmm.factor import choose
from jaxglmm.marginal.inside import inward, joint_hessian, outward
from jaxglmm.mode import zeros
from jaxglmm.params import Params, flatten, unflatten
from jaxglmm.predictor import Effects
from jaxglmm.rows import Rows


class Maximum(NamedTuple):
    """All parameters as such, beta included whatever the method.

    `value` is without the data's constant; gradient and Hessian are in (beta, theta, phi).
    """

    params: Params
    u: Effects
    value: Array
    gradient: Array
    hessian: Array
    certified: Array
    iterations: Array
    passes: Array
    error: Array  # standard error of `value`, zero where it is exact


def by_laplace(rows: Rows, first: Params, tolerance: float, max_iterations: int) -> Maximum:
    """Up from `first`; any law, any structure, any method."""
    factor = choose(rows)
    params, u = inward(rows, first, zeros(rows.random_only))
    end = climb(LaplaceObjective(rows, factor), flatten(params), u, tolerance, max_iterations)
    inner = unflatten(end.at.psi, rows)
    hessian = joint_hessian(rows, factor, inner, end.at.u, end.curved)
    held = jnp.zeros(hessian.shape[0] - end.at.psi.shape[0], rows.dtype)
    params, u = outward(rows, inner, end.at.u)
    return Maximum(
        params=params,
        u=u,
        value=end.at.value,
        gradient=jnp.concatenate([held, end.at.gradient]),
        hessian=hessian,
        certified=end.certified,
        iterations=end.iterations,
        passes=end.passes,
        error=end.at.error,
    )
