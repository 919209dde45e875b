"""Arguments given as a column's name or as an array (weights, trials, offset, subset), and the rows
that they and the columns of a model leave to use."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import show_rows
from jaxglmm.frontend.columns import convert, is_missing, is_single, may_miss
from jaxglmm.frontend.frame import Frame
from jaxglmm.host import by_parts, everywhere


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


def rows_used(
    frame: Frame, used: list[str], extra: dict[str, Any], subset: Any, missing: str
) -> tuple[np.ndarray, np.ndarray]:
    """(rows of the table,) bool kept by subset, and (n,) places of the rows used."""
    kept = kept_by_subset(subset, frame)
    if missing == "raise":
        refuse_missing(frame, used, extra, kept)
    complete = complete_rows(frame, used, extra, kept)
    if everywhere(np.asarray, complete):  # half the memory
        rows = np.arange(frame.num_rows, dtype=np.int32 if frame.num_rows < 2**31 else np.int64)
    else:
        rows = np.flatnonzero(complete)
    if len(rows) == 0:
        raise InputError(_no_rows(frame, used, extra, kept))
    return kept, rows


def _no_rows(frame: Frame, used: list[str], extra: dict[str, Any], kept: np.ndarray) -> str:
    if frame.num_rows == 0:
        return "No rows are left to fit: the data has no rows. Look at how it was read."
    if not kept.any():
        return "No rows are left to fit: subset is True for none of the rows. Change subset."
    counts = {n: int((m & kept).sum()) for n, m in missing_masks(frame, used, extra).items()}
    worst = sorted((n for n in counts if counts[n]), key=lambda n: -counts[n])
    shown = ", ".join(f"'{n}' in {counts[n]}" for n in worst[:5])
    return (
        f"No rows are left to fit: each of the {int(kept.sum())} rows has a missing or infinite "
        f"value ({shown}). Fill these columns in, or leave them out."
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
