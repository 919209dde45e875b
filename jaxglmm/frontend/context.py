"""The rows and columns a model uses: what formulaic looks names up in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.columns import is_categorical
from jaxglmm.frontend.frame import Frame
from jaxglmm.host import count

if TYPE_CHECKING:
    import pandas as pd

TREATMENT, SUM, FULL = CODINGS = ("treatment", "sum", "full")


@dataclass(frozen=True, eq=False)
class Factor:
    """A categorical column: `levels[codes[i]]` is the value of row i.

    levels: those with a row; declared: all the data knows of.
    """

    codes: np.ndarray
    levels: list[Any]
    declared: list[Any]

    @property
    def is_bool(self) -> bool:
        return all(isinstance(level, (bool, np.bool_)) for level in self.levels)

    def values(self) -> np.ndarray | pd.Categorical:
        """The values for an expression: bool, or a pandas.Categorical."""
        import pandas as pd

        if self.is_bool:
            return np.array(self.levels, bool)[self.codes]
        return pd.Categorical.from_codes(self.codes, categories=pd.Index(self.levels))


class Columns(Mapping):
    """Columns on the rows used; indexing gives the pandas.Series that an expression sees."""

    def __init__(
        self, num_rows: int, arrays: dict[str, np.ndarray | Factor], coding: dict[str, str]
    ) -> None:
        self.num_rows = num_rows
        self.arrays = arrays
        self.coding = coding

    def __getitem__(self, name: str) -> pd.Series:
        import pandas as pd

        column = self.arrays[name]
        values = column.values() if isinstance(column, Factor) else column
        return pd.Series(values, name=name, copy=False)

    def __contains__(self, name: object) -> bool:
        return name in self.arrays

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)


def used_columns(
    frame: Frame, names: Iterable[str], rows: np.ndarray
) -> dict[str, np.ndarray | Factor]:
    """The named columns on `rows`; categorical ones lose the levels without a row."""
    arrays: dict[str, np.ndarray | Factor] = {}
    every_row = len(rows) == frame.num_rows
    for name in names:
        column = frame.column(name)
        if isinstance(column, np.ndarray):
            arrays[name] = column if every_row else column[rows]
        else:
            codes = column.codes if every_row else column.codes[rows]
            arrays[name] = drop_unused(codes, column.categories.tolist())
    return arrays


def drop_unused(codes: np.ndarray, levels: list[Any]) -> Factor:
    """The same factor without the levels that have no row."""
    used = count(codes, len(levels)) > 0
    if used.all():
        return Factor(codes, levels, levels)
    kept = [level for level, has_row in zip(levels, used, strict=True) if has_row]
    return Factor((np.cumsum(used) - 1)[codes], kept, levels)


def recoded_columns(
    frame: Frame, known: Mapping[str, list[Any] | None], rows: np.ndarray
) -> dict[str, np.ndarray | Factor]:
    """New data on the levels seen in fitting; `known[name]` is None for a column of numbers."""
    arrays: dict[str, np.ndarray | Factor] = {}
    for name, levels in known.items():
        column = frame.column(name)
        if levels is None:
            if is_categorical(column):
                raise InputError(
                    f"Column '{name}' held numbers when the model was fitted, but holds "
                    "categories in the new data. Give numbers."
                )
            arrays[name] = np.asarray(column)[rows]
            continue
        codes = match_levels(column, levels)[rows]
        if (codes < 0).any():
            _refuse_unseen(name, column, levels, rows[codes < 0])
        arrays[name] = Factor(codes, levels, levels)
    return arrays


def match_levels(column: Any, levels: list[Any]) -> np.ndarray:
    """(n,) position of each value among `levels`, -1 for a missing or unseen one."""
    import pandas as pd

    index = pd.Index(levels)
    if isinstance(column, np.ndarray):
        return index.get_indexer(pd.Index(column))
    found = index.get_indexer(column.categories)
    return np.append(found, -1)[column.codes]


def _refuse_unseen(name: str, column: Any, levels: list[Any], rows: np.ndarray) -> None:
    unseen = sorted({str(column[row]) for row in rows[:1000].tolist()})
    shown = ", ".join(f"'{v}'" for v in unseen[:5]) + (", ..." if len(unseen) > 5 else "")
    seen = ", ".join(f"'{v}'" for v in levels[:10]) + (", ..." if len(levels) > 10 else "")
    raise InputError(
        f"Column '{name}' of the new data has the level {shown}, which the model has not seen "
        f"(its levels are {seen}). Remove these rows, or fit again with such rows."
    )
