"""The model of a fit with other responses: one, or many."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.families import Gaussian
from jaxglmm.frontend.batch import Batch
from jaxglmm.frontend.build import check_reach
from jaxglmm.frontend.checks import refuse_values
from jaxglmm.frontend.columns import convert
from jaxglmm.frontend.density import check_density
from jaxglmm.frontend.fitting import fit as fit_problem
from jaxglmm.frontend.many.models import Models, check_chunk
from jaxglmm.frontend.many.responses import fit_models
from jaxglmm.frontend.many.source import own_source, source
from jaxglmm.frontend.many.units import Units, units_of
from jaxglmm.frontend.ordinal import check_filled
from jaxglmm.frontend.residual import without_residual
from jaxglmm.frontend.response import warn_of_parts
from jaxglmm.frontend.tokens import column_name, find

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM


def refit_many(
    fit: GLMM,
    Y: Any,
    *,
    weights: Any,
    offset: Any,
    chunk: int | None,
    modes: bool,
    progress: bool | None,
) -> Batch:
    """The design of a fit with many responses."""
    check_chunk(chunk)
    n, law = fit.problem.num_obs, fit.family
    units = _units(fit)
    as_trials = units.share and law.support == "binomial" and law.weight_role == "trials"
    responses = source("Y", Y, n)
    models = Models(
        "Y",
        units,
        responses,
        None if weights is None else own_source("weights", weights, responses),
        None if offset is None else own_source("offset", offset, responses),
        weights_are_trials=as_trials and fit.arguments.get("trials") is None,
    )
    solution = fit_models(
        fit.problem,
        models,
        fit.arguments["control"],
        chunk=chunk,
        modes=modes,
        progress=progress,
    )
    return Batch(fit.formula, models.responses.names, fit.problem, fit.labels, solution)


def refit(fit: GLMM, y: Any) -> GLMM:
    """The design of a fit with another response."""
    units, data = _units(fit), fit.data
    given = _column(y, fit.problem.num_obs)
    values = units.numbers("y", given[None])[0]
    wrong = np.isnan(values)
    if wrong.any():
        remedy = "refit_many takes NaN for a missing response."
        refuse_values("y", "must be finite", values, wrong, np.arange(len(values)), remedy)
    wrong = units.wrong(values, units.trials)
    if wrong.any():
        must, remedy = units.demand
        refuse_values("y", must, given, wrong, np.arange(len(values)), remedy)
    new, far = units.engine(values, units.trials, exact=False)
    if far:
        warn_of_parts(stacklevel=3)
    law, data = fit.family, dataclasses.replace(data, y=new)
    if data.categories:
        check_filled(data.response_name, new[fit.counted].astype(int), data.categories)
    control = fit.arguments["control"]
    check_reach(law, data)
    check_density(law, data, control.weights == "likelihood")
    if isinstance(law, Gaussian) and law.sigma is not None and fit.arguments["dispersion"]:
        law = without_residual(law, data)
    problem = fit.problem.replace(y=new, family=law)
    formula, table = _written(fit, values, new)
    return dataclasses.replace(
        fit,
        formula=formula,
        problem=problem,
        labels=dataclasses.replace(fit.labels, data=data, table=table),
        solution=fit_problem(problem, control, None),
    )


def _column(y: Any, num_rows: int) -> np.ndarray:
    """One value a row, of any kind of column."""
    shape = np.shape(y)
    if shape != (num_rows,):
        raise InputError(
            f"y has shape {shape}, but must have shape ({num_rows},): one value for each row that "
            "the fit used. refit_many takes many responses."
        )
    column = convert(y, "y")
    return column if isinstance(column, np.ndarray) else np.asarray(column, object)


def _units(fit: GLMM) -> Units:
    units = units_of(fit.problem, fit.data)
    response = fit.data.spec.response
    name = None if response is None else column_name(response.text)
    levels = getattr(fit.labels.table.get(name or ""), "categories", ())
    if units.support == "binomial" and units.share and len(levels) == 2:
        return dataclasses.replace(units, labels=tuple(levels))
    return units


def _written(fit: GLMM, values: np.ndarray, y: np.ndarray) -> tuple[str, dict[str, Any]]:
    """The formula and the table by which the new fit is made again when it is loaded.

    A function of columns on the left-hand side becomes a column by its own name.
    """
    response, data = fit.data.spec.response, fit.data
    assert response is not None
    codes, parts = [response.text], [values]
    if data.trials is not None and response.kind == "ratio":
        codes, parts = [response.expressions[0]], [y]
    if data.trials is not None and response.kind == "cbind":
        codes, parts = list(response.expressions), [y, data.trials - y]
    names = [column_name(code) or code.replace("`", "") for code in codes]
    columns = {name: _in_table(fit, part) for name, part in zip(names, parts, strict=True)}
    table = {**fit.labels.table, **columns}
    if all(column_name(code) for code in codes):
        return fit.formula, table
    left = [
        code if column_name(code) else f"`{name}`" for code, name in zip(codes, names, strict=True)
    ]
    if response.kind == "cbind":
        left = [f"cbind({left[0]}, {left[1]})"]
    elif codes[0] != response.text:
        left = [f"{left[0]} / {response.expressions[1]}"]
    tilde = find(fit.formula, 0, len(fit.formula), "~")[0]
    return f"{left[0]} {fit.formula[tilde:]}", table


def _in_table(fit: GLMM, values: np.ndarray) -> Any:
    """A column of the caller's table with these values in the rows used."""
    data = fit.data
    if not data.categories:
        column = np.full(data.num_rows, np.nan)
        column[data.rows] = values
        return column
    import pandas as pd

    codes = np.full(data.num_rows, -1)
    codes[data.rows] = values
    return pd.Categorical.from_codes(codes.tolist(), categories=pd.Index(data.categories))
