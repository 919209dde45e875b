"""Where the responses of many models come from: arrays, tables, columns, Parquet files.

Each is read some models at a time: a memory map and a file may be larger than memory.
"""

from __future__ import annotations

import abc
import threading
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.columns import convert
from jaxglmm.frontend.frame import Frame


class AbstractSource(abc.ABC):
    """One array (num_models, num_rows), NaN where a value is missing.

    Attributes:
        names: of the models.
    """

    names: Sequence[Any]
    num_rows: int

    @property
    def categories(self) -> list[Any] | None:
        """What all models declare as the categories of their values; None where they differ."""
        return None

    @property
    def like(self) -> np.ndarray:
        """A response like all of them, (1, row): it decides what all models share."""
        return self.read(0, 1)

    @abc.abstractmethod
    def read(self, start: int, stop: int) -> np.ndarray:
        """The models start, ..., stop - 1; numbers, or objects for labels."""


class Matrix(AbstractSource):
    """An array (num_models, num_rows), in memory or mapped from a file."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array
        self.names = range(len(array))
        self.num_rows = array.shape[1]

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.array[start:stop]


class Drawn(AbstractSource):
    """Some of the responses that were drawn from a model.

    categories, like: as of all of them, so that what is fitted depends on none that is not here.
    """

    categories: list[Any] | None = None
    like: np.ndarray = np.empty(0)

    def __init__(self, some: AbstractSource, categories: Sequence[Any], like: np.ndarray) -> None:
        self.some, self.names, self.num_rows = some, some.names, some.num_rows
        self.categories, self.like = list(categories) or None, like

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.some.read(start, stop)


class Table(AbstractSource):
    """Columns of a table, a model each."""

    def __init__(self, frame: Frame, names: Sequence[str]) -> None:
        self.frame, self.names, self.num_rows = frame, list(names), frame.num_rows

    @property
    def categories(self) -> list[Any] | None:
        columns = [self.frame.column(name) for name in self.names]
        declared = [None if isinstance(c, np.ndarray) else c.categories.tolist() for c in columns]
        return declared[0] if all(found == declared[0] for found in declared) else None

    def read(self, start: int, stop: int) -> np.ndarray:
        return _stacked([self.frame.column(name) for name in self.names[start:stop]])


class Numbers(AbstractSource):
    """A pandas data frame of numbers, whose columns are models."""

    def __init__(self, table: Any) -> None:
        self.table, self.names, self.num_rows = table, list(table.columns), len(table)

    def read(self, start: int, stop: int) -> np.ndarray:
        return self.table.iloc[:, start:stop].to_numpy().T


class ParquetFile(AbstractSource):
    """A Parquet file, whose columns are models."""

    def __init__(self, argument: str, path: Path) -> None:
        parquet = _parquet(argument)
        if not path.is_file():
            raise InputError(f"{argument}: there is no file {str(path)!r}.")
        try:
            self._file = parquet.ParquetFile(path)
        except (OSError, ValueError) as error:
            raise InputError(
                f"{argument}: {str(path)!r} is not a Parquet file ({error}). Give one whose "
                "columns are models, or an array."
            ) from error
        schema = self._file.schema_arrow
        index = (schema.pandas_metadata or {}).get("index_columns", ())
        self.names = [name for name in schema.names if name not in index]
        self.num_rows = self._file.metadata.num_rows
        self._lock = threading.Lock()

    def read(self, start: int, stop: int) -> np.ndarray:
        names = self.names[start:stop]
        with self._lock:
            table = self._file.read(columns=names)
        return _stacked([convert(table.column(name), name) for name in names])


def source(argument: str, given: Any, num_rows: int, frame: Frame | None = None) -> AbstractSource:
    """The source of an argument; an InputError if it is none, or of another number of rows.

    Args:
        argument: its name, for messages.
        given: an array, a table, a path, or a list of columns of `frame`.
        num_rows: that a model must have.
        frame: the data, where columns of it may be named.
    """
    found = _source(argument, given, num_rows, frame)
    if found.num_rows != num_rows:
        by_row = isinstance(found, Matrix)
        shape = (len(found.names), found.num_rows)[:: 1 if by_row else -1]
        needed = f"(models, {num_rows})" if by_row else f"({num_rows}, models)"
        turn = " Its transpose has that shape." if len(found.names) == num_rows else ""
        raise InputError(
            f"{argument} has shape {shape}, but must have shape {needed}: in each model one value "
            f"for each of the {num_rows} rows {_whose(frame)}.{turn}"
        )
    if len(found.names) == 0:
        raise InputError(f"{argument} holds no models. Give one at least.")
    return found


def own_source(
    argument: str, given: Any, responses: AbstractSource, frame: Frame | None = None
) -> AbstractSource:
    """The source of what each model has beside its response: as many models, in the same order."""
    found = source(argument, given, responses.num_rows, frame)
    number, names = len(responses.names), [*found.names]
    if len(names) != number:
        raise InputError(
            f"{argument} has {len(names)} models, but there are {number}. Give one value a row for "
            "all models alike, or as many models as there are responses."
        )
    expected = [*responses.names]
    if names != expected and set(names) == set(expected):
        place = next(k for k in range(number) if names[k] != expected[k])
        raise InputError(
            f"{argument} has the models of the responses in another order: model {place} is "
            f"{names[place]!r}, but {expected[place]!r} there. Give both in one order."
        )
    return found


def _whose(frame: Frame | None) -> str:
    return "of the data" if frame is not None else "that the fit used"


def _source(argument: str, given: Any, num_rows: int, frame: Frame | None) -> AbstractSource:
    if isinstance(given, (str, PathLike)):
        return ParquetFile(argument, Path(given))
    if isinstance(given, (list, tuple)) and given and all(isinstance(n, str) for n in given):
        return _columns(argument, given, frame)
    if hasattr(given, "columns"):
        return _table(given)
    try:
        array = given if isinstance(given, np.ndarray) else np.asarray(given)
    except ValueError as error:
        raise InputError(f"{argument} must be an array ({error}).") from error
    if array.ndim != 2:
        raise InputError(
            f"{argument} has shape {array.shape}, but must have shape (models, {num_rows}): a row "
            "for each model, with one value for each row of the data. Give an array of two "
            "dimensions (y[None] of one model), a data frame whose columns are models, or a "
            "Parquet file of that kind."
        )
    return Matrix(array)


def _columns(argument: str, names: Sequence[str], frame: Frame | None) -> AbstractSource:
    if frame is None:
        raise InputError(
            f"{argument}: columns can be named for jaxglmm.fit_many, which has the data. Give an "
            "array (models, rows), or a data frame whose columns are models."
        )
    for name in names:
        if name not in frame:
            frame.unknown(name, f"column (named in {argument}=)")
    return Table(frame, names)


def _table(given: Any) -> AbstractSource:
    dtypes = getattr(given, "dtypes", ())
    if type(given).__module__.partition(".")[0] == "pandas" and all(
        isinstance(dtype, np.dtype) and dtype.kind in "biuf" for dtype in dtypes
    ):
        return Numbers(given)
    frame = Frame(given)
    return Table(frame, frame.names)


def _stacked(columns: list[Any]) -> np.ndarray:
    """Converted columns as rows; those of categories as objects."""
    return np.stack([c if isinstance(c, np.ndarray) else _of_categories(c) for c in columns])


def _of_categories(column: Any) -> np.ndarray:
    """False and True are numbers."""
    if all(isinstance(level, (bool, np.bool_)) for level in column.categories):
        return np.array([*map(float, column.categories), np.nan])[column.codes]
    return np.asarray(column, object)


def _parquet(argument: str) -> Any:
    try:
        from pyarrow import parquet
    except ImportError as error:
        raise InputError(
            f"{argument}: reading Parquet files needs pyarrow. Install it (pip install pyarrow), "
            "or give an array."
        ) from error
    return parquet
