"""Means that are no linear functions: by the delta method, one estimate a cell of the grid."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxglmm.frontend.means.basis import Basis, Block, blocks, null_of, offsets
from jaxglmm.frontend.means.grid import Grid
from jaxglmm.inference.estimable import estimable
from jaxglmm.inference.freedom import Known
from jaxglmm.links import RANGES, AbstractLink

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM

Value = Callable[[Any, Any], Any]  # of the linear predictors (a tuple) and phi: (cell, ...)


def on_response(
    link: AbstractLink, eta: np.ndarray, sigma: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Means h(eta) + sigma^2 h''(eta) / 2 and their derivatives, elementwise.

    The second term is that of a Taylor expansion of E h(eta + b), Var(b) = sigma^2: emmeans'
    bias adjustment.
    """

    def adjusted(x: jax.Array) -> jax.Array:
        mean = link.mean(x)
        return mean + 0.5 * sigma**2 * _slope(lambda z: _slope(link.mean, z), x) if sigma else mean

    with jax.enable_x64(True):
        x = jnp.asarray(np.asarray(eta, float))
        return np.asarray(adjusted(x)), np.asarray(_slope(adjusted, x))


def limit_on_response(
    link: AbstractLink, limit: np.ndarray, slope: np.ndarray, sigma: float = 0.0
) -> np.ndarray:
    """`on_response` of limits; an infinite one is that end of the means' range to which they
    go with such a slope."""
    low, high = RANGES[link.range]
    with np.errstate(invalid="ignore"):
        end = np.where(limit * slope > 0, high, low)
    own = on_response(link, np.where(np.isinf(limit), 0.0, limit), sigma)[0]
    return np.where(np.isinf(limit), end, own)


def _slope(function: Callable[[Any], Any], x: jax.Array) -> jax.Array:
    return jax.jvp(function, (x,), (jnp.ones_like(x),))[1]


def value_basis(
    fit: GLMM,
    grid: Grid,
    value: Value,
    *,
    freedom: Known,
    offset: float | None,
    with_phi: bool,
    steps: tuple[dict[str, float], ...] = ({},),
    weights: tuple[float, ...] = (1.0,),
) -> Basis:
    """Any function of all linear predictors and the law's parameters, in the cells of a grid.

    Its value at the estimates and the covariance J V J', J by autodiff; phi has no error unless
    `with_phi`. `steps` move covariates of the grid, and the values are added up with `weights`:
    difference quotients.
    """
    total, jacobian, lost = _first(fit, grid, value, offset, steps[0], weights[0])
    for step, weight in zip(steps[1:], weights[1:], strict=True):
        more = _first(fit, grid, value, offset, step, weight)
        total, jacobian = total + more[0], jacobian + more[1]
    V = whole_covariance(fit, freedom.covariance, with_phi)
    unknown = np.isnan(np.diagonal(V))
    known = np.where(unknown[:, None] | unknown, 0.0, V)
    own = jacobian @ known @ jacobian.T
    touched = np.any((jacobian != 0) & unknown, axis=1)
    own[touched, :] = own[:, touched] = np.nan
    number = len(total)
    return Basis(
        rows=np.eye(number),
        offset=np.zeros(number),
        b=np.where(lost, 0.0, total),
        V=own,
        null=np.eye(number)[:, lost],
        freedom=freedom,
        link=None,
    )


def whole_covariance(fit: GLMM, covariance: np.ndarray, with_phi: bool) -> np.ndarray:
    """Of (beta, phi), given that of beta; zero for phi unless `with_phi`."""
    p, num_phi = len(covariance), np.asarray(fit.estimate.params.phi).shape[0]
    joint = fit.joint_covariance
    V = np.zeros((p + num_phi, p + num_phi))
    if with_phi and num_phi:
        order = np.r_[np.arange(p), np.arange(len(joint) - num_phi, len(joint))]
        V = joint[np.ix_(order, order)].copy()
    V[:p, :p] = covariance
    return V


def _first(
    fit: GLMM, grid: Grid, value: Value, offset: float | None, step: dict[str, float], weight: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """weight times the values (cell,), their Jacobian in (beta, phi), and which are not estimable;
    further axes of the values are laid out behind the cells."""
    columns = grid.columns(fit.data, step)
    beta = np.asarray(fit.estimate.params.beta)
    design = blocks(fit.data, columns)
    eta, lost = [], np.zeros(columns.num_rows, bool)
    for component, block in design.items():
        own = offsets(fit, columns, component, offset if component == "cond" else None)
        eta.append(block.rows[:, block.kept] @ beta[block.places] + own)
        lost |= ~estimable(*null_of(fit, component, block.rows))
    phi = np.asarray(fit.estimate.params.phi)
    values, by_eta, by_phi = _derivatives(value, eta, phi)
    shape = values.shape
    jacobian = np.zeros((*shape, len(beta) + len(phi)))
    for slope, block in zip(by_eta, design.values(), strict=True):
        jacobian[..., block.places] = slope[..., None] * _spread(block, len(shape))
    jacobian[..., len(beta) :] = by_phi
    number = math.prod(shape)
    apart = np.repeat(lost, number // max(1, len(lost)))
    return weight * values.ravel(), weight * jacobian.reshape(number, -1), apart


def _spread(block: Block, num_axes: int) -> np.ndarray:
    """Columns of a component with coefficients, with axes for those of the values."""
    rows = block.rows[:, block.kept]
    return rows.reshape(len(rows), *(1,) * (num_axes - 1), rows.shape[1])


def _derivatives(
    value: Value, eta: list[np.ndarray], phi: np.ndarray
) -> tuple[np.ndarray, list[np.ndarray], np.ndarray]:
    """Values, derivatives by each predictor of the same shape, and by phi along a last axis."""
    with jax.enable_x64(True):
        predictors = tuple(jnp.asarray(e) for e in eta)
        own = jnp.asarray(phi)
        by_eta = []
        for a in range(len(predictors)):
            along = tuple(
                jnp.ones_like(e) if k == a else jnp.zeros_like(e) for k, e in enumerate(predictors)
            )
            by_eta.append(jax.jvp(lambda e: value(e, own), (predictors,), (along,))[1])
        by_phi = jax.jacfwd(lambda x: value(predictors, x))(own)
        values = np.asarray(value(predictors, own))
        return values, [np.asarray(d) for d in by_eta], np.asarray(by_phi)
