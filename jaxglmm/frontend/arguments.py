"""Arguments given as a column's name or as an array: weights, trials, offset, subset."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import show_rows
from jaxglmm.frontend.columns import convert, is_missing, is_single, may_miss
from jaxglmm.frontend.frame import Frame
from jaxglmm.host import by_parts


def numbers(argument: str, value: Any, frame: Frame, *, scalar: bool = False) -> np.ndarray | None:
    """(rows of the frame,) float64 with NaN where missing; None for None."""
    if value is None:
        return None
    if scalar and isinstance(value, (int, float, np.number)):
        return np.full(frame.num_rows, float(value))
    column = _column(argument, value, frame)
    if not isinstance(column, np.ndarray) or column.dtype.kind not in "if":
        raise InputError(f"{argument}{_named(value)} must be numbers. Give a numeric column.")
    return column.astype(np.float64, copy=False)


def _named(value: Any) -> str:
    return f"='{value}'" if isinstance(value, str) else ""


def _column(argument: str, value: Any, frame: Frame) -> Any:
    if isinstance(value, str):
        if value not in frame:
            frame.unknown(value, f"column (given as {argument}=)")
        return frame.column(value)
    if is_single(value):
        raise InputError(
            f"{argument}={value!r} is a single value; give a column's name or an array with one "
            f"entry a row ({frame.num_rows})."
        )
    if len(value) != frame.num_rows:
        raise InputError(
            f"{argument} has {len(value)} entries, but the data has {frame.num_rows} rows. "
            "Give one entry for each row of the data, before any row is dropped."
        )
    return convert(value, argument)


def kept_by_subset(subset: Any, frame: Frame) -> np.ndarray:
    """(rows of the frame,) bool; a missing entry leaves its row out."""
    if subset is None:
        return np.ones(frame.num_rows, bool)
    column = _column("subset", subset, frame)
    if not isinstance(column, np.ndarray):
        if all(isinstance(level, (bool, np.bool_)) for level in column.categories):
            truth = np.array([*column.categories.tolist(), False], bool)
            return truth[column.codes]
    elif column.dtype.kind in "if" and np.isin(column, (0, 1)).all():
        return column == 1
    raise InputError(
        f"subset{_named(subset)} must be True or False for each row. Give a comparison such as "
        "data['x'] > 0."
    )


def complete_rows(
    frame: Frame, names: list[str], extra: dict[str, np.ndarray | None], kept: np.ndarray
) -> np.ndarray:
    """(rows of the frame,) bool: kept, and nothing missing in any used column or argument."""
    given = [values for values in extra.values() if values is not None]
    columns = [column for column in map(frame.column, names) if may_miss(column)]
    complete = np.empty_like(kept)

    def look(part: slice) -> None:
        complete[part] = kept[part]
        for column in (*columns, *given):
            complete[part] &= ~is_missing(column[part])

    by_parts(look, len(kept))
    return complete


def refuse_missing(
    frame: Frame, names: list[str], extra: dict[str, np.ndarray | None], kept: np.ndarray
) -> None:
    """missing="raise": name every column with missing values and its first rows."""
    found = [
        f"'{name}' in {show_rows(np.flatnonzero(missing & kept))}"
        for name, missing in missing_masks(frame, names, extra).items()
        if (missing & kept).any()
    ]
    if found:
        raise InputError(
            f"There are missing or infinite values: {'; '.join(found)}. Fill them in, or use "
            "missing='drop' to leave these rows out."
        )


def missing_masks(
    frame: Frame, names: list[str], extra: dict[str, np.ndarray | None]
) -> dict[str, np.ndarray]:
    """name -> (rows of the frame,) bool: missing or infinite, for columns and arguments."""
    masks = {name: is_missing(frame.column(name)) for name in names}
    given = {name: values for name, values in extra.items() if values is not None}
    return {**masks, **{name: ~np.isfinite(values) for name, values in given.items()}}
