"""The verb: `simulate(formula, data, params)`, responses of a model without a fit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxglmm import families
from jaxglmm.design import Problem
from jaxglmm.errors import InputError
from jaxglmm.families import AbstractFamily, Cumulative
from jaxglmm.frontend.categories import categories_by_thresholds
from jaxglmm.frontend.cumulative import with_categories, with_spacing
from jaxglmm.frontend.draws import draws_of
from jaxglmm.frontend.formula import parse
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.further import further_parts
from jaxglmm.frontend.matrices import model_data
from jaxglmm.frontend.model import ModelData
from jaxglmm.frontend.problem import groupings_of, problem_of
from jaxglmm.frontend.residual import NO_RESIDUAL
from jaxglmm.frontend.start import given_params
from jaxglmm.frontend.values import params_by_name
from jaxglmm.links import AbstractLink
from jaxglmm.params import Params
from jaxglmm.pattern import Independent


def simulate(
    formula: str,
    data: Any,
    params: Mapping[str, float] | Params,
    family: str | AbstractFamily = "gaussian",
    *,
    seed: int,
    num_draws: int = 1,
    first: int = 0,
    link: str | float | AbstractLink | None = None,
    weights: Any = None,
    trials: Any = None,
    offset: Any = None,
    zero_inflation: str | None = None,
    dispersion: str | None = None,
    thresholds: str = "flexible",
    contrasts: str | Mapping[str, str] = "treatment",
    covariance: Mapping[str, Any] | None = None,
    matrices: Mapping[str, Any] | None = None,
    missing: str = "drop",
    subset: Any = None,
) -> np.ndarray:
    """Responses of a model with parameters of your own, without a fit.

    y | b ~ family with g(E[y | b]) = X beta + Z b + offset and new random effects b ~ N(0, Sigma)
    in every draw.

    Args:
        formula: as in `glmm`. The response need not be in the data; the trials of `s / n ~` must
            (of `cbind(s, f) ~` both columns, whose sum they are).
        data: predictors and grouping factors.
        params: {name: value} for every parameter of the model, by the names and on the scales of
            the tables of a fit: {"Intercept": 1.0, "x": 0.5, "sd(g, Intercept)": 0.7,
            "corr(g, x, Intercept)": 0.2, "sigma": 1.2}, `zi_x` and `disp_x` for terms of
            `zero_inflation` and `dispersion`; `sd(g)` where g has one standard deviation only.
            Thresholds of an ordinal response by its categories, {"low|mid": -1, "mid|high": 0.5},
            which tell what these are. Or `jaxglmm.Params`, unconstrained values; the structure
            `rr` needs them, and categories are 1, 2, ... then.
        family: as in `glmm`, and so are all arguments behind `first`. Without residual variance
            (`dispersion="~ 0"`) sigma is 1.2207e-4.
        seed: an integer, zero or more. Draw r of a seed is the same however many are asked for.
        num_draws: number of data sets.
        first: number of the first draw.

    Returns:
        Shape (num_draws, rows used), in the units of the response as `GLMM.simulate` has it; rows
        with a missing predictor have no column.

    Raises:
        InputError: parameters that are missing, unknown or out of range, and what `glmm` refuses.
    """
    drawn = drawn_model(
        formula,
        data,
        params,
        family,
        link=link,
        weights=weights,
        trials=trials,
        offset=offset,
        zero_inflation=zero_inflation,
        dispersion=dispersion,
        thresholds=thresholds,
        contrasts=contrasts,
        covariance=covariance,
        matrices=matrices,
        missing=missing,
        subset=subset,
    )
    return draws_of(drawn.problem, drawn.data, drawn.params, None, num_draws, seed, first)


class DrawnModel(NamedTuple):
    """What responses are drawn from: a problem without its responses, its data with the
    categories of an ordinal response, and parameters."""

    problem: Problem
    data: ModelData
    params: Params


def drawn_model(
    formula: str,
    data: Any,
    params: Mapping[str, float] | Params,
    family: str | AbstractFamily,
    *,
    link: Any,
    dispersion: str | None,
    zero_inflation: str | None,
    thresholds: str,
    **arguments: Any,
) -> DrawnModel:
    """The model of `simulate`; `arguments` are those of `model_data`."""
    law, parts, no_residual = further_parts(
        with_spacing(families.get(family, link), thresholds), dispersion, zero_inflation
    )
    used = model_data(
        parse(formula),
        Frame(data),
        family_support=law.support,
        weight_role=law.weight_role,
        further=parts,
        drawn=True,
        **arguments,
    )
    if no_residual:
        law = dataclasses.replace(law, sigma=NO_RESIDUAL)  # type: ignore[call-arg]
    return DrawnModel(*_with_params(law, used, params))


def _with_params(
    law: AbstractFamily, data: ModelData, params: Mapping[str, float] | Params
) -> tuple[Problem, ModelData, Params]:
    """The problem, its data with the categories of an ordinal response, and the parameters."""
    if not isinstance(params, (Mapping, Params)):
        raise InputError(
            "params: expected a dict of names and values, such as {'Intercept': 1.0, 'sigma': 2.0},"
            f" or jaxglmm.Params, got {type(params).__name__}."
        )
    if isinstance(law, Cumulative):
        if isinstance(params, Params):
            flexible = law.thresholds == "flexible"
            number = np.size(params.phi) + 1 if flexible else law.num_categories
            categories: tuple[Any, ...] = tuple(range(1, number + 1))
        else:
            categories = categories_by_thresholds(params)
        data = dataclasses.replace(data, categories=categories)
        law = with_categories(law, data)
    problem = problem_of(law, data, groupings_of(data), pattern=Independent())
    if isinstance(params, Params):
        return problem, data, given_params("params", params, problem)
    return problem, data, params_by_name(params, problem, data)
