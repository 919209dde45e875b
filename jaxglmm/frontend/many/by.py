"""Which model each row of a table belongs to, by the values of some columns."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.columns import factorise, is_categorical, is_missing
from jaxglmm.frontend.frame import Frame


class Membership(NamedTuple):
    """The model of each row of the table, numbered as they appear, -1 where a value is missing;
    and their names: the values of the column, or those of several joined by ":"."""

    model: np.ndarray
    names: list[Any]

    def at(self, rows: np.ndarray) -> np.ndarray:
        """The model of each of these rows, all of which must have one."""
        model = self.model[rows]
        without = rows[model < 0]
        if len(without):
            raise InputError(
                f"by: values are missing in {len(without)} of the rows used, the first is row "
                f"{without[0]} (counted from 0). Every row needs a model: drop these rows."
            )
        return model


def membership(by: str | Sequence[str], frame: Frame) -> Membership:
    """By one column or several; an InputError for columns that are not there."""
    columns = [by] if isinstance(by, str) else list(by)
    if not columns or not all(isinstance(name, str) for name in columns):
        raise InputError(f"by: expected the name of a column, or a list of names, got {by!r}.")
    found = [_codes(name, frame) for name in columns]
    there = np.all([own >= 0 for own, _ in found], axis=0)
    code = np.zeros(int(there.sum()), np.int64)
    for own, levels in found:
        code = code * len(levels) + own[there]
    _, first, among = np.unique(code, return_index=True, return_inverse=True)
    order = np.argsort(first)
    number = np.empty(len(order), np.int64)
    number[order] = np.arange(len(order))
    model = np.full(frame.num_rows, -1)
    model[there] = number[among]
    names = [_name(found, int(row)) for row in np.flatnonzero(there)[first[order]]]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise InputError(
            f"by: different values of {columns} make one name, {twice[0]!r}: models are named by "
            "them, with ':' between. Replace the colons in these columns."
        )
    return Membership(model, names)


def _codes(name: str, frame: Frame) -> tuple[np.ndarray, list[Any]]:
    """The place of each row's value among the levels, -1 where it is missing; and these."""
    if name not in frame:
        frame.unknown(name, "column (named in by=)")
    column = frame.column(name)
    category: Any = column if is_categorical(column) else factorise(column)
    code = np.asarray(category.codes, np.int64)
    return np.where(is_missing(column), -1, code), category.categories.tolist()


def _name(found: list[tuple[np.ndarray, list[Any]]], row: int) -> Any:
    values = [levels[codes[row]] for codes, levels in found]
    return values[0] if len(values) == 1 else ":".join(map(str, values))
