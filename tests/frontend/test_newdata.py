"""The same columns for new data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from jaxglmm.errors import InputError
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.newdata import new_data

FORMULAS = [
    "y ~ x + (1 + x | g)",
    "y ~ f*flag + (f | g)",
    "y ~ 0 + ordered + (0 + ordered | g)",
    "y ~ scale(x) + poly(z, 2) + (scale(x) | g)",
    "y ~ bs(x, df=4) + C(z) + (0 + C(z) | g)",
    "y ~ C(f, contr.sum) + (C(f) | g)",
    "y ~ C(z) + (C(z) | g)",
    "y ~ Q('my x') + I(flag * 2) + (1 | g)",
    "y ~ `my x` + log(`a.b`) + (1 | h:ordered)",
    "y ~ center(x):f + offset(log(exposure)) + (1 | factor(g))",
    "y ~ f + (1 | g) + (0 + scale(x) | g)",
    "y ~ f + ar1(0 + f | g) + ou(z | g)",
    "y ~ exp(scale(x) + z | only)",
]


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("contrasts", ["treatment", "sum", "full"])
def test_rows_of_the_fit_come_back(build, table, formula: str, contrasts: str) -> None:
    data = build(formula, contrasts=contrasts)
    some = [31, 2, 17]
    for rows in (list(range(40)), some, [5]):
        new = new_data(data, Frame(table.iloc[rows]))
        np.testing.assert_allclose(new.X, data.X[rows], atol=1e-12)
        np.testing.assert_allclose(new.Z[0], data.groupings[0].Z[rows], atol=1e-12)
        np.testing.assert_array_equal(new.codes[0], data.groupings[0].codes[rows])
        assert new.codes[0].dtype == np.int32
        assert not new.missing.any()
        if data.offset is None:
            assert new.offset is None
        else:
            np.testing.assert_allclose(new.offset, data.offset[rows])


def test_dropped_columns_stay_dropped(build, table) -> None:
    table["twice"] = 2 * table["x"]
    data = build("y ~ x + twice + z", data=table)
    new = new_data(data, Frame({"x": [1.0], "twice": [99.0], "z": [3]}))
    np.testing.assert_array_equal(new.X, [[1, 1, 3]])


def test_the_response_is_not_needed(build) -> None:
    data = build("log(y) ~ x + (1 | g)", weights="w")
    new = new_data(data, Frame({"x": [0.5], "g": [20]}))
    np.testing.assert_array_equal(new.X, [[1, 0.5]])
    assert new.codes[0].tolist() == [1]


def test_without_groups(build) -> None:
    data = build("y ~ x + (z | g)")
    new = new_data(data, Frame({"x": [0.5]}), groups=False)
    assert (new.Z, new.codes) == ((), ())
    with pytest.raises(InputError, match="no column 'z'"):
        new_data(data, Frame({"x": [0.5]}))


def test_unseen_and_missing_groups(build) -> None:
    data = build("y ~ x + (1 | g)")
    new = new_data(data, Frame({"x": [1.0, 2.0, 3.0], "g": [10, 99, None]}))
    assert new.codes[0].tolist() == [0, -1, -1]
    both = build("y ~ (1 | h:g)")
    levels = both.groupings[0].levels
    new = new_data(both, Frame({"h": ["u", "v", "w", "v", None], "g": [30, 10, 10, 7, 10]}))
    assert new.codes[0].tolist() == [levels.index("u:30"), levels.index("v:10"), -1, -1, -1]


def test_missing_among_categories_of_a_group(build, table) -> None:
    data = build("y ~ (1 | ordered)")
    new = table[["ordered"]].iloc[:3].copy()
    new["ordered"] = new["ordered"].cat.remove_unused_categories()
    new.loc[1, "ordered"] = None
    assert new_data(data, Frame(new)).codes[0].tolist() == [0, -1, 1]


def test_a_pair_that_was_never_seen(build, table) -> None:
    table = table[~((table["h"] == "u") & (table["g"] == 50))]
    data = build("y ~ (1 | h:g)", data=table)
    assert "u:50" not in data.groupings[0].levels
    new = new_data(data, Frame({"h": ["u", "v"], "g": [50, 50]}))
    assert new.codes[0].tolist() == [-1, data.groupings[0].levels.index("v:50")]


@pytest.mark.parametrize(
    ("formula", "change", "message"),
    [
        ("y ~ f", {"f": ["a", "q"]}, r"Column 'f' .* level 'q', .* \(its levels are 'a', 'b', 'c'"),
        ("y ~ x + (f | g)", {"f": ["q", "a"]}, "Column 'f' .* level 'q'"),
        ("y ~ ordered", {"ordered": ["none", "lo"]}, "Column 'ordered' .* level 'none'"),
        ("y ~ C(z)", {"z": [1, 77]}, "level 77"),
        ("y ~ x", {"x": ["a", "b"]}, "Column 'x' held numbers"),
        ("y ~ log(w)", {"w": [0.0, 1.0]}, r"'log\(w\)' is not finite in row 0"),
        ("y ~ bs(x, df=4)", {"x": [1e9, 0]}, "cannot be evaluated"),
    ],
)
def test_values_that_were_not_seen(build, table, formula, change, message) -> None:
    data = build(formula)
    new = table.iloc[:2].assign(**change)
    with pytest.raises(InputError, match=message):
        new_data(data, Frame(new))


def test_levels_in_another_order_or_kind(build, table) -> None:
    data = build("y ~ f + ordered + flag + (1 | g)")
    new = table.assign(
        f=pd.Categorical(table["f"], categories=["zz", "c", "b", "a"]),
        ordered=table["ordered"].astype(str),
        flag=table["flag"].astype(object),
        g=table["g"].astype(float),
    )
    found = new_data(data, Frame(new))
    np.testing.assert_array_equal(found.X, data.X)
    np.testing.assert_array_equal(found.codes[0], data.groupings[0].codes)


def test_missing_predictors_give_nan(build, table) -> None:
    data = build("y ~ x + f + offset(w) + (z | g)")
    new = table.iloc[:4].copy()
    new.loc[1, "x"] = np.nan
    new.loc[2, "f"] = None
    found = new_data(data, Frame(new))
    assert found.missing.tolist() == [False, True, True, False]
    np.testing.assert_array_equal(np.isnan(found.X).all(axis=1), found.missing)
    np.testing.assert_array_equal(found.X[[0, 3]], data.X[[0, 3]])
    np.testing.assert_array_equal(np.isnan(found.offset), found.missing)
    assert np.isnan(found.Z[0][1:3]).all()
    np.testing.assert_array_equal(found.codes[0], data.groupings[0].codes[:4])


def test_nothing_but_missing_rows(build) -> None:
    data = build("y ~ x + poly(z, 2)")
    found = new_data(data, Frame({"x": [np.nan, np.nan], "z": [1, 2]}))
    assert found.missing.all() and np.isnan(found.X).all()
    assert found.X.shape == (2, 4)


def test_offsets_of_new_data(build, table) -> None:
    few = Frame(table.iloc[:3])
    by_name = build("y ~ x + offset(w)", offset="z")
    np.testing.assert_allclose(new_data(by_name, few).offset, by_name.offset[:3])
    given = new_data(by_name, few, offset=[1.0, 2.0, 3.0])
    np.testing.assert_allclose(given.offset, table["w"][:3] + [1.0, 2.0, 3.0])
    by_array = build("y ~ x", offset=np.ones(40))
    np.testing.assert_array_equal(new_data(by_array, few, offset=0).offset, np.zeros(3))
    with pytest.raises(InputError, match="fitted with an array as offset="):
        new_data(by_array, few)
    with pytest.raises(InputError, match="offset has 2 entries, but the data has 3 rows"):
        new_data(by_array, few, offset=[1.0, 2.0])


def test_stateful_offset(build, table) -> None:
    data = build("y ~ x + offset(center(w))")
    assert abs(data.offset.mean()) < 1e-12
    np.testing.assert_allclose(new_data(data, Frame(table.iloc[:3])).offset, data.offset[:3])
