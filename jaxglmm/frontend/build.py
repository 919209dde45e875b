"""Formula and table to a problem and its labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm import families
from jaxglmm.control import Control
from jaxglmm.design import PSEUDO, Problem
from jaxglmm.errors import InputError
from jaxglmm.frontend.cumulative import with_categories, with_spacing
from jaxglmm.frontend.density import check_density
from jaxglmm.frontend.formula import FormulaSpec, parse
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.further import further_parts
from jaxglmm.frontend.held import Restricted, restrict
from jaxglmm.frontend.matrices import model_data
from jaxglmm.frontend.memory import check_memory
from jaxglmm.frontend.methods import (
    check_method,
    check_pseudo,
    check_quadrature,
    points_of,
    with_dispersion,
)
from jaxglmm.frontend.model import ModelData
from jaxglmm.frontend.priors import with_priors
from jaxglmm.frontend.problem import groupings_of, problem_of
from jaxglmm.frontend.residual import check_residual, without_residual
from jaxglmm.host import copied, everywhere
from jaxglmm.links import AbstractLink
from jaxglmm.pattern import Independent, carry_out, survey

if TYPE_CHECKING:
    from jaxglmm.frontend.columns import Column


@dataclass(frozen=True)
class Labels:
    """Names of what a problem holds as arrays.

    Attributes:
        fixed: names of the columns of X.
        components: of each column of X, the linear predictor it is of: "cond", "disp" or "zi".
        groups: name of each grouping factor.
        columns: names of each factor's random effects.
        column_components: and the linear predictors that these are of.
        levels: levels of each factor, in the order of its codes.
        response: name of the response.
        dropped: columns of X left out because others determine them.
        data: everything else the front end knows.
        table: the columns used, as they came, by name.
        held: parameters held at a value, by name.
        shared: groups of names of parameters that are one and the same.
    """

    fixed: tuple[str, ...]
    components: tuple[str, ...]
    groups: tuple[str, ...]
    columns: tuple[tuple[str, ...], ...]
    column_components: tuple[tuple[str, ...], ...]
    levels: tuple[list[Any], ...]
    response: str
    dropped: tuple[str, ...]
    data: ModelData
    table: dict[str, Any]
    held: dict[str, float]
    shared: tuple[tuple[str, ...], ...]


def build(
    formula: str,
    data: Any,
    family: str | families.AbstractFamily = "gaussian",
    *,
    link: str | float | AbstractLink | None = None,
    weights: Any = None,
    trials: Any = None,
    offset: Any = None,
    method: str = "laplace",
    quadrature_points: int | None = None,
    contrasts: str | Mapping[str, str] = "treatment",
    covariance: Mapping[str, Any] | None = None,
    matrices: Mapping[str, Any] | None = None,
    zero_inflation: str | None = None,
    dispersion: str | None = None,
    thresholds: str = "flexible",
    missing: str = "drop",
    subset: Any = None,
    priors: Mapping[str, Any] | None = None,
    control: Control = Control(),
) -> tuple[Problem, Labels]:
    """The arrays of a model for JAX code, and their names apart.

    Arguments as in `glmm`. Returns a `Problem` of NumPy arrays (a pytree: pass it to jitted
    functions, `replace` its arrays by tracers) and its `Labels`.

    Raises:
        InputError: input that cannot be fitted.
    """
    return assemble(
        parse(formula),
        Frame(data),
        family,
        link=link,
        weights=weights,
        trials=trials,
        offset=offset,
        method=method,
        quadrature_points=quadrature_points,
        contrasts=contrasts,
        covariance=covariance,
        matrices=matrices,
        zero_inflation=zero_inflation,
        dispersion=dispersion,
        thresholds=thresholds,
        missing=missing,
        subset=subset,
        priors=priors,
        control=control,
    )


def assemble(
    spec: FormulaSpec,
    frame: Frame,
    family: str | families.AbstractFamily,
    *,
    link: Any,
    weights: Any,
    trials: Any,
    offset: Any,
    method: str,
    quadrature_points: int | None = None,
    contrasts: str | Mapping[str, str],
    covariance: Mapping[str, Any] | None,
    matrices: Mapping[str, Any] | None,
    zero_inflation: str | None,
    dispersion: str | None,
    thresholds: str,
    missing: str,
    subset: Any,
    priors: Mapping[str, Any] | None,
    control: Control,
    complete: Callable[[families.AbstractFamily, ModelData], ModelData] | None = None,
    whole: bool = True,
) -> tuple[Problem, Labels]:
    """The same of a formula that is parsed; `complete` puts a response into data that have none.

    Where models are made of parts of the table, it is not one as a `whole`: no pattern is sought.
    """
    if not isinstance(control, Control):
        raise InputError(f"control: expected a jaxglmm.Control, got {type(control).__name__}.")
    check_method(method, quadrature_points)
    if covariance is not None and not isinstance(covariance, Mapping):
        raise InputError(
            f"covariance: {covariance!r} is no dict of grouping factors and structures; "
            "write {'g': 'diag'} or diag(...) in the formula."
        )
    law, parts, no_residual = further_parts(
        with_spacing(families.get(family, link), thresholds), dispersion, zero_inflation
    )
    used = model_data(
        spec,
        frame,
        family_support=law.support,
        weight_role=law.weight_role,
        further=parts,
        weights=weights,
        trials=trials,
        offset=offset,
        contrasts=contrasts,
        covariance=covariance,
        matrices=matrices,
        missing=missing,
        subset=subset,
        drawn=complete is not None,
    )
    if complete is not None:
        used = complete(law, used)
    law = _settled(law, used, method, control, no_residual=no_residual)
    named = [a for a in (weights, trials, offset, subset) if isinstance(a, str)]
    how = {"method": method, "quadrature_points": points_of(method, quadrature_points)}
    found = restrict(_problem(law, used, how, control, whole), used, control)
    if method in PSEUDO:
        check_pseudo(found.problem, priors)
    return with_priors(found, used, priors), _labels(used, frame, named, found)


def _settled(
    law: families.AbstractFamily,
    data: ModelData,
    method: str,
    control: Control,
    *,
    no_residual: bool,
) -> families.AbstractFamily:
    """The law as data and method make it; an InputError where it does not go with them."""
    law = with_dispersion(with_categories(law, data), method, control)
    check_reach(law, data)
    check_density(law, data, control.weights == "likelihood")
    if no_residual:
        law = without_residual(law, data)
    check_residual(law, data)
    return law


def _problem(
    law: families.AbstractFamily,
    data: ModelData,
    how: dict[str, Any],
    control: Control,
    whole: bool,
) -> Problem:
    """`how` is the method as `make_problem` takes it."""
    groupings = groupings_of(data)
    if how["method"] == "agq":
        check_quadrature(groupings, data, how["quadrature_points"])
    multiply = control.weights == "likelihood"
    if not whole:
        apart = Independent()
        return problem_of(law, data, groupings, weights_multiply=multiply, pattern=apart, **how)
    codes, num_levels = [g.codes for g in groupings], [g.num_levels for g in groupings]
    columns = [g.num_columns for g in groupings]
    found = survey(codes, num_levels, columns, control.factorisation)
    check_memory(found, data, groupings, law)
    latent = [g.num_latent for g in groupings]
    return problem_of(
        law,
        data,
        groupings,
        weights_multiply=multiply,
        pattern=carry_out(found, codes, num_levels, latent, control.probes),
        **how,
    )


def _labels(data: ModelData, frame: Frame, named: list[str], restricted: Restricted) -> Labels:
    return Labels(
        fixed=data.fixed_names,
        components=data.fixed_components,
        groups=tuple(g.name for g in data.groupings),
        columns=tuple(tuple(n for t in g.terms for n in t.names) for g in data.groupings),
        column_components=tuple(
            tuple(c for t in g.terms for c in t.components) for g in data.groupings
        ),
        levels=tuple(g.levels for g in data.groupings),
        response=data.response_name,
        dropped=data.dropped_columns,
        data=data,
        table={n: _own(frame.column(n), data) for n in dict.fromkeys([*data.used_columns, *named])},
        held=restricted.held,
        shared=restricted.shared,
    )


def _own(column: Column, data: ModelData) -> Column:
    """A column that the caller's later changes to the table do not reach: the fit's own array that
    holds the same numbers, else a copy."""
    if not isinstance(column, np.ndarray):
        return column.copy()
    for held in (data.y, *data.X.T):
        same = held.dtype == column.dtype and held.shape == column.shape
        if same and everywhere(np.equal, held, column):
            return held
    return copied(column)


def check_reach(law: families.AbstractFamily, data: ModelData) -> None:
    """A law of the whole real line with a link onto part of it: the data decide."""
    if law.support != "real" or law.link.range == "real":
        return
    mean = float(np.mean(data.y))
    top = 1.0 if law.link.range == "unit" else np.inf
    if not 0 < mean < top:
        reach = "between 0 and 1" if law.link.range == "unit" else "above 0"
        raise InputError(
            f"link: '{law.link.name}' reaches means {reach} only, but the mean of "
            f"'{data.response_name}' is {mean:.4g}; use link='identity' or transform the response."
        )
