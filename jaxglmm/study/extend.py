"""The verb: `extend(data, along, size)`, a table of another size of the same kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.frame import Frame
from jaxglmm.study.extension import Extension, along_of, column_names, nested_in, resize

if TYPE_CHECKING:
    from jaxglmm.frontend.columns import Column


def extend(
    data: Any,
    along: str | None = None,
    *,
    size: int,
    within: str | Sequence[str] | None = None,
    nested: str | Sequence[str] = (),
) -> Any:
    """A design with more (or fewer) levels, values or rows than the data have.

    Args:
        data: pandas, polars or pyarrow table, or a dict of arrays.
        along: the column whose number of levels becomes `size`. Fewer: the first ones stay, in the
            order in which they appear (numbers: by size). More: all rows of the levels are copied,
            level by level in turn, under new labels (`s1_2`, the second `s1`); everything else in a
            row stays as it is, so that factors that are crossed with `along` remain so. A numeric
            column is continued at the distance of its values; one whose values are not evenly
            spaced is refused.
        size: the number of levels; with `within` that of rows.
        within: in place of `along` a column, or several: each level (or combination of levels)
            gets `size` rows, the first ones or copies of its rows in turn.
        nested: columns of labels that belong to one level of `along` each (pupils with labels of
            their own along="school"; with `within` to one row): copies get new labels there too.

    Returns:
        A table of the same kind: the rows that stay, in their order, then the copies.

    Raises:
        InputError: a column that is not there, has missing values or cannot be continued.
    """
    frame, counted = Frame(data), along_of(along, within)
    names = column_names("nested", nested) if nested else ()
    own = nested_in(frame, counted, names)
    crossed = [name for name in names if name not in own]
    if crossed:
        unit = "a single row" if along is None else f"one level of '{along}'"
        raise InputError(
            f"nested: not every level of '{crossed[0]}' belongs to {unit}. Leave '{crossed[0]}' "
            "out: copies then have the same levels of it."
        )
    return rebuilt(data, resize(frame, counted, size, (), names))


def rebuilt(data: Any, made: Extension) -> Any:
    """The table that an extension describes, of the kind of `data`."""
    if isinstance(data, np.ndarray):
        data = {name: data[name] for name in data.dtype.names or ()}
    if isinstance(data, Mapping):
        rows = {name: _taken(values, made.rows) for name, values in data.items()}
        changed = made.columns.items()
        return {**rows, **{name: _as_before(column, data[name]) for name, column in changed}}
    if type(data).__module__.partition(".")[0] == "pandas":
        return _of_pandas(data, made)
    return _of_narwhals(data, made)


def _taken(values: Any, rows: np.ndarray) -> Any:
    """Entries of a column of any kind."""
    if isinstance(values, (list, tuple, range)):
        return [values[row] for row in rows.tolist()]
    values = getattr(values, "iloc", values)
    return values.take(rows) if hasattr(values, "take") else values[rows]


def _as_before(column: Column, before: Any) -> Column:
    """Labels as an array, unless they had categories before."""
    with_categories = hasattr(getattr(before, "dtype", None), "categories")
    return column if with_categories else np.asarray(column)


def _of_pandas(data: Any, made: Extension) -> Any:
    import pandas as pd

    table = data.iloc[made.rows].reset_index(drop=True)
    for name, column in made.columns.items():
        values = _as_before(column, data[name])
        dtype = data[name].dtype if isinstance(values, np.ndarray) else values.dtype
        table[name] = pd.Series(values, dtype=dtype)
    return table


def _of_narwhals(data: Any, made: Extension) -> Any:
    import narwhals as nw

    frame = nw.from_native(data, eager_only=True)
    table, like = frame[made.rows.tolist()], frame.implementation
    for name, column in made.columns.items():
        dtype = frame.schema[name]
        if isinstance(dtype, nw.Enum) and not isinstance(column, np.ndarray):
            dtype = nw.Enum([str(label) for label in column.categories])
        series = nw.new_series(name, np.asarray(column).tolist(), dtype, backend=like)
        table = table.with_columns(series)
    return table.to_native()
