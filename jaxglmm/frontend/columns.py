"""One column of a table -> numbers (int64, float64), dates or a pandas.Categorical.

A missing value is NaN or an infinity among numbers, NaT among dates, code -1 among categories.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.host import by_parts

if TYPE_CHECKING:
    import pandas as pd

    Column: TypeAlias = np.ndarray | pd.Categorical


def convert(values: Any, name: str) -> Column:
    """A column of any kind of table, a list or an array."""
    module = type(values).__module__.partition(".")[0]
    if module == "pandas":
        return _from_pandas(values, name)
    if module == "polars":
        return _from_polars(values, name)
    if module == "pyarrow":
        return _from_pyarrow(values, name)
    if not isinstance(values, (np.ndarray, list, tuple, range)) and hasattr(values, "to_pandas"):
        return _from_pandas(values.to_pandas(), name)
    return _from_array(_as_array(values, name), name)


def is_single(values: Any) -> bool:
    """Whether this is one value, not a column of them."""
    return (
        isinstance(values, str) or getattr(values, "ndim", 1) == 0 or not hasattr(values, "__len__")
    )


def is_categorical(column: Column) -> bool:
    """Whether a converted column is a pandas.Categorical."""
    return not isinstance(column, np.ndarray)


def may_miss(column: Column) -> bool:
    """Whether entries of a converted column can be missing at all."""
    return is_categorical(column) or column.dtype.kind in "fM"


def is_missing(column: Column) -> np.ndarray:
    """(n,) bool: which entries of a converted column are missing or infinite."""
    if not isinstance(column, np.ndarray):
        return column.codes < 0
    if column.dtype.kind == "f":
        return ~np.isfinite(column)
    return np.isnat(column) if column.dtype.kind == "M" else np.zeros(len(column), bool)


def factorise(values: Any) -> pd.Categorical:
    """Categories in sorted order (False, True; numbers by size; text by code point)."""
    import pandas as pd

    if isinstance(values, np.ndarray) and values.dtype.kind == "i" and values.size:
        counted = _by_counting(values)
        if counted is not None:
            return pd.Categorical.from_codes(counted[0], categories=pd.Index(counted[1]))
    codes, uniques = pd.factorize(values, use_na_sentinel=True)
    levels = list(np.asarray(uniques, dtype=object)) if not _is_number(uniques) else uniques
    order = _sorting(levels)
    rank = np.empty(len(order) + 1, np.int64)
    rank[order] = np.arange(len(order))
    rank[-1] = -1
    categories = pd.Index(levels)[order] if len(order) else pd.Index(levels)
    return pd.Categorical.from_codes(rank[codes], categories=categories)


def _by_counting(values: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Codes and sorted levels of whole numbers that lie close together; None for others.

    A table of all numbers between the least and the greatest: no hashing, no sorting.
    """
    ends = by_parts(lambda part: (values[part].min(), values[part].max()), len(values))
    low, high = int(min(ends)[0]), int(max(high for _, high in ends))
    if high - low > 2 * len(values):
        return None
    seen = np.zeros(high - low + 1, bool)
    codes = np.empty(len(values), np.int32)

    def see(part: slice) -> None:
        seen[values[part] - low] = True

    by_parts(see, len(values))
    rank = np.cumsum(seen, dtype=np.int32) - np.int32(1)

    def code(part: slice) -> None:
        rank.take(values[part] - low, out=codes[part], mode="clip")

    by_parts(code, len(values))
    return codes, np.flatnonzero(seen) + low


def _is_number(values: Any) -> bool:
    return isinstance(values, np.ndarray) and values.dtype.kind in "iufM"


def _sorting(levels: Any) -> np.ndarray:
    """Order of the levels; mixed kinds that do not compare go by kind, then by their text."""
    if isinstance(levels, np.ndarray):
        return np.argsort(levels, kind="stable")
    try:
        return np.array(sorted(range(len(levels)), key=levels.__getitem__), dtype=np.int64)
    except TypeError:
        kinds = [(type(level).__name__, str(level)) for level in levels]
        return np.array(sorted(range(len(levels)), key=kinds.__getitem__), dtype=np.int64)


def _booleans(values: np.ndarray, missing: np.ndarray | None = None) -> pd.Categorical:
    import pandas as pd

    codes = values.astype(np.int8)
    if missing is not None:
        codes = np.where(missing, np.int8(-1), codes)
    return pd.Categorical.from_codes(codes, categories=[False, True])


def _as_array(values: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.empty(0).reshape(0, 0)
    if array.ndim != 1:
        raise InputError(
            f"Column '{name}' must be one-dimensional, but has shape {np.shape(array)}. "
            "Give each of its columns a name of its own."
        )
    if array.dtype.kind in "US" and isinstance(values, (list, tuple)):
        array = np.asarray(values, dtype=object)  # keeps None and numbers apart from text
    return array


def _from_array(values: np.ndarray, name: str) -> Column:
    kind = values.dtype.kind
    if kind == "b":
        return _booleans(values)
    if kind in "iu":
        small = kind == "i" or values.dtype.itemsize < 8 or values.max(initial=0) < 2**63
        return values.astype(np.int64 if small else np.float64, copy=False)
    if kind == "f":
        return values.astype(np.float64, copy=False)
    if kind == "M":
        return values.astype("datetime64[ns]", copy=False)
    if kind in "OUST":
        return _from_objects(values.astype(object, copy=False), name)
    raise InputError(
        f"Column '{name}' holds values of type {values.dtype}, which cannot be used. "
        "Convert it to numbers or text first."
    )


def _from_objects(values: np.ndarray, name: str) -> Column:
    import pandas as pd

    kind = pd.api.types.infer_dtype(values, skipna=True)
    if kind in ("integer", "floating", "mixed-integer-float", "decimal", "empty"):
        numbers = np.where(pd.isna(values), np.nan, values).astype(np.float64)
        whole = kind == "integer" and not np.isnan(numbers).any()
        return values.astype(np.int64) if whole else numbers
    if kind == "boolean":
        missing = pd.isna(values)
        return _booleans(np.where(missing, False, values).astype(bool), missing)
    if kind in ("datetime64", "datetime", "date"):
        return pd.to_datetime(pd.Series(values)).to_numpy().astype("datetime64[ns]")
    try:
        return factorise(values)
    except TypeError:
        example = next(v for v in values if v is not None)
        raise InputError(
            f"Column '{name}' holds values of type {type(example).__name__}, which cannot be "
            "used. Convert it to numbers or text first."
        ) from None


def _from_pandas(values: Any, name: str) -> Column:
    import pandas as pd

    dtype = values.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return values if isinstance(values, pd.Categorical) else pd.Categorical(values)
    if isinstance(dtype, np.dtype):
        return _from_array(np.asarray(values), name)
    if pd.api.types.is_bool_dtype(dtype):
        missing = np.asarray(values.isna())
        return _booleans(values.to_numpy(dtype=bool, na_value=False), missing)
    if pd.api.types.is_integer_dtype(dtype) and not values.hasnans:
        return values.to_numpy(dtype=np.int64)
    if pd.api.types.is_numeric_dtype(dtype) or "decimal" in str(dtype):
        return values.to_numpy(dtype=np.float64, na_value=np.nan)
    if pd.api.types.is_datetime64_any_dtype(dtype):
        naive = values.dt.tz_convert(None) if getattr(dtype, "tz", None) else values
        return np.asarray(naive, dtype="datetime64[ns]")
    if pd.api.types.is_string_dtype(dtype):
        return factorise(values)
    if str(dtype).startswith("dictionary"):
        return _from_pyarrow(values.array.__arrow_array__(), name)
    return _from_objects(values.to_numpy(dtype=object), name)


def _from_polars(values: Any, name: str) -> Column:
    import pandas as pd
    import polars as pl

    dtype = values.dtype
    if isinstance(dtype, pl.Enum):
        codes = values.to_physical().cast(pl.Int64).fill_null(-1).to_numpy()
        return pd.Categorical.from_codes(codes, categories=pd.Index(dtype.categories.to_list()))
    if dtype == pl.Categorical or dtype == pl.String:
        return factorise(values.cast(pl.String).to_numpy())
    if dtype == pl.Boolean:
        missing = values.is_null().to_numpy()
        return _booleans(values.fill_null(False).to_numpy(), missing)
    if dtype.is_integer() and not values.null_count():
        return _from_array(values.to_numpy(), name)
    if dtype.is_numeric() or dtype == pl.Null:
        return values.cast(pl.Float64).to_numpy()
    if dtype in (pl.Date, pl.Datetime):
        naive = values.cast(pl.Datetime("ns"))
        return naive.to_numpy().astype("datetime64[ns]")
    return _from_objects(np.array(values.to_list() + [None], dtype=object)[:-1], name)


def _from_pyarrow(values: Any, name: str) -> Column:
    import pandas as pd
    import pyarrow as pa

    if isinstance(values, pa.ChunkedArray):
        values = values.unify_dictionaries().combine_chunks()
        values = values.chunk(0) if isinstance(values, pa.ChunkedArray) else values
    if pa.types.is_dictionary(values.type):
        codes = values.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        levels = pd.Index(values.dictionary.to_pylist())
        return pd.Categorical.from_codes(codes, categories=levels)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        encoded = _from_pyarrow(values.dictionary_encode(), name)
        return _sort_categories(encoded)
    if pa.types.is_boolean(values.type):
        missing = np.asarray(values.is_null())
        return _booleans(np.asarray(values.fill_null(False)), missing)
    if pa.types.is_integer(values.type) and not values.null_count:
        return _from_array(values.to_numpy(zero_copy_only=False), name)
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    if pa.types.is_integer(values.type) or pa.types.is_floating(values.type):
        return values.to_numpy(zero_copy_only=False).astype(np.float64)
    if pa.types.is_timestamp(values.type) or pa.types.is_date(values.type):
        return values.cast(pa.timestamp("ns")).to_numpy(zero_copy_only=False)
    return _from_objects(np.array(values.to_pylist() + [None], dtype=object)[:-1], name)


def _sort_categories(column: Any) -> pd.Categorical:
    return column.set_categories(sorted(column.categories))
