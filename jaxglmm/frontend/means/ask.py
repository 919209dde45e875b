"""Means and slopes of a fit: the question checked, its grid, its estimates, its averages."""

from __future__ import annotations

import dataclasses
import numbers
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import check_level
from jaxglmm.frontend.means.averages import averaging, first_fastest
from jaxglmm.frontend.means.basis import Basis
from jaxglmm.frontend.means.estimates import Estimates
from jaxglmm.frontend.means.grid import Grid, Variable, make_grid
from jaxglmm.frontend.means.nesting import Nesting, described, find_nesting, with_outer
from jaxglmm.frontend.means.question import Asked, Question
from jaxglmm.frontend.means.specs import Specs, check_variable, parse_specs
from jaxglmm.frontend.means.spread import random_deviation
from jaxglmm.frontend.means.table import Means, check_adjust
from jaxglmm.inference.estimable import Linear

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM

_STEP = 1e-3  # of a difference quotient, as a share of the covariate's range


def means(fit: GLMM, q: Question, bias_adjust: bool | float) -> Means:
    """The table of `GLMM.emmeans`."""
    model = Asked(fit, q)
    grid = make_grid(fit, model.components, q.at)
    value, axis = model.value() if model.is_value else (None, None)
    nesting = find_nesting(fit, model.components, grid, q.nesting)
    specs = with_outer(_specs(q, grid, axis), nesting)
    basis = model.basis(grid) if value is None else model.values(grid, value)
    sigma = _sigma(fit, model, q, bias_adjust)
    return Means(_averaged(fit, q, grid, axis, specs, nesting, basis, sigma))


def slopes(fit: GLMM, q: Question, var: str, delta: float | None) -> Means:
    """The table of `GLMM.emtrends`."""
    model = Asked(fit, q)
    grid = make_grid(fit, model.components, q.at)
    check_variable("var", var, grid.names)
    step = _checked_step(grid[var], delta)
    grid = _at_mean(grid, var, q)
    moves = ({var: 0.5 * step}, {var: -0.5 * step})
    axis = None
    if model.is_value or (q.scale == "response" and not model.is_ordinal):
        value, axis = model.value()
        basis = model.values(grid, value, steps=moves, weights=(1.0 / step, -1.0 / step))
    else:
        ahead, behind = (model.basis(grid, moved) for moved in moves)
        basis = ahead._replace(
            rows=(ahead.rows - behind.rows) / step,
            offset=(ahead.offset - behind.offset) / step,
            link=None,
        )
    nesting = find_nesting(fit, model.components, grid, q.nesting)
    specs = with_outer(_specs(q, grid, axis), nesting)
    found = _averaged(fit, q, grid, axis, specs, nesting, basis, 0.0)
    return Means(found.replace(what="slopes", notes=(f"slopes in {var}", *found.notes)))


def _specs(q: Question, grid: Grid, axis: Variable | None) -> Specs:
    """What is asked for; an axis of the values is never averaged over."""
    own = () if axis is None else (axis.name,)
    of, by = parse_specs(q.specs, q.by, (*grid.names, *own))
    return Specs((*(name for name in own if name not in (*of, *by)), *of), by)


def _at_mean(grid: Grid, var: str, q: Question) -> Grid:
    """Slopes in a covariate of two values are taken between them."""
    own = grid[var]
    if not own.counted or var in (q.at or {}):
        return grid
    column = np.asarray(own.column)
    middle = dataclasses.replace(own, values=[float(np.mean(column))], counted=False)
    return dataclasses.replace(
        grid, variables=tuple(middle if v.name == var else v for v in grid.variables)
    )


def _averaged(
    fit: GLMM,
    q: Question,
    grid: Grid,
    axis: Variable | None,
    specs: Specs,
    nesting: Nesting,
    basis: Basis,
    sigma: float,
) -> Estimates:
    variables = (*grid.variables, *([axis] if axis else []))
    names = [v.name for v in variables]
    shape = tuple(len(v.values) for v in variables)
    kept = tuple(names.index(name) for name in (*specs.of, *specs.by))
    frequencies = grid.frequencies(_weights_of_rows(fit))
    if axis is not None:
        frequencies = np.broadcast_to(frequencies.reshape(*frequencies.shape, 1), shape)
    nests = {names.index(inner): tuple(map(names.index, o)) for inner, o in nesting.items()}
    C, existing = averaging(shape, kept, q.weights, frequencies, nests)
    over = [n for n, k in zip(names, shape, strict=True) if k > 1 and names.index(n) not in kept]
    empty = np.any(np.isnan(C), axis=1)
    linear = Linear(basis.rows, basis.b, basis.V, basis.offset, basis.null, basis.freedom).combine(
        np.where(np.isnan(C), 0.0, C)
    )
    linear = dataclasses.replace(linear, L=np.where(empty[:, None], np.nan, linear.L))
    return Estimates(
        labels=_labels(variables, kept, existing),
        by=specs.by,
        linear=linear,
        link=basis.link,
        is_response=q.scale == "response",
        level=check_level(q.level),
        adjust=check_adjust(q.adjust),
        sigma=sigma,
        notes=((f"averaged over {', '.join(over)}",) if over else ()) + described(nesting),
        nesting=nesting,
        alternative=q.alternative,
    )


def _labels(
    variables: tuple[Variable, ...], kept: tuple[int, ...], existing: np.ndarray
) -> dict[str, list[Any]]:
    """Values of each mean that exists, the first variable changing fastest."""
    if not kept:
        return {"mean": ["overall"]}
    places = first_fastest([len(variables[i].values) for i in kept])[:, existing]
    return {
        variables[i].name: [variables[i].values[p] for p in place]
        for i, place in zip(kept, places, strict=True)
    }


def _weights_of_rows(fit: GLMM) -> np.ndarray:
    """What a row counts for: its prior weight; trials count where they were given as weights."""
    data = fit.data
    if data.weights is not None:
        return data.weights
    if data.trials is not None and fit.arguments.get("weights") is not None:
        return np.broadcast_to(data.trials, data.y.shape)
    return np.ones(len(data.y))


def _checked_step(variable: Variable, delta: Any) -> float:
    if variable.is_factor:
        raise InputError(
            f"var: '{variable.name}' is a factor, which has no slope. Use "
            f"fit.emmeans('{variable.name}').contrast()."
        )
    if delta is None:
        column = np.asarray(variable.column, float)
        return _STEP * float(np.ptp(column)) or _STEP
    if not isinstance(delta, numbers.Real) or not 0 < float(delta) < np.inf:
        raise InputError(f"delta: expected a positive number, got {delta!r}.")
    return float(delta)


def _sigma(fit: GLMM, model: Asked, q: Question, bias_adjust: Any) -> float:
    if bias_adjust is False or bias_adjust is None:
        return 0.0
    if q.scale != "response" or model.is_value or model.is_ordinal:
        raise InputError(
            "bias_adjust is for means on the response scale that are taken back by the inverse "
            "link: use it with scale='response' and component 'cond', 'zi' or 'disp'."
        )
    if bias_adjust is True:
        return random_deviation(fit, fit.data.components.index(q.component))
    if not isinstance(bias_adjust, numbers.Real) or not 0 <= float(bias_adjust) < np.inf:
        raise InputError(
            f"bias_adjust: expected True, False or a standard deviation, got {bias_adjust!r}."
        )
    return float(bias_adjust)
