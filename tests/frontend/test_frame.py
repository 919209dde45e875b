"""Tables of all kinds give the same columns."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest

from jaxglmm.errors import InputError
from jaxglmm.frontend.columns import factorise, is_categorical, is_missing
from jaxglmm.frontend.frame import Frame

COLUMNS = {
    "whole": [3, 1, 2],
    "gaps": [1, None, 3],
    "real": [1.5, None, float("inf")],
    "text": ["b", "a", None],
    "numerals": ["10", "9", "1"],
    "flag": [True, False, True],
    "holes": [True, None, False],
    "day": [datetime.date(2020, 1, 2), None, datetime.date(2020, 1, 1)],
    "empty": [None, None, None],
}


def from_pandas() -> object:
    return pd.DataFrame(COLUMNS)


def from_pandas_arrow() -> object:
    return pd.DataFrame(COLUMNS).convert_dtypes(dtype_backend="pyarrow")


def from_pandas_nullable() -> object:
    return pd.DataFrame(COLUMNS).convert_dtypes()


def from_polars() -> object:
    return pytest.importorskip("polars").DataFrame(COLUMNS)


def from_pyarrow() -> object:
    return pytest.importorskip("pyarrow").table(COLUMNS)


def from_dict() -> object:
    return COLUMNS


KINDS = [from_pandas, from_pandas_nullable, from_pandas_arrow, from_polars, from_pyarrow, from_dict]


@pytest.mark.parametrize("make", KINDS)
def test_every_kind_of_table(make) -> None:
    if make is from_pandas_arrow:
        pytest.importorskip("pyarrow")
    frame = Frame(make())
    assert frame.num_rows == 3
    assert frame.names == tuple(COLUMNS)

    whole = frame.column("whole")
    assert whole.dtype == np.int64
    np.testing.assert_array_equal(whole, [3, 1, 2])
    for name, missing in {"gaps": [0, 1, 0], "real": [0, 1, 1], "empty": [1, 1, 1]}.items():
        column = frame.column(name)
        if name != "empty" or not is_categorical(column):
            assert column.dtype == np.float64
        np.testing.assert_array_equal(is_missing(column), np.array(missing, bool))
    np.testing.assert_array_equal(frame.column("gaps")[[0, 2]], [1.0, 3.0])

    text = frame.column("text")
    assert text.categories.tolist() == ["a", "b"]
    assert text.codes.tolist() == [1, 0, -1]
    assert frame.column("numerals").categories.tolist() == ["1", "10", "9"]
    assert frame.column("flag").categories.tolist() == [False, True]
    assert frame.column("flag").codes.tolist() == [1, 0, 1]
    assert frame.column("holes").codes.tolist() == [1, -1, 0]
    day = frame.column("day")
    assert day.dtype.kind == "M"
    assert is_missing(day).tolist() == [False, True, False]
    assert day[0] - day[2] == np.timedelta64(1, "D")


def test_pandas_categories_keep_their_order() -> None:
    values = pd.Categorical(["lo", "hi", "lo"], categories=["lo", "mid", "hi"])
    for column in (pd.Series(values), pd.Series(values.as_ordered()), values):
        found = Frame({"c": column}).column("c")
        assert found.categories.tolist() == ["lo", "mid", "hi"]
        assert found.codes.tolist() == [0, 2, 0]


def test_polars_enum_and_categorical() -> None:
    pl = pytest.importorskip("polars")
    values = ["lo", None, "hi"]
    frame = Frame(
        pl.DataFrame(
            {
                "e": pl.Series(values, dtype=pl.Enum(["lo", "mid", "hi"])),
                "c": pl.Series(values, dtype=pl.Categorical),
                "d": pl.Series(["1.5", None, "2"]).cast(pl.Decimal(10, 2)),
            }
        )
    )
    assert frame.column("e").categories.tolist() == ["lo", "mid", "hi"]
    assert frame.column("e").codes.tolist() == [0, -1, 2]
    assert frame.column("c").categories.tolist() == ["hi", "lo"]
    np.testing.assert_array_equal(frame.column("d"), [1.5, np.nan, 2.0])


def test_pyarrow_dictionaries_keep_their_order() -> None:
    pa = pytest.importorskip("pyarrow")
    array = pa.DictionaryArray.from_arrays(pa.array([1, None, 0]), pa.array(["lo", "hi"]))
    found = Frame(pa.table({"c": pa.chunked_array([array, array])})).column("c")
    assert found.categories.tolist() == ["lo", "hi"]
    assert found.codes.tolist() == [1, -1, 0, 1, -1, 0]


def test_other_values() -> None:
    frame = Frame(
        {
            "small": np.array([200, 100], np.uint8),
            "half": np.array([1.5, 2.5], np.float16),
            "mixed": np.array([2, "a"], dtype=object),
            "fixed": np.array(["b", "a"]),
            "zone": pd.Series(pd.to_datetime(["2020-01-02", "2020-01-01"]).tz_localize("UTC")),
            "tuple": (1, 2),
        }
    )
    assert frame.column("small").dtype == np.int64
    assert frame.column("half").dtype == np.float64
    assert frame.column("mixed").categories.tolist() == [2, "a"]
    assert frame.column("fixed").codes.tolist() == [1, 0]
    assert frame.column("zone").dtype == np.dtype("datetime64[ns]")
    assert frame.column("tuple").tolist() == [1, 2]


def test_records_and_names_that_are_no_text() -> None:
    records = np.array([(1, 2.0)], dtype=[("a", int), ("b", float)])
    assert Frame(records).column("b").tolist() == [2.0]
    assert Frame(pd.DataFrame([[1, 2]])).column("1").tolist() == [2]


def test_only_used_columns_are_converted() -> None:
    frame = Frame({"x": [1, 2], "bad": [[1], [2]]})
    assert frame.column("x").tolist() == [1, 2]
    assert "bad" in frame and "worse" not in frame


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (3, "data is a int; give a pandas or polars data frame"),
        ([{"x": 1}], "data is a list"),
        ({"x": [1, 2], "z": [1]}, "'x' has 2 entries, 'z' has 1"),
        ({"x": 1}, "Column 'x' of data is a single value"),
    ],
)
def test_what_is_no_table(data: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Frame(data)


def test_a_lazy_frame_must_be_collected() -> None:
    pl = pytest.importorskip("polars")
    with pytest.raises(InputError, match=r"data is a LazyFrame.*\.collect\(\)"):
        Frame(pl.LazyFrame({"x": [1]}))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros((2, 2)), r"Column 'x' must be one-dimensional, but has shape \(2, 2\)"),
        ([[1], [2, 3]], "Column 'x' must be one-dimensional"),
        (np.array([1j, 2]), "Column 'x' holds values of type complex128"),
        (pd.Series([{1}, {2}]), "Column 'x' holds values of type set"),
        (np.array([1, 2], "m8[s]"), "Column 'x' holds values of type timedelta64"),
    ],
)
def test_values_that_cannot_be_used(values: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Frame({"x": values}).column("x")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("wieght", "no column 'wieght' in the data. Did you mean 'weight'"),
        ("WEIGHT", "Did you mean 'weight'"),
        ("zzz", "The columns are: weight, height"),
    ],
)
def test_unknown_column(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Frame({"weight": [1], "height": [2]}).column(name)


def test_a_name_used_twice() -> None:
    frame = Frame(pd.DataFrame([[1, 2, 3]], columns=["x", "x", "z"]))
    assert frame.column("z").tolist() == [3]
    with pytest.raises(InputError, match="several columns named 'x'"):
        frame.column("x")


@pytest.mark.parametrize("values", [[5, 3, 9, 3], [-2, 0, -2, 7], [0, 1, 10**12], [4]])
def test_whole_numbers_are_factorised_as_pandas_does(values) -> None:
    numbers = np.array(values, np.int64)
    found = factorise(numbers)
    codes, levels = pd.factorize(numbers, sort=True)
    np.testing.assert_array_equal(found.codes, codes)
    pd.testing.assert_index_equal(found.categories, pd.Index(levels))
