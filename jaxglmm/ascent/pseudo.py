"""Pseudo-likelihood: linear mixed models fitted to working responses until these stand still."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.ascent.estimate import Estimate
from jaxglmm.ascent.maximum import Maximum
from jaxglmm.factor import choose
from jaxglmm.marginal.pseudo import from_working, linearised, log_sigma_share
from jaxglmm.mode import mode_at, predictor_at
from jaxglmm.params import Params
from jaxglmm.predictor import Effects, total
from jaxglmm.rows import Rows


class Limits(NamedTuple):
    """When the iteration ends: eta moves by less than `tolerance` of itself; static."""

    max_iterations: int
    tolerance: float


class Fixed(NamedTuple):
    """Where the iteration ended: `maximum` is that of the linear mixed model `pseudo`."""

    pseudo: Rows
    maximum: Maximum
    iterations: Array


class _State(NamedTuple):
    eta: Array
    behind: Array  # eta of the last maximum
    maximum: Maximum
    change: Array  # of eta, relative
    iterations: Array
    passes: Array


def iterate(rows: Rows, first: Params, fit: Callable[[Rows], Maximum], limits: Limits) -> Fixed:
    """From the mode at `first` to a fixed point of (linearise, fit).

    `fit` starts each linear mixed model from its own moments: a variance that is zero in one of
    them is not for good.
    """
    plain = rows.random_only
    u = mode_at(plain, choose(plain), first)
    begin = eta_at(plain, first, u)

    def fit_at(eta: Array) -> Maximum:
        return fit(linearised(rows, eta))

    def body(state: _State) -> _State:
        end = fit_at(state.eta)
        eta = eta_at(plain, end.params, end.u)
        size = jnp.maximum(_length(rows, eta), _length(rows, state.eta))
        moved = _length(rows, eta - state.eta) / jnp.where(size > 0, size, 1.0)
        passes = state.passes + end.passes
        return _State(eta, state.eta, end, moved, state.iterations + 1, passes)

    def unfinished(state: _State) -> Array:
        return (state.change > limits.tolerance) & (state.iterations < limits.max_iterations)

    none = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(fit_at, begin))
    infinite, zero = jnp.asarray(jnp.inf, rows.dtype), jnp.asarray(0)
    state = _State(begin, begin, none, infinite, zero, zero)
    end = jax.lax.while_loop(unfinished, body, state)
    settled = end.change <= limits.tolerance
    top = end.maximum._replace(passes=end.passes, certified=end.maximum.certified & settled)
    return Fixed(linearised(rows, end.behind), top, end.iterations)


def eta_at(rows: Rows, params: Params, u: Effects) -> Array:
    """eta of every row, at effects u, of a law with one linear predictor."""
    (eta,) = predictor_at(rows, params, u)
    return jnp.broadcast_to(eta, rows.y.shape)


def _length(rows: Rows, eta: Array) -> Array:
    return jnp.sqrt(total(rows, jnp.where(rows.multiplier > 0, eta * eta, 0.0)))


def of_law(rows: Rows, found: Estimate) -> Estimate:
    """The estimate in the law's own phi from that of the linear mixed model."""
    share = log_sigma_share(rows.family)
    own = jnp.arange(found.hessian.shape[0]) >= found.hessian.shape[0] - rows.family.num_phi
    slope = jnp.where(own, share, 1.0).astype(rows.dtype)
    return dataclasses.replace(
        found,
        params=from_working(rows.family, found.params),
        hessian=found.hessian * slope[:, None] * slope[None, :],
    )
