"""Which marginal log-likelihood a model is fitted by: the one place where that is chosen.

All are functions of (params, u) at a mode u of the random effects, without the data's constant.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from jax import Array

from jaxglmm.factor import AbstractFactor
from jaxglmm.marginal import laplace, quadrature
from jaxglmm.marginal.hessian import Curved, hessian_of_pieces
from jaxglmm.mode import find_mode, near, zeros
from jaxglmm.params import Params, flatten, unflatten
from jaxglmm.predictor import Effects
from jaxglmm.rows import Rows


class Found(NamedTuple):
    """Value and total gradient in psi at a mode."""

    value: Array
    gradient: Array
    error: Array  # standard error of `value`, zero where it is exact
    pieces: Any  # for `hessian`


def _by_quadrature(rows: Rows) -> bool:
    return rows.quadrature_points > 1


def log_likelihood(rows: Rows, factor: AbstractFactor, params: Params, u: Effects) -> Array:
    """The value at a mode u (differentiable in u)."""
    of = quadrature if _by_quadrature(rows) else laplace
    return of.log_likelihood(rows, factor, params, u)


def marginal(
    rows: Rows, factor: AbstractFactor, params: Params, begin: Effects | None = None
) -> Array:
    """The same from the data alone: finds the mode, from `begin` or zero; differentiable to any
    order."""
    begin = near(rows, factor, params, zeros(rows) if begin is None else begin)
    u = find_mode(rows, factor, params, begin)
    return log_likelihood(rows, factor, params, u)


def find(rows: Rows, factor: AbstractFactor, psi: Array, u: Effects, order: int = 3) -> Found:
    """Value and gradient at a mode u; `order` of `laplace.pieces`, 4 for a Hessian to follow."""
    params = unflatten(psi, rows)
    if _by_quadrature(rows):
        averaged = quadrature.averaged(rows, factor, params, u)
        slope = flatten(quadrature.gradient(rows, factor, params, averaged))
        return Found(averaged.pieces.value, slope, averaged.pieces.error, averaged.pieces)
    at = laplace.pieces(rows, factor, params, u, order)
    return Found(at.value, flatten(laplace.gradient(rows, factor, params, at)), at.error, at)


def hessian(
    rows: Rows,
    factor: AbstractFactor,
    psi: Array,
    pieces: Any,
    exact: Array | None = None,
) -> Curved:
    """The Hessian where `find` left these pieces; `exact` as in `hessian_of_pieces`."""
    if _by_quadrature(rows):
        return quadrature.hessian(rows, factor, psi, pieces.levels.u)
    return hessian_of_pieces(rows, factor, unflatten(psi, rows), pieces, exact)


def mode(rows: Rows, factor: AbstractFactor, psi: Array, u: Effects) -> Effects:
    """The mode near u, differentiable in psi and data to any order."""
    return find_mode(rows, factor, unflatten(psi, rows), u)


def refined(rows: Rows, factor: AbstractFactor, psi: Array, u: Effects) -> tuple[Array, Array]:
    """Value and gradient at the mode near u: their derivatives in psi and data are total, of any
    order."""
    moved = mode(rows, factor, psi, u)
    if not _by_quadrature(rows):
        return laplace.value_and_gradient(rows, factor, psi, moved)
    found = find(rows, factor, psi, moved)
    return found.value, found.gradient
