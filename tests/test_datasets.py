"""Bundled data: complete records, recorded level orders, helpful errors."""

from __future__ import annotations

import pandas as pd
import pytest

from jaxglmm import datasets
from jaxglmm.errors import InputError


def test_names_are_the_bundled_sets():
    assert datasets.names() == sorted(datasets.names(), key=str.lower)
    assert {"cbpp", "sleepstudy", "epil", "Salamanders", "Contraception"} <= set(datasets.names())
    assert len(datasets.names()) == 10


@pytest.mark.parametrize("name", datasets.names())
def test_record_describes_every_column(name):
    about, frame = datasets.record(name), datasets.load(name)
    assert about["name"] == name
    assert about["title"]
    assert list(about["columns"]) == list(frame.columns)
    assert all(entry["description"] for entry in about["columns"].values())
    assert len(frame) == about["num_rows"]
    assert not frame.isna().any().any()


@pytest.mark.parametrize("name", datasets.names())
def test_kinds_hold_in_the_frame(name):
    frame = datasets.load(name)
    for column, entry in datasets.record(name)["columns"].items():
        is_categorical = isinstance(frame[column].dtype, pd.CategoricalDtype)
        assert is_categorical == (entry["kind"] == "categorical"), column
        assert is_categorical or pd.api.types.is_numeric_dtype(frame[column]), column
        if is_categorical:
            assert set(frame[column].cat.categories) == set(frame[column]), column


def test_citation_names_the_paper_and_the_copy():
    text = datasets.citation("cbpp")
    assert "Lesnoff" in text and "2004" in text and "lme4" in text


@pytest.mark.parametrize(
    "name, column, levels",
    [
        ("cbpp", "period", ["1", "2", "3", "4"]),
        ("cbpp", "herd", [str(i) for i in range(1, 16)]),  # numeric, not alphabetical
        ("bacteria", "trt", ["placebo", "drug", "drug+"]),  # recorded, not sorted
        ("Salamanders", "mined", ["yes", "no"]),
        ("toenail", "outcome", ["none or mild", "moderate or severe"]),
        ("Contraception", "livch", ["0", "1", "2", "3+"]),
    ],
)
def test_level_order(name, column, levels):
    assert list(datasets.load(name)[column].cat.categories) == levels


def test_values_survive_the_reading():
    cbpp = datasets.load("cbpp")
    assert (cbpp["incidence"].sum(), cbpp["size"].sum()) == (99, 842)
    sleep = datasets.load("sleepstudy")
    assert sleep["Reaction"].iloc[0] == 249.56
    assert set(datasets.load("Contraception")["urban"]) == {"N", "Y"}


def test_names_ignore_case():
    pd.testing.assert_frame_equal(datasets.load("SALAMANDERS"), datasets.load("salamanders"))


def test_each_load_is_a_fresh_frame():
    changed = datasets.load("seeds")
    changed["r"] = 0
    assert datasets.load("seeds")["r"].sum() > 0


def test_unknown_name_suggests_close_ones():
    with pytest.raises(InputError, match=r"'sleepstudi'.*Did you mean 'sleepstudy'.*Known: .*cbpp"):
        datasets.load("sleepstudi")
    with pytest.raises(InputError, match=r"no bundled data set 'zzzzzz'\. Known: ") as caught:
        datasets.citation("zzzzzz")
    assert "Did you mean" not in str(caught.value)
