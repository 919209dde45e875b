"""Which model each row of a table belongs to, by the values of some columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.columns import factorise, is_categorical, is_missing
from jaxglmm.frontend.frame import Frame


class Membership(NamedTuple):
    """The model of each row of the table, numbered as they appear, and their names: the values of
    the column, or those of several joined by ":"."""

    model: np.ndarray
    names: list[Any]


def membership(by: str | Sequence[str], frame: Frame) -> Membership:
    """By one column or several; an InputError for columns that are not there or have gaps."""
    columns = [by] if isinstance(by, str) else list(by)
    if not columns or not all(isinstance(name, str) for name in columns):
        raise InputError(f"by: expected the name of a column, or a list of names, got {by!r}.")
    found = [_codes(name, frame) for name in columns]
    code = np.zeros(frame.num_rows, np.int64)
    for own, levels in found:
        code = code * len(levels) + own
    keys, first, model = np.unique(code, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    names = [_name(found, int(row)) for row in first[order]]
    return Membership(number[model], names)


def _codes(name: str, frame: Frame) -> tuple[np.ndarray, list[Any]]:
    if name not in frame:
        frame.unknown(name, "column (named in by=)")
    column = frame.column(name)
    missing = is_missing(column)
    if missing.any():
        raise InputError(
            f"by: column '{name}' has {int(missing.sum())} missing values, the first in row "
            f"{int(np.argmax(missing))} (counted from 0). Every row needs a model: drop these rows."
        )
    category: Any = column if is_categorical(column) else factorise(column)
    return np.asarray(category.codes, np.int64), category.categories.tolist()


def _name(found: list[tuple[np.ndarray, list[Any]]], row: int) -> Any:
    values = [levels[codes[row]] for codes, levels in found]
    return values[0] if len(values) == 1 else ":".join(map(str, values))
