"""Designs of other sizes: which rows of a table, how often, and what their copies are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import LARGEST_NUMBER, check_whole, show_rows
from jaxglmm.frontend.columns import factorise, is_missing
from jaxglmm.frontend.frame import Frame
from jaxglmm.inference.resampling import splits

if TYPE_CHECKING:
    from jaxglmm.frontend.columns import Column

_UNEVEN = 1e-9  # relative to a step: rounding of values such as 0.1, 0.2, 0.3


class Extension(NamedTuple):
    """A table of another size.

    rows: of the given table, in the order of the new one; columns: those whose values are not
    the ones of these rows.
    """

    rows: np.ndarray
    columns: dict[str, Column]


class Along(NamedTuple):
    """What is counted: the levels of `column`, or, if that is None, the rows within each level or
    combination of levels of the columns `within`."""

    column: str | None
    within: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.column if self.column is not None else f"rows within {':'.join(self.within)}"


def along_of(along: Any, within: Any) -> Along:
    """One of the two arguments; an InputError for both or none."""
    if (along is None) == (within is None):
        given = "both are given" if within is not None else "neither is given"
        raise InputError(
            "along, within: give one of them, the column whose levels are counted (along='subject')"
            f" or that within whose levels rows are (within='subject'); {given}."
        )
    if along is not None:
        if not isinstance(along, str):
            raise InputError(f"along: expected the name of a column, got {along!r}.")
        return Along(along, ())
    return Along(None, column_names("within", within))


def column_names(argument: str, given: Any) -> tuple[str, ...]:
    """A name, or several."""
    names = (given,) if isinstance(given, str) else given
    text = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
    if not text or not names:
        raise InputError(f"{argument}: expected a column's name or a list of names, got {given!r}.")
    return tuple(names)


def resize(
    frame: Frame, along: Along, size: int, labels: Sequence[str], nested: Sequence[str]
) -> Extension:
    """The design with `size` levels of a column, or rows within the levels of others.

    Args:
        frame: the table.
        along: what is counted.
        size: the first levels (or rows) where there are more; else all of them, and copies of them
            in turn.
        labels: columns whose values are labels, though they may be numbers.
        nested: columns that give every copy a label of its own, too.
    """
    check_whole("size", size, 1, LARGEST_NUMBER)
    if along.column is None:
        rows, copies = _within(_combined(frame, along.within), int(size))
        changed = tuple(nested)
    else:
        codes, _ = _levels(frame, "along", along.column)
        rows, copies = _along(codes, int(size))
        is_label = along.column in labels or not isinstance(frame.column(along.column), np.ndarray)
        changed = (*nested, along.column) if is_label else tuple(nested)
    if not copies.any():
        return Extension(rows, {})
    columns = {name: _relabelled(name, frame.column(name), rows, copies) for name in changed}
    if along.column is not None and along.column not in changed:
        columns[along.column] = _continued(frame, along.column, rows, copies)
    return Extension(rows, columns)


def nested_in(frame: Frame, along: Along, columns: Sequence[str]) -> list[str]:
    """The columns each of whose levels belongs to one level of `along`, or to a single row."""
    outer = np.arange(frame.num_rows)
    if along.column is not None:
        outer, _ = _levels(frame, "along", along.column)
    others = [name for name in columns if name != along.column and name not in along.within]
    return [name for name in others if not splits(_levels(frame, "nested", name)[0], outer)]


def _along(codes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and number of the copy of each: level k is a copy of level k modulo their number."""
    number = int(codes.max()) + 1
    parts = [np.flatnonzero(codes < size - first) for first in range(0, size, number)]
    return np.concatenate(parts), np.repeat(np.arange(len(parts)), list(map(len, parts)))


def _within(codes: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The same where row k of a level is a copy of its row k modulo their number."""
    counts = np.bincount(codes)
    order = np.argsort(codes, kind="stable")
    place = np.empty(len(codes), int)
    place[order] = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    parts = [
        np.flatnonzero(place + copy * counts[codes] < size)
        for copy in range(-(-size // int(counts.min())))
    ]
    return np.concatenate(parts), np.repeat(np.arange(len(parts)), list(map(len, parts)))


def _combined(frame: Frame, names: tuple[str, ...]) -> np.ndarray:
    """Codes of the combinations of levels."""
    found = np.stack([_levels(frame, "within", name)[0] for name in names], axis=1)
    return np.unique(found, axis=0, return_inverse=True)[1].ravel()


def _levels(frame: Frame, argument: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Codes 0, 1, ... of each row and the values: numbers by size, others as they first appear."""
    if name not in frame:
        frame.unknown(name, f"column (given as {argument}=)")
    column = frame.column(name)
    missing = is_missing(column)
    if missing.any():
        raise InputError(
            f"{argument}: column '{name}' is missing in {show_rows(np.flatnonzero(missing))}. "
            "Leave these rows out of the data."
        )
    if len(column) == 0:
        raise InputError(f"{argument}: column '{name}' has no rows. Look at how it was read.")
    if isinstance(column, np.ndarray):
        values, codes = np.unique(column, return_inverse=True)
        return codes, values
    values, first, codes = np.unique(column.codes, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[codes], values[order]


def _continued(frame: Frame, name: str, rows: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """A numeric column whose values go on at their distance."""
    codes, values = _levels(frame, "along", name)
    steps = np.diff(values)
    if values.dtype.kind not in "if" or not len(steps):
        even = False
    else:
        even = np.ptp(steps) <= _UNEVEN * np.abs(steps).max()
    if not even:
        raise InputError(
            f"along: the {len(values)} values of '{name}' are not evenly spaced, so it is not "
            "clear what comes after them. Extend the table yourself and give it as data=; if the "
            "numbers are labels, make them text."
        )
    number = codes[rows] + copies * len(values)
    further = values[-1] + steps[0] * (number - len(values) + 1)
    return np.where(copies > 0, further, values[codes[rows]]).astype(values.dtype)


def _relabelled(name: str, column: Column, rows: np.ndarray, copies: np.ndarray) -> Column:
    """A column of labels in which every copy of a level is a level of its own."""
    import pandas as pd

    numeric = isinstance(column, np.ndarray)
    if numeric and column.dtype.kind not in "if":
        raise InputError(f"'{name}' holds dates, which cannot be labels of copies. Make it text.")
    levels = factorise(column) if isinstance(column, np.ndarray) else column
    number = len(levels.categories)
    places = np.asarray(levels.codes, np.int64)[rows] + copies * number
    new, inverse = np.unique(places[copies > 0], return_inverse=True)
    codes = places.copy()
    codes[copies > 0] = number + inverse
    labels = _new_labels(name, list(levels.categories), new)
    if isinstance(column, np.ndarray):
        return np.array([*levels.categories, *labels], column.dtype)[codes]
    categories = pd.Index([*levels.categories, *labels])
    return pd.Categorical.from_codes(codes.tolist(), categories, ordered=levels.ordered)


def _new_labels(name: str, known: list[Any], places: np.ndarray) -> list[Any]:
    """Labels of copies: place c n + k is copy c of label k of n; numbers after the largest one,
    else `label_2`, `label_3`, ..., none of them known."""
    if all(isinstance(label, (bool, np.bool_)) for label in known):
        raise InputError(f"'{name}' is True or False: there are no further levels. Make it text.")
    if all(isinstance(label, (int, float, np.number)) for label in known):
        largest = int(np.floor(max(known)))
        return [largest + 1 + k for k in range(len(places))]
    taken, made = set(map(str, known)), list[str]()
    for place in places.tolist():
        label, copy = known[place % len(known)], place // len(known) + 1
        while f"{label}_{copy}" in taken:
            copy += 1
        made.append(f"{label}_{copy}")
        taken.add(made[-1])
    return made
