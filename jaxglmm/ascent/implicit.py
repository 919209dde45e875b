"""How a maximum moves with the data: the implicit function theorem.

At the maximum G(psi, rows) = 0, so dpsi = -(dG/dpsi)^-1 (dG at fixed psi), and u moves along with
its mode. All of this is a function of the data and the estimates, whose tangents it gives: it is
differentiated once more as any other function, to any order. The matrix is solved with as it is
known at the maximum, to five digits or more, and differentiated as the derivative of G that it is.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm import curvature
from jaxglmm.ascent.estimate import Estimate
from jaxglmm.ascent.restricted import share_of
from jaxglmm.factor import AbstractFactor, choose
from jaxglmm.marginal import criterion
from jaxglmm.marginal.inside import constant, inward, outward, places
from jaxglmm.params import flatten, free_params, log_prior, unflatten
from jaxglmm.predictor import Effects
from jaxglmm.rows import Rows

_FLAT = 1e-9  # eigenvalue of the scaled Hessian along which nothing moves


def tangent(rows: Rows, found: Estimate, d_rows: Rows) -> Estimate:
    """The tangents of parameters, effects and log-likelihood; zero for all others."""
    factor = choose(rows)
    params, u = inward(rows, found.params, found.u)
    psi = flatten(params)
    share, d_share = share_of(rows, rows.num_fixed), share_of(d_rows, rows.num_fixed)
    d_held = None if d_share is None else d_share.values
    d_value, d_gradient = _at_fixed_psi(rows, factor, psi, u, (d_rows, d_held))
    d_free = _solved(rows, factor, psi, u, found.hessian, d_gradient)
    d_psi = d_free if share is None else d_held + share.push(d_free)
    d_psi = jnp.where(free_params(rows, psi), d_psi, 0.0)
    _, d_u = jax.jvp(lambda r, x: criterion.mode(r, factor, x, u), (rows, psi), (d_rows, d_psi))
    moved, d_u = outward(rows, unflatten(d_psi, rows), d_u)
    all_ = jax.tree.map(_zero, found)
    if found.log_prior is not None:
        d_prior = jax.jvp(_log_prior, (rows, psi), (d_rows, d_psi))[1]
        all_, d_value = dataclasses.replace(all_, log_prior=d_prior), d_value - d_prior
    return dataclasses.replace(all_, params=moved, log_likelihood=d_value, u=d_u)


def _at_fixed_psi(
    rows: Rows, factor: AbstractFactor, psi: Array, u: Effects, tangents: tuple[Rows, Array | None]
) -> tuple[Array, Array]:
    """Tangents of what is maximised and its gradient, the free parameters being where they are."""
    d_rows, d_held = tangents

    def at(r: Rows, psi: Array) -> tuple[Array, Array]:
        value, gradient = _gradient(r, factor, psi, u)
        return value + constant(r), gradient

    if d_held is None:
        return jax.jvp(lambda r: at(r, psi), (rows,), (d_rows,))[1]
    return jax.jvp(at, (rows, psi), (d_rows, d_held))[1]


def _solved(
    rows: Rows, factor: AbstractFactor, psi: Array, u: Effects, hessian: Array, d_gradient: Array
) -> Array:
    """-(dG/dpsi)^-1 dG in the parameters that are free."""
    share = share_of(rows, rows.num_fixed)
    d_free = d_gradient if share is None else share.pull(d_gradient)
    # A beta inside is no unknown of G: the inverse in all parameters has that in psi as a block.
    own = places(rows, d_free.shape[0])
    inverse = curvature.pseudo_inverse(curvature.spectrum(-hessian), _FLAT)[np.ix_(own, own)]

    def times(v: Array) -> Array:
        moved = v if share is None else share.push(v)
        _, bent = jax.jvp(lambda x: _gradient(rows, factor, x, u)[1], (psi,), (moved,))
        return -bent if share is None else -share.pull(bent)

    return jax.lax.custom_linear_solve(times, d_free, lambda _, g: inverse @ g, symmetric=True)


def _gradient(rows: Rows, factor: AbstractFactor, psi: Array, u: Effects) -> tuple[Array, Array]:
    """What is maximised, and its gradient G."""
    value, gradient = criterion.refined(rows, factor, psi, u)
    if rows.prior is not None:
        more, slope = jax.value_and_grad(_log_prior, argnums=1)(rows, psi)
        value, gradient = value + more, gradient + slope
    return value, gradient


def _log_prior(rows: Rows, psi: Array) -> Array:
    return log_prior(rows, unflatten(psi, rows))


def _zero(x: Array) -> Any:
    if jnp.issubdtype(x.dtype, jnp.inexact):
        return jnp.zeros_like(x)
    return np.zeros(x.shape, jax.dtypes.float0)
