"""The verb: `fit_many(formula, data, responses)`, or `fit_many(formula, data, by=)`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

import numpy as np

from jaxglmm.control import Control
from jaxglmm.design import Problem
from jaxglmm.errors import InputError
from jaxglmm.families import AbstractFamily, Cumulative
from jaxglmm.frontend.batch import Batch
from jaxglmm.frontend.build import Labels, assemble
from jaxglmm.frontend.formula import FormulaSpec, Response, parse, parse_one_sided
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.groupings import can_do_with_one_level
from jaxglmm.frontend.many.apart import fit_apart
from jaxglmm.frontend.many.by import Membership, membership
from jaxglmm.frontend.many.models import Models, check_chunk
from jaxglmm.frontend.many.responses import fit_models
from jaxglmm.frontend.many.source import AbstractSource, own_source, source
from jaxglmm.frontend.many.units import Units
from jaxglmm.frontend.methods import check_method
from jaxglmm.frontend.model import ModelData
from jaxglmm.frontend.ordinal import check_number
from jaxglmm.frontend.tokens import column_name
from jaxglmm.links import AbstractLink

_NUMBERS = 1 << 20  # of responses looked at together


def fit_many(
    formula: str,
    data: Any,
    responses: Any = None,
    family: str | AbstractFamily = "gaussian",
    *,
    link: str | float | AbstractLink | None = None,
    weights: Any = None,
    trials: Any = None,
    offset: Any = None,
    zero_inflation: str | None = None,
    dispersion: str | None = None,
    thresholds: str = "flexible",
    method: str = "laplace",
    quadrature_points: int | None = None,
    contrasts: str | Mapping[str, str] = "treatment",
    covariance: Mapping[str, Any] | None = None,
    matrices: Mapping[str, Any] | None = None,
    missing: str = "drop",
    subset: Any = None,
    priors: Mapping[str, Any] | None = None,
    control: Control = Control(),
    by: str | Sequence[str] | None = None,
    chunk: int | None = None,
    modes: bool = False,
    progress: bool | None = None,
) -> Batch:
    """Fit one design to many responses, or one formula to the parts of a table, on all cores or
    devices.

    Args:
        formula: as in `glmm`. The left-hand side may be absent ("~ x + (1 | g)") or any name; the
            trials of `s / n ~` must be in the data, of `cbind(s, f) ~` both columns, whose sum they
            are.
        data: the predictors and grouping factors.
        responses: an array (num_models, num_rows) or a NumPy memory map; a data frame whose columns
            are models; a list of columns of `data`; or the path of a Parquet file whose columns are
            models. One value for each row of `data` (those that are dropped for a missing
            predictor too), in the units of the formula's response: successes for `s / n ~` and
            `cbind(s, f) ~`, proportions with `trials=` or `weights=`, the categories of an ordinal
            response. NaN is a missing response: the row counts for nothing in that model (but
            for the constants of `scale`, `poly` or `bs`, which are those of all rows, as in R);
            with missing="raise" it is refused. Rows are taken as they stand, whatever their labels.
        by: a column of `data`, or several, whose values split it into models, in the order of their
            first rows: each has its own rows, predictors and groups, and the formula's response.
            Columns of the design are those of the whole table (levels of factors, constants of
            `scale` or `poly`); a model drops those that its rows do not tell, as a fit of its own
            would, which is its status. So is a grouping factor with a single level, or no rows.
            Models are fitted in common shapes, padded to twice their size at most. Crossed factors
            are taken for dense ones; models whose crossed factors are too large for that, and
            models with priors whose columns are dropped or nearly dependent, are fitted one by one.
        weights, offset: as in `glmm`; or of each model, in the form and shape of `responses` and
            in their order.
        chunk: most models that are read at once; None for what suits the design. No result depends
            on it.
        modes: keep the random effects of every model.
        progress: a bar on standard error; None for one in a terminal or notebook, once the work
            has taken a second.
        family, ..., control: as in `glmm`, for all models alike.

    Returns:
        A `Batch`. Failure to converge is the status of a model, never an exception.

    Raises:
        InputError: what cannot be fitted, with the models that are concerned, before anything
            compiles.

    Bits: the results of a model are the same in any order, whatever models stand beside it and
    however many devices there are, on one kind of device and with one version of the library and of
    JAX. A batch with missing values anywhere runs another program than one without; the shapes of
    models with rows of their own (by=), and so their last bits, follow from the sizes of all.
    """
    check_method(method, quadrature_points)
    check_chunk(chunk)
    frame = Frame(data)
    settings = {
        "link": link,
        "weights": weights,
        "trials": trials,
        "offset": offset,
        "method": method,
        "quadrature_points": quadrature_points,
        "contrasts": contrasts,
        "covariance": covariance,
        "matrices": matrices,
        "zero_inflation": zero_inflation,
        "dispersion": dispersion,
        "thresholds": thresholds,
        "missing": missing,
        "subset": subset,
        "priors": priors,
        "control": control,
    }
    how = {"chunk": chunk, "modes": modes, "progress": progress}
    if by is not None:
        _check_by(responses, weights=weights, offset=offset)
        return _by(formula, frame, family, membership(by, frame), settings, how)
    if responses is None:
        raise InputError(
            "responses: give the responses of the models, or by=, the column that splits the data "
            "into models."
        )
    _check_rows(responses, data)
    _check_plain(responses, _parsed(formula).response)
    found = source("responses", responses, frame.num_rows, frame)
    template = template_of(formula, frame, found, family, **settings)
    return template.fit(template.models, **how)


@dataclass(frozen=True, eq=False)
class Template:
    """A design with the responses that decided what all of them share."""

    formula: str
    problem: Problem
    labels: Labels
    models: Models
    control: Control

    def of(self, responses: AbstractSource) -> Models:
        """Other responses of the same kind."""
        return dataclasses.replace(self.models, responses=responses)

    def fit(
        self, models: Models, *, chunk: int | None, modes: bool, progress: bool | None
    ) -> Batch:
        """Fit all of `models`."""
        solution = fit_models(
            self.problem, models, self.control, chunk=chunk, modes=modes, progress=progress
        )
        return Batch(self.formula, models.responses.names, self.problem, self.labels, solution)


def template_of(
    formula: str,
    frame: Frame,
    responses: AbstractSource,
    family: str | AbstractFamily,
    *,
    weights: Any,
    trials: Any,
    offset: Any,
    control: Control,
    **arguments: Any,
) -> Template:
    """The design of `fit_many`; `arguments` are those of `assemble`."""
    own = {
        name: own_source(name, value, responses, frame) if _of_models(value) else None
        for name, value in (("weights", weights), ("offset", offset))
    }
    made: list[Models] = []

    def complete(law: AbstractFamily, used: ModelData) -> ModelData:
        """With the categories of all responses, and the first model's for one of its kind."""
        whole = arguments["missing"] == "raise"
        models = _models(law, used, responses, own, trials is not None, whole)
        made.append(models)
        return dataclasses.replace(used, y=_first(models), categories=models.units.labels)

    problem, labels = assemble(
        _parsed(formula),
        frame,
        family,
        weights=None if own["weights"] is not None else weights,
        trials=trials,
        offset=None if own["offset"] is not None else offset,
        control=control,
        complete=complete,
        **arguments,
    )
    return Template(formula, problem, labels, made[0], control)


def _check_rows(responses: Any, data: Any) -> None:
    """Refuse a data frame of responses whose rows have the labels of the data's in another order:
    they are taken as they stand."""
    if not (_is_pandas(responses) and _is_pandas(data) and len(responses) == len(data)):
        return
    own, of_data = responses.index, data.index
    if np.array_equal(own, np.arange(len(own))) or own.equals(of_data):
        return
    if own.is_unique and of_data.is_unique and own.isin(of_data).all():
        raise InputError(
            "responses: the rows have the labels of the data's in another order, but are taken as "
            "they stand. Give responses.loc[data.index], or an array."
        )


def _is_pandas(table: Any) -> bool:
    return hasattr(table, "columns") and type(table).__module__.partition(".")[0] == "pandas"


def _check_plain(responses: Any, response: Response | None) -> None:
    """Refuse columns of a table where the formula's response is a function of one."""
    named = isinstance(responses, (list, tuple)) and all(isinstance(n, str) for n in responses)
    if response is None or response.kind != "plain" or not named:
        return
    if column_name(response.text) is None:
        raise InputError(
            f"responses: each is taken as the formula's response '{response.text}' itself, so "
            "that its function would not be applied. Transform the columns, and write a name on "
            "the left-hand side, or nothing."
        )


def _check_by(responses: Any, **others: Any) -> None:
    if responses is not None:
        raise InputError(
            "by: the response is the formula's left-hand side, a column of the data; leave "
            "responses= out."
        )
    for name, value in others.items():
        if _of_models(value):
            raise InputError(f"{name}: with by= one value a row, a column's name or an array.")


def _by(
    formula: str,
    frame: Frame,
    family: str | AbstractFamily,
    of: Membership,
    settings: dict[str, Any],
    how: dict[str, Any],
) -> Batch:
    """The models of a table's parts."""
    problem, labels = assemble(parse(formula), frame, family, whole=False, **settings)
    data = labels.data
    single = tuple(not can_do_with_one_level(g.terms) for g in data.groupings)
    model, control = of.at(data.rows), settings["control"]
    solution = fit_apart(problem, model, len(of.names), control, single, **how)
    return Batch(formula, of.names, problem, labels, solution)


def _parsed(formula: str) -> FormulaSpec:
    if isinstance(formula, str) and formula.lstrip().startswith("~"):
        response = Response("plain", ("response",), "response")
        return dataclasses.replace(parse_one_sided(formula), response=response)
    return parse(formula)


def _of_models(value: Any) -> bool:
    """Whether an argument is one of each model, not of each row."""
    return value is not None and not isinstance(value, str) and _is_plane(value)


def _is_plane(value: Any) -> bool:
    names = isinstance(value, (list, tuple)) and any(isinstance(name, str) for name in value)
    if names or isinstance(value, PathLike) or hasattr(value, "columns"):
        return True
    return np.ndim(value) > 1


def _models(
    law: AbstractFamily,
    data: ModelData,
    responses: AbstractSource,
    own: dict[str, AbstractSource | None],
    with_trials: bool,
    complete: bool,
) -> Models:
    response = data.spec.response
    plain = response is None or response.kind == "plain"
    rows = None if len(data.rows) == data.num_rows else data.rows
    models = Models(
        "responses",
        Units(law.support, plain, data.trials, ()),
        responses,
        own["weights"],
        own["offset"],
        weights_are_trials=plain
        and law.support == "binomial"
        and law.weight_role == "trials"
        and not with_trials,
        rows=rows,
        complete=complete,
    )
    if not isinstance(law, Cumulative):
        return models
    labels = _categories(models)
    return dataclasses.replace(models, units=dataclasses.replace(models.units, labels=labels))


def _categories(models: Models) -> tuple[Any, ...]:
    """Those of all models: in their order if all columns declare the same, else sorted."""
    import pandas as pd

    declared = models.responses.categories
    if declared is None:
        step = max(_NUMBERS // models.responses.num_rows, 1)
        parts = [models.labels(k, k + step) for k in range(0, len(models), step)]
        levels = pd.unique(np.concatenate(parts))
        declared = [v.item() if isinstance(v, np.generic) else v for v in np.sort(levels)]
        declared = [int(v) if isinstance(v, float) and v.is_integer() else v for v in declared]
    check_number(models.argument, len(declared))
    return tuple(declared)


def _first(models: Models) -> np.ndarray:
    """The response of a model like all, the first one, as the engine has it; with harmless values
    for those that are missing or wrong."""
    units = models.units
    block = models.like()
    trials = block.weights if models.weights_are_trials else units.trials
    unknown = np.isnan(block.y) | units.wrong(block.y, trials)
    return units.engine(np.where(unknown, units.allowed, block.y), units.trials, False)[0][0]
