"""Tables of other sizes: which rows they have, and what copies are called."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import jaxglmm as jg


def crossed() -> pd.DataFrame:
    """Three subjects in two arms by two items, each pair once."""
    table = pd.DataFrame(
        {
            "subject": np.repeat(["s3", "s1", "s2"], 2),
            "arm": np.repeat(["a", "b", "a"], 2),
            "item": ["i1", "i2"] * 3,
            "trial": [f"t{k}" for k in range(6)],
            "dose": [0.0, 0.5] * 3,
            "y": np.arange(6.0),
        }
    )
    return table.astype({"arm": "category"})


KINDS: dict[str, Any] = {
    "pandas": lambda d: d,
    "strings": lambda d: d.astype({"subject": "string", "trial": "category"}),
    "polars": lambda d: pl.from_pandas(d).with_columns(pl.col("item").cast(pl.Enum(["i2", "i1"]))),
    "pyarrow": lambda d: pa.Table.from_pandas(d, preserve_index=False),
    "dict": lambda d: {name: d[name].to_numpy() for name in d},
}


def as_pandas(table: Any) -> pd.DataFrame:
    if isinstance(table, dict):
        return pd.DataFrame(table)
    return table if isinstance(table, pd.DataFrame) else table.to_pandas()


@pytest.mark.parametrize("kind", KINDS)
def test_copies_of_levels_are_crossed_with_everything_else(kind: str) -> None:
    data = KINDS[kind](crossed())
    more = jg.extend(data, along="subject", size=7)
    assert type(more) is type(data)
    table = as_pandas(more)
    assert list(table["subject"].unique()) == ["s3", "s1", "s2", "s3_2", "s1_2", "s2_2", "s3_3"]
    pairs = pd.crosstab(table["subject"].astype(str), table["item"].astype(str))
    assert pairs.shape == (7, 2) and (pairs == 1).all(axis=None)
    arms = table.groupby(table["subject"].astype(str))["arm"].unique()
    assert [list(arms[name]) for name in ("s1_2", "s2_2", "s3_3")] == [["b"], ["a"], ["a"]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("asked", [{"along": "subject"}, {"along": "dose"}, {"within": "subject"}])
def test_a_table_extended_and_shrunk_is_the_table(kind: str, asked: dict[str, str]) -> None:
    data = KINDS[kind](crossed())
    nested = ["trial"] if "dose" not in asked.values() else []
    size = 3 if asked == {"along": "subject"} else 2
    back = jg.extend(jg.extend(data, size=5, nested=nested, **asked), size=size, **asked)
    before, after = as_pandas(data).astype(object), as_pandas(back).astype(object)
    pd.testing.assert_frame_equal(after, before)


def test_fewer_levels_are_the_first_that_appear() -> None:
    fewer = jg.extend(crossed(), along="subject", size=2)
    assert list(fewer["subject"]) == ["s3", "s3", "s1", "s1"]
    assert list(fewer.index) == [0, 1, 2, 3]


def test_nested_labels_are_copied_with_their_level() -> None:
    more = jg.extend(crossed(), along="subject", size=4, nested="trial")
    assert list(more["trial"])[6:] == ["t0_2", "t1_2"]
    plain = jg.extend(crossed(), along="subject", size=4)
    assert list(plain["trial"])[6:] == ["t0", "t1"]


def test_copies_of_copies_have_labels_of_their_own() -> None:
    once = jg.extend(crossed(), along="subject", size=6)
    twice = jg.extend(once, along="subject", size=14)
    assert twice["subject"].nunique() == 14 and len(twice) == 28


def test_labels_keep_their_categories_and_order() -> None:
    data = crossed()
    data["subject"] = pd.Categorical(data["subject"], ["s1", "s2", "s3"], ordered=True)
    more = jg.extend(data, along="subject", size=4)
    assert list(more["subject"].cat.categories) == ["s1", "s2", "s3", "s3_2"]
    assert more["subject"].cat.ordered


def test_numbers_continue_at_their_distance() -> None:
    more = jg.extend(crossed(), along="dose", size=4)
    assert sorted(more["dose"].unique()) == [0.0, 0.5, 1.0, 1.5]
    assert len(more) == 12 and list(more["subject"][6:]) == list(more["subject"][:6])


def test_numbers_are_shrunk_by_size() -> None:
    data = crossed().assign(dose=[3, 1, 3, 1, 2, 1])
    assert list(jg.extend(data, along="dose", size=1)["subject"]) == ["s3", "s1", "s2"]


def test_rows_within_levels() -> None:
    data = crossed().iloc[:5]  # the last subject has one row
    more = jg.extend(data, within="subject", size=3, nested="trial")
    assert (more["subject"].value_counts() == 3).all()
    assert more["trial"].is_unique and list(more["item"][more["subject"] == "s2"]) == ["i1"] * 3
    pairs = jg.extend(data, within=["subject", "item"], size=4)
    assert len(pairs) == 5 * 4
    fewer = jg.extend(data, within="subject", size=1)
    assert list(fewer["trial"]) == ["t0", "t2", "t4"]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "neither is given"),
    "both": ({"along": "subject", "within": "arm"}, "both are given"),
    "unknown": ({"along": "subjects"}, "Did you mean 'subject'"),
    "size": ({"along": "subject", "size": 2.5}, "size: expected a whole number"),
    "none": ({"along": "subject", "size": 0}, "size: expected a whole number from 1"),
    "uneven": ({"along": "uneven"}, "not evenly spaced"),
    "one value": ({"along": "constant"}, "not evenly spaced"),
    "dates": ({"along": "date"}, "not evenly spaced"),
    "truth": ({"along": "truth"}, "True or False"),
    "missing": ({"along": "holes"}, "missing in rows 1, 2"),
    "crossed": ({"along": "subject", "nested": "item"}, "not every level of 'item' belongs"),
    "nested": ({"along": "subject", "nested": "pupil"}, "no column"),
    "within": ({"within": 3}, "within: expected a column's name"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_extended(case: str) -> None:
    asked, said = REFUSED[case]
    data = crossed().assign(
        uneven=[0, 1, 3, 0, 1, 3],
        constant=1.0,
        date=pd.to_datetime(["2020-01-01", "2020-01-02"] * 3),
        truth=[True, False] * 3,
        holes=["a", None, None, "b", "b", "c"],
    )
    with pytest.raises(jg.InputError, match=said):
        jg.extend(data, **{"size": 40, **asked})
