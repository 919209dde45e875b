"""A table of any kind, read column by column and only where a column is used."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.columns import convert, is_single

if TYPE_CHECKING:
    from jaxglmm.frontend.columns import Column


class Frame:
    """A pandas or polars data frame, pyarrow table, or dict of arrays.

    num_rows: rows of the table; names: its columns. `column(name)` is an int64, float64 or
    datetime64 array, or a pandas.Categorical; it is converted when first asked for.
    """

    def __init__(self, data: Any) -> None:
        self._columns: dict[str, Any] = _source(data)
        self._converted: dict[str, Column] = {}
        self.names: tuple[str, ...] = tuple(self._columns)
        self.num_rows: int = _num_rows(data, self._columns)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def column(self, name: str) -> Column:
        """The converted column; an unknown name is an InputError with the closest names."""
        if name not in self._converted:
            if name not in self._columns:
                self.unknown(name)
            self._converted[name] = convert(self._columns[name](), name)
        return self._converted[name]

    def unknown(self, name: str, what: str = "column") -> NoReturn:
        """Raise the InputError for a name that is no column."""
        close = difflib.get_close_matches(name, self.names, n=3, cutoff=0.5)
        folded = [n for n in self.names if n.casefold() == name.casefold()]
        suggestions = list(dict.fromkeys(folded + close))[:3]
        if suggestions:
            hint = "Did you mean " + " or ".join(f"'{n}'" for n in suggestions) + "?"
        else:
            shown = ", ".join(self.names[:10]) + (", ..." if len(self.names) > 10 else "")
            hint = f"The columns are: {shown}." if self.names else "The data has no columns."
        raise InputError(f"There is no {what} '{name}' in the data. {hint}")


def _source(data: Any) -> dict[str, Any]:
    """Name -> a function that fetches the raw column."""
    if isinstance(data, Mapping):
        return {str(name): (lambda v=values: v) for name, values in data.items()}
    if isinstance(data, np.ndarray) and data.dtype.names:
        return {name: (lambda n=name: data[n]) for name in data.dtype.names}
    if type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "columns"):
        return _pandas_source(data)
    return _narwhals_source(data)


def _pandas_source(data: Any) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for i, name in enumerate(data.columns):
        key = str(name)
        fetch = (lambda k=key: _twice(k)) if key in columns else (lambda j=i: data.iloc[:, j])
        columns[key] = fetch
    return columns


def _twice(name: str) -> NoReturn:
    raise InputError(f"The data has several columns named '{name}'. Rename all but one.")


def _narwhals_source(data: Any) -> dict[str, Any]:
    import narwhals as nw

    try:
        frame = nw.from_native(data, eager_only=True)
    except TypeError:
        hint = "Call .collect() on it first." if hasattr(data, "collect") else ""
        raise InputError(
            f"data is a {type(data).__name__}; give a pandas or polars data frame, a pyarrow "
            f"table or a dict of arrays. {hint}".rstrip()
        ) from None
    return {name: (lambda n=name: frame.get_column(n).to_native()) for name in frame.columns}


def _num_rows(data: Any, columns: dict[str, Any]) -> int:
    if not isinstance(data, Mapping):
        return len(data)
    lengths = {}
    for name, fetch in columns.items():
        values = fetch()
        if is_single(values):
            raise InputError(
                f"Column '{name}' of data is a single value; give an array with one entry a row."
            )
        lengths[name] = len(values)
    first = next(iter(lengths), None)
    for name, length in lengths.items():
        if length != lengths[first]:
            raise InputError(
                f"The columns of data differ in length: '{first}' has {lengths[first]} entries, "
                f"'{name}' has {length}. Give all of them one entry a row."
            )
    return lengths[first] if first is not None else 0
