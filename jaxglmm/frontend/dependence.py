"""Partial dependence: predictions with some predictors moved, averaged over the rows or not."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import check_choice, check_whole
from jaxglmm.frontend.frame import Frame

if TYPE_CHECKING:
    import pandas as pd

    from jaxglmm.frontend.result import GLMM

_KINDS = ("average", "individual", "centered")
_MOST = 1_000_000  # points on a grid
_AT_ONCE = 2**16  # rows of a table that predictions are made for


def partial_dependence(
    fit: GLMM,
    variables: str | Sequence[str],
    kind: str,
    *,
    of: str,
    scale: str,
    num_points: int,
    values: Mapping[str, Any] | None,
    data: Any,
) -> pd.DataFrame:
    """One row a point of the grid, and a row of the data unless they are averaged."""
    check_choice("kind", kind, _KINDS)
    check_whole("num_points", num_points, 1, _MOST)
    if isinstance(variables, Mapping):
        raise InputError(
            "partial_dependence: give the predictors' names, and their values as values={...}."
        )
    names = [variables] if isinstance(variables, str) else list(variables)
    table, num_rows = _table(fit, data)
    _check_names(fit, names, values or {})
    grids = [_grid(table[name], num_points, (values or {}).get(name)) for name in names]
    points = list(itertools.product(*grids))
    step = max(_AT_ONCE // max(num_rows, 1), 1)
    blocks = [points[first : first + step] for first in range(0, len(points), step)]
    found = []
    for block in blocks:
        index = np.tile(np.arange(num_rows), len(block))
        moved = {name: column[index] for name, column in table.items()}
        for name, column_of in zip(names, zip(*block, strict=True), strict=True):
            numeric = isinstance(table[name], np.ndarray)
            own = np.array(column_of, float if numeric else object)
            moved[name] = np.repeat(own, num_rows)
        means = fit.predict(moved, of, scale)  # type: ignore[arg-type]
        found.append(means.reshape(len(block), num_rows, *means.shape[1:]))
    curves = np.concatenate(found)
    if kind == "centered":
        curves = curves - curves[:1]
    return _long(fit, names, points, curves, averaged=kind == "average")


def _long(
    fit: GLMM, names: list[str], points: list[Any], curves: np.ndarray, *, averaged: bool
) -> pd.DataFrame:
    """`curves` are (point, row) or (point, row, category)."""
    import pandas as pd

    index: list[tuple[str, Sequence[Any]]] = []
    if averaged:
        curves = np.nanmean(curves, axis=1)
    else:
        index.append(("row", range(curves.shape[1])))
    if fit.data.categories:
        index.append(("category", list(fit.data.categories)))
    rest = list(itertools.product(*(values for _, values in index)))
    rows = [(*point, *other) for point in points for other in rest]
    table = pd.DataFrame(rows, columns=[*names, *(name for name, _ in index)])
    table["estimate"] = curves.ravel()
    return table


def _table(fit: GLMM, data: Any) -> tuple[dict[str, Any], int]:
    """The columns that predictions read, and their number of rows."""
    if fit.data.encoders.offset is True:
        raise InputError(
            "partial_dependence: the fit was given an array as offset=, which does not move along "
            "with the rows. Fit with offset='column', or offset(...) in the formula."
        )
    if data is not None:
        frame = Frame(data)
        return {name: frame.column(name) for name in frame.names}, frame.num_rows
    rows = fit.data.rows
    return {name: column[rows] for name, column in fit.labels.table.items()}, len(rows)


def _check_names(fit: GLMM, names: list[str], values: Mapping[str, Any]) -> None:
    encoders = fit.data.encoders
    groups = [name for coder in encoders.coders for name in coder.factors]
    known = [*dict.fromkeys([*encoders.fixed_columns, *encoders.random_columns, *groups])]
    for name in [*names, *values]:
        if name not in known:
            raise InputError(
                f"partial_dependence: '{name}' is no predictor of the model; its predictors are: "
                f"{', '.join(known)}."
            )
    if not names or len(set(names)) < len(names) or len(names) > 2:
        raise InputError("partial_dependence: give one predictor, or two different ones.")
    extra = [name for name in values if name not in names]
    if extra:
        raise InputError(f"values: '{extra[0]}' is not among the predictors to move.")


def _grid(column: Any, num_points: int, given: Any) -> list[Any]:
    """The values given, the levels of a factor that occur, or points over the range of numbers."""
    if given is not None:
        return np.atleast_1d(np.asarray(given, object)).tolist()
    if not isinstance(column, np.ndarray):
        codes = np.unique(column.codes)
        return [column.categories[k] for k in codes if k >= 0]
    finite = column[np.isfinite(column)]
    distinct = np.unique(finite)
    if len(distinct) <= num_points:
        return distinct.tolist()
    return np.linspace(distinct[0], distinct[-1], num_points).tolist()
