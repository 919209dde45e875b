"""New data -> the columns of a fitted model."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.arguments import complete_rows, numbers
from jaxglmm.frontend.checks import check_finite
from jaxglmm.frontend.context import Columns, recoded_columns, used_columns
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.groups import GroupCoder, apply_groups
from jaxglmm.frontend.model import ModelData, NewData, fixed_part
from jaxglmm.frontend.variables import columns_in


def new_data(
    data: ModelData, frame: Frame, *, offset: Any = None, groups: bool = True, levels: bool = True
) -> NewData:
    """The model's columns for every row of `frame`, by the levels and transforms of the fit.

    groups=False leaves the random part out, and its columns need not be there; levels=False the
    grouping factors, of which no level is then known. An unseen level of a predictor is an
    InputError, an unseen level of a grouping factor has code -1.
    """
    encoders = data.encoders
    known = {**encoders.fixed_columns, **(encoders.random_columns if groups else {})}
    given = _given_offset(data, frame, offset)
    everything = np.ones(frame.num_rows, bool)
    complete = complete_rows(frame, list(known), {"offset": given}, everything)
    rows = np.flatnonzero(complete)
    columns = Columns(len(rows), recoded_columns(frame, known, rows), data.contrasts)
    matrices = _matrices(data, columns, rows, groups)
    parts = encoders.term_parts if groups else ()
    unseen = {}
    for key, positions in (encoders.positions if groups else {}).items():
        matrices[key] = positions.indicators(matrices[key])
        off = np.sum(matrices[key], axis=1) == 0.0
        unseen[positions.text] = _scatter(off, complete, False)
    Z = [np.concatenate([matrices[key] for key in keys], axis=1) for keys in parts]
    fitted = None if given is None else given[rows]
    total, *others = (
        evaluate_offset(
            part.offsets,
            columns,
            fitted if component == "cond" else None,
            encoders.state["offset"],
            rows,
        )
        for component, part in data.formulas.items()
    )
    fixed = [matrices[fixed_part(component)] for component in data.components]
    return NewData(
        X=_scatter(np.concatenate(fixed, axis=1)[:, encoders.kept], complete),
        Z=tuple(_scatter(z, complete) for z in Z),
        codes=tuple(
            _codes(c, frame, encoders.state["groups"])
            if levels
            else np.full(frame.num_rows, -1, np.int32)
            for c in encoders.coders[: len(Z)]
        ),
        offset=None if total is None else _scatter(total, complete),
        offsets=tuple(None if own is None else _scatter(own, complete) for own in others),
        missing=~complete,
        unseen=unseen,
    )


def evaluate_offset(
    codes: tuple[str, ...],
    columns: Columns,
    given: np.ndarray | None,
    state: dict[str, Any],
    rows: np.ndarray,
) -> np.ndarray | None:
    """(n,) sum of the offset(...) terms and the offset= argument; None if there is neither."""
    total = given
    for code in codes:
        values = _offset(code, columns, state)
        check_finite(values[:, None], [f"offset({code})"], rows)
        total = values if total is None else total + values
    return total


def _offset(code: str, columns: Columns, state: dict[str, Any]) -> np.ndarray:
    from jaxglmm.frontend.encode import evaluate

    found = evaluate(code, columns, state)
    values = np.asarray(getattr(found, "__wrapped__", found))
    if values.shape != (columns.num_rows,) or values.dtype.kind not in "biuf":
        raise InputError(
            f"offset({code}) does not give one number a row. Use a numeric column or an "
            "expression of numeric columns."
        )
    return values.astype(np.float64)


def _given_offset(data: ModelData, frame: Frame, offset: Any) -> np.ndarray | None:
    fitted = data.encoders.offset
    if offset is None and fitted is True:
        raise InputError(
            "The model was fitted with an array as offset=, so new data need offset= too: one "
            "entry a row, or a number. (Fitted with a column's name, it is read from the data.)"
        )
    return numbers("offset", fitted if offset is None else offset, frame, scalar=True)


def _matrices(
    data: ModelData, columns: Columns, rows: np.ndarray, groups: bool
) -> dict[str, np.ndarray]:
    from jaxglmm.frontend import encode

    specs = data.encoders.specs
    fixed = set(map(fixed_part, data.components))
    wanted = {key: spec for key, spec in specs.items() if groups or key in fixed}
    if len(rows) == 0:
        return {key: np.empty((0, len(spec.column_names))) for key, spec in wanted.items()}
    matrices = encode.apply(wanted, columns)
    for key, matrix in matrices.items():
        check_finite(matrix, tuple(wanted[key].column_names), rows)
    return matrices


def _codes(coder: GroupCoder, frame: Frame, state: dict[str, Any]) -> np.ndarray:
    """(rows of the table,) int32 codes of a grouping factor."""
    return apply_groups(coder, [_group_column(code, frame, state) for code in coder.factors])


def group_values(
    coder: GroupCoder, frame: Frame, state: dict[str, Any], rows: np.ndarray
) -> list[str]:
    """The levels of some rows as text, those of several factors joined by ":"."""
    columns = [_group_column(code, frame, state) for code in coder.factors]
    values = [np.asarray(column, object)[rows] for column in columns]
    return [":".join(map(str, of_row)) for of_row in zip(*values, strict=True)]


def _group_column(code: str, frame: Frame, state: dict[str, Any]) -> Any:
    if code in frame:
        return frame.column(code)
    from jaxglmm.frontend.groups import group_factor

    names = columns_in(code, frame, is_expression=True)
    complete = complete_rows(frame, names, {}, np.ones(frame.num_rows, bool))
    rows = np.flatnonzero(complete)
    found = group_factor(code, Columns(len(rows), used_columns(frame, names, rows), {}), state)
    values = np.full(frame.num_rows, None, object)
    values[rows] = np.array([*found.levels, None], object)[found.codes]
    return values


def _scatter(values: np.ndarray, complete: np.ndarray, fill: Any = np.nan) -> np.ndarray:
    """Rows put back in their places, `fill` in the incomplete ones."""
    if complete.all():
        return values
    spread = np.full((len(complete), *values.shape[1:]), fill)
    spread[complete] = values
    return spread
