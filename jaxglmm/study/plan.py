"""A planned experiment: a scenario, how its data are analysed, and the same at other sizes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.families.quasi import Quasi
from jaxglmm.frontend.batch import Batch
from jaxglmm.frontend.draws import finite_estimates
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.model import ModelData
from jaxglmm.frontend.result import GLMM
from jaxglmm.frontend.values import changed_params
from jaxglmm.frontend.variables import columns_of
from jaxglmm.params import Params
from jaxglmm.study.extend import rebuilt
from jaxglmm.study.extension import Along, nested_in, resize
from jaxglmm.study.moved import moved
from jaxglmm.study.scenario import Scenario


@dataclass(frozen=True, eq=False)
class Plan:
    """A scenario, and the arguments in which its analysis differs from it."""

    scenario: Scenario
    changes: dict[str, Any]

    @property
    def data(self) -> ModelData:
        """Names and arrays of the design."""
        return self.scenario.drawn.data

    def fit(self, responses: np.ndarray, progress: bool | None, **changes: Any) -> Batch:
        """Responses of this design, analysed."""
        return self.scenario.fit(responses, progress=progress, **{**self.changes, **changes})


def plan_of(given: Any, data: Any) -> Plan:
    """Of a fit, whose estimates are taken for the truth, or of a scenario; `data` is another design
    with the same columns, None for their own."""
    if isinstance(given, GLMM):
        return _of_fit(given, data)
    if isinstance(given, Scenario):
        return Plan(given if data is None else moved(given, data, {}), {})
    raise InputError(
        f"Expected a fit (of jaxglmm.glmm) or a jaxglmm.Scenario, got {type(given).__name__}."
    )


def _of_fit(fit: GLMM, data: Any) -> Plan:
    if isinstance(fit.family, Quasi):
        fit.family.refuse_draws()
    estimates = finite_estimates(fit)
    rows, arguments = fit.data.rows, dict(fit.arguments)
    priors = arguments.pop("priors")
    for name in ("missing", "subset"):  # the rows used are all that is left
        del arguments[name]
    for name in ("weights", "trials", "offset"):
        if isinstance(arguments[name], np.ndarray):
            arguments[name] = arguments[name][rows]
    table = {name: column[rows] for name, column in fit.labels.table.items()}
    own = Params(estimates.beta, _in_plain_structures(fit), estimates.phi)
    scenario = Scenario(fit.formula, table, own, fit.family.base, **arguments)
    if data is not None:
        scenario = moved(scenario, data, {})
    return Plan(scenario, {} if priors is None else {"priors": priors})


def _in_plain_structures(fit: GLMM) -> np.ndarray:
    """theta of the structures as they are typed: where a correlation is held, `us` has another one,
    in which L is a lower triangle too."""
    theta, parts, start = np.asarray(fit.estimate.params.theta), [np.zeros(0)], 0
    for grouping, of in zip(fit.problem.groupings, fit.data.groupings, strict=True):
        pairs = zip(grouping.terms, grouping.constants, of.terms, strict=True)
        for term, constants, typed in pairs:
            own = theta[start : start + term.covariance.num_theta]
            start += len(own)
            if term.covariance.name != typed.structure and typed.structure == "us":
                with jax.enable_x64(True):
                    L = np.asarray(term.covariance.factor(jnp.asarray(own), constants))
                own = L[np.tril_indices(len(L))]
            parts.append(own)
    return np.concatenate(parts)


def changed(plan: Plan, where: str, effect: Any) -> Plan:
    """With other true values of some parameters, by their names."""
    if effect is None:
        return plan
    if not isinstance(effect, Mapping):
        raise InputError(
            f"{where}: expected a dict of names and values, such as {{'x': 0.3}}, got "
            f"{type(effect).__name__}."
        )
    drawn = plan.scenario.drawn
    params = changed_params(where, drawn.params, effect, drawn.problem, drawn.data)
    return dataclasses.replace(plan, scenario=dataclasses.replace(plan.scenario, params=params))


def resized(plan: Plan, along: Along, size: int) -> Plan:
    """The same experiment at another size."""
    scenario = plan.scenario
    frame = Frame(scenario.data)
    for name in (along.column, *along.within):
        if name is not None and name not in frame:
            raise InputError(
                f"There is no column '{name}' in the data. A fit keeps those that its formula uses "
                f"({', '.join(frame.names)}): give the whole table as data=, or correct the name."
            )
    groups = _group_columns(plan.data, frame)
    made = resize(frame, along, size, groups, nested_in(frame, along, groups))
    for name in made.columns:
        if plan.data.encoders.fixed_columns.get(name) is not None:
            raise InputError(
                f"size {size} of {along.name}: the copies of levels of '{name}' would be levels of "
                "a fixed effect, and nothing says what their true effects are. Copy those of a "
                f"grouping factor, or the rows within='{name}'."
            )
    arrays = {
        name: np.asarray(getattr(scenario, name))[made.rows]
        for name in ("weights", "trials", "offset")
        if getattr(scenario, name) is not None and not isinstance(getattr(scenario, name), str)
    }
    try:
        there = moved(scenario, rebuilt(scenario.data, made), arrays)
    except InputError as error:
        raise InputError(f"size {size} of {along.name}: {error}") from error
    return dataclasses.replace(plan, scenario=there)


def _group_columns(data: ModelData, frame: Frame) -> list[str]:
    """The columns that grouping factors are made of."""
    codes = [code for coder in data.encoders.coders for code in coder.factors]
    return list(dict.fromkeys(name for code in codes for name in columns_of(code, frame)))
