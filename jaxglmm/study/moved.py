"""A scenario's truth on other data."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.model import ModelData
from jaxglmm.frontend.newdata import new_data
from jaxglmm.params import Params
from jaxglmm.rank import independent_columns
from jaxglmm.study.scenario import Scenario

_SAME = 1e-8  # rounding of columns and of means, relative to their size


def moved(scenario: Scenario, table: Any, arrays: dict[str, np.ndarray]) -> Scenario:
    """The scenario on other data: every row's linear predictors are the functions of its columns
    that they were, though the formula may code these otherwise there (`scale(x)`, `poly(x, 2)`).

    `arrays` are the weights, trials and offset of the new rows, where they are no columns.
    """
    old, frame = scenario.drawn.data, Frame(table)
    offset = arrays.get("offset", scenario.offset)
    offset = None if isinstance(offset, str) else offset
    found = new_data(old, frame, offset=offset, groups=False)
    if not found.missing.any():  # refused below
        _check_estimable(old, found.X)
    there = dataclasses.replace(scenario, data=table, **arrays)
    new, truth = there.drawn.data, there.drawn.params
    _check_random(old, new, frame, offset)
    beta = _same_means(old, found.X, new.X, np.asarray(truth.beta))
    if beta is None:
        return there
    return dataclasses.replace(there, params=Params(beta, truth.theta, truth.phi))


def _blocks(data: ModelData) -> list[np.ndarray]:
    """The columns of each linear predictor."""
    components = np.array(data.fixed_components, object)
    return [np.flatnonzero(components == component) for component in data.components]


def _check_estimable(data: ModelData, X: np.ndarray) -> None:
    for block in _blocks(data):
        kept = independent_columns(X[:, block])
        if not kept.all():
            lost = [data.full_names[k] for k in block[~kept]]
            raise InputError(
                f"These data cannot tell the fixed effect '{lost[0]}' from the others: its column "
                "is zero or depends on other columns. Take more levels, or order the rows so that "
                "the first ones differ in it."
            )


def _check_random(old: ModelData, new: ModelData, frame: Frame, offset: Any) -> None:
    """Refuse random slopes of functions that depend on all data, as `scale(x)` does."""
    specs = [spec for part, spec in old.encoders.specs.items() if part.startswith("random")]
    if not any(spec.transform_state for spec in specs):
        return
    found = new_data(old, frame, offset=offset).Z
    for own, grouping in zip(found, new.groupings, strict=True):
        if own.shape != grouping.Z.shape or not _alike(own, grouping.Z):
            raise InputError(
                f"A random slope of '{grouping.name}' is a function of all data (as scale(x) is), "
                "so that it would be another one here. Make it a column of the data, computed "
                "once, and write its name in the formula."
            )


def _same_means(
    data: ModelData, before: np.ndarray, after: np.ndarray, beta: np.ndarray
) -> np.ndarray | None:
    """Coefficients of the columns `after` that give what `beta` gave with those `before`; None
    where the columns are the same."""
    if before.shape == after.shape and _alike(before, after):
        return None
    new = np.array(beta)
    for block in _blocks(data):
        eta = before[:, block] @ beta[block]
        new[block] = np.linalg.lstsq(after[:, block], eta, rcond=None)[0]
        if not _alike(after[:, block] @ new[block], eta):
            raise InputError(
                "The fixed part of the formula has functions of all data (such as bs(x), with "
                "knots at quantiles) that are others here. Make them columns of the data, computed "
                "once, and write their names in the formula."
            )
    return new


def _alike(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.all(np.abs(a - b) <= _SAME * np.abs(b).max(initial=0.0)))
