"""Means of fixed factors nested in others: emmeans' printed tables, and averages by hand."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg

DRUGS = {"Bovineumab": 3, "Charloisazepam": 2, "Angustatin": 4, "Herefordmycin": 2}


@functools.cache
def cows(formula: str = "resp ~ route + drug") -> jg.GLMM:
    """The example of emmeans' vignette on messy data."""
    drugs = [name for name, number in {**DRUGS, "Mollycoddle": 3}.items() for _ in range(number)]
    data = pd.DataFrame({"route": ["injection"] * 5 + ["oral"] * 9, "drug": drugs})
    data["resp"] = [34, 35, 34, 44, 43, 36, 33, 36, 32, 26, 25, 25, 24, 24]
    return jg.glmm(formula, data, method="reml")


@pytest.mark.parametrize("formula", ["resp ~ route + drug", "resp ~ route / drug"])
def test_means_of_emmeans_vignette(formula: str) -> None:
    """To the digits that are printed there."""
    fit = cows(formula)
    route, drug = (fit.emmeans(name, df="residual") for name in ("route", "drug"))
    assert [*route.columns[:2]] == ["route", "estimate"]
    np.testing.assert_allclose(route["estimate"], [38.9, 28.0], atol=0.05)
    np.testing.assert_allclose(route["std_error"], [0.591, 0.449], atol=5e-4)
    assert [*drug.columns[:2]] == ["drug", "route"] and [*drug["drug"][:2]] == [*DRUGS][:2]
    assert [*drug["route"]] == ["injection"] * 2 + ["oral"] * 3
    np.testing.assert_allclose(drug["estimate"], [34.3, 43.5, 34.2, 25.5, 24.3], atol=0.051)
    np.testing.assert_allclose(drug["std_error"], [0.747, 0.915, 0.647, 0.915, 0.747], atol=5e-4)
    np.testing.assert_allclose(drug["conf_low"], [32.6, 41.4, 32.8, 23.4, 22.6], atol=0.05)
    assert "drug is nested in route" in drug.notes


def test_contrasts_within_parts_of_different_sizes() -> None:
    drug = cows().emmeans("drug", df="residual")
    pairs = drug.contrast("revpairwise", by="route")
    np.testing.assert_allclose(pairs["estimate"], [9.17, -8.75, -9.92, -1.17], atol=0.005)
    np.testing.assert_allclose(pairs["statistic"], [7.757, -7.805, -10.030, -0.987], atol=5e-4)
    assert pairs["p_value"][3] == pytest.approx(0.6026, abs=5e-5)
    assert "p-values and limits of 1 or 3 together: Tukey" in pairs.notes
    assert len(drug.contrast()) == 10
    with pytest.raises(jg.InputError, match="combinations of the variables do not exist"):
        drug.contrast(interaction=True)


def test_joint_tests_are_those_of_the_nested_model() -> None:
    """drug:route by the fall of the sum of squares, route by the contrast of its means."""
    means = cows().emmeans(["route", "drug"], df="residual")
    tests = means.joint_tests().set_index("term")
    assert [*tests.index] == ["route", "route:drug"] and [*tests["num_df"]] == [1, 3]
    y = np.asarray(cows().problem.y)
    squares = [
        sum(np.sum((y[rows] - y[rows].mean()) ** 2) for rows in np.split(np.arange(14), cuts))
        for cuts in ([5], [3, 5, 9, 11])
    ]
    F = (squares[0] - squares[1]) / 3 / (squares[1] / 9)
    assert tests["statistic"]["route:drug"] == pytest.approx(F, rel=1e-8)
    contrast = cows().emmeans("route", df="residual").contrast()["statistic"][0]
    assert tests["statistic"]["route"] == pytest.approx(contrast**2, rel=1e-8)


def chain() -> Any:
    """Classes in schools in towns, of 2 and 1 schools with 2, 1 and 3 classes; crossed with x."""
    data = pd.DataFrame(
        {
            "town": list("AAABBB"),
            "school": list("ppqrrr"),
            "kind": list("abcdef"),
        }
    ).merge(pd.DataFrame({"x": ["u", "v"]}), how="cross")
    data = pd.concat([data] * 3 + [data[:5]], ignore_index=True)
    rng = np.random.default_rng(8)
    data["y"] = rng.normal(size=len(data)) + data.groupby(["kind", "x"]).ngroup()
    return jg.glmm("y ~ kind * x + school + town", data), data


def test_averages_are_within_the_factors_around() -> None:
    fit, data = chain()
    cells = data.groupby(["town", "school", "kind", "x"])["y"].mean()
    schools = cells.groupby(["town", "school", "x"]).mean()
    towns = schools.groupby(["town", "x"]).mean()
    of_towns = fit.emmeans(["town", "x"]).set_index(["town", "x"])["estimate"]
    np.testing.assert_allclose(of_towns[towns.index], towns, rtol=1e-8)
    of_x = fit.emmeans("x").set_index("x")["estimate"]
    np.testing.assert_allclose(of_x, towns.groupby("x").mean(), rtol=1e-8)
    by = fit.emmeans("x", by="school")
    assert [*by.columns[:3]] == ["x", "school", "town"] and len(by) == 6
    keys = pd.MultiIndex.from_frame(by.table()[["town", "school", "x"]])
    np.testing.assert_allclose(by["estimate"], schools[keys], rtol=1e-8)
    counts = data[data["x"] == "u"].groupby(["town", "kind"]).size()
    weighted = fit.emmeans("town", weights="proportional", at={"x": "u"})
    means = cells.xs("u", level="x").groupby(["town", "kind"]).first()
    exact = (means * counts).groupby("town").sum() / counts.groupby("town").sum()
    np.testing.assert_allclose(weighted["estimate"], exact, rtol=1e-8)
    outer = fit.emmeans("x", weights="outer").set_index("x")["estimate"]
    size = data.groupby(["town", "school", "kind"]).size()
    share = size / size.sum()
    exact = cells.unstack("x").mul(share, axis=0).sum()
    np.testing.assert_allclose(outer, exact, rtol=1e-8)
    terms = fit.emmeans(["town", "school", "x"]).joint_tests().set_index("term")["num_df"]
    assert terms.to_dict() == {
        "town": 1,
        "x": 1,
        "town:school": 1,
        "town:x": 1,
        "town:school:x": 1,
    }


def test_slopes_and_categories_of_nested_factors() -> None:
    rng = np.random.default_rng(2)
    bird = np.repeat(np.arange(6), 20)
    data = pd.DataFrame({"bird": [f"b{k}" for k in bird], "x": rng.normal(size=120)})
    data["nest"] = np.array(list("AABBBC"))[bird]
    data["y"] = data["x"] * bird + rng.normal(size=120)
    fit = jg.glmm("y ~ nest + bird * x", data)
    own = fit.emtrends("bird", "x")
    assert [*own["nest"]] == list("AABBBC")
    of_nests = fit.emtrends("nest", "x")["estimate"]
    np.testing.assert_allclose(of_nests, own.groupby("nest")["estimate"].mean(), rtol=1e-8)
    data["grade"] = pd.cut(data["y"], [-99, -1, 1, 99], labels=["low", "mid", "high"])
    ordinal = jg.glmm("grade ~ nest + bird", data, "cumulative").emmeans("bird", mode="prob")
    assert len(ordinal) == 18
    np.testing.assert_allclose(ordinal.groupby("bird")["estimate"].sum(), 1.0, rtol=1e-10)


def test_nesting_can_be_said() -> None:
    """Levels numbered anew in each factor around; and no nesting at all."""
    rng = np.random.default_rng(4)
    data = pd.DataFrame({"b": np.repeat(list("pq"), 30), "a": np.tile(list("123456"), 10)})
    data["y"] = rng.normal(size=60)
    crossed = jg.glmm("y ~ a * b", data)
    assert len(crossed.emmeans("a")) == 6 and len(jg.glmm("y ~ b / a", data).emmeans("a")) == 12
    said = crossed.emmeans("a", nesting={"a": "b"})
    assert [*said.columns[:2]] == ["a", "b"] and len(said) == 12
    assert cows().emmeans("drug", nesting=None)["estimate"].isna().all()
    for nesting, says in (
        ({"drug": "way"}, "'way' is no variable"),
        ({"drug": "route", "route": "drug"}, "cannot be nested in itself"),
        ("yes", "a dict such as"),
    ):
        with pytest.raises(jg.InputError, match=says):
            cows().emmeans("drug", nesting=nesting)


def test_factors_that_are_one_another_are_not_nested() -> None:
    data = pd.DataFrame({"a": list("xyz") * 8, "b": list("uvw") * 8, "y": np.arange(24.0)})
    fit = jg.glmm("y ~ a + b", data)
    assert [*fit.emmeans("a").columns[:2]] == ["a", "estimate"]


def test_names_in_backticks() -> None:
    """Which factor is nested in which is seen from terms whose names are no Python identifiers."""
    table = jg.datasets.load("sleepstudy").assign(half=lambda t: np.where(t.Days < 5, "u", "v"))
    plain = jg.glmm("Reaction ~ half + Days + (1 | Subject)", table)
    renamed = table.rename(columns={"half": "my half", "Days": "my days"})
    ticked = jg.glmm("Reaction ~ `my half` + `my days` + (1 | Subject)", renamed)
    for asked in ("my half", ["my half"], "`my half`"):
        np.testing.assert_allclose(
            ticked.emmeans(asked)["estimate"], plain.emmeans("half")["estimate"], rtol=1e-9
        )
    slopes = ticked.emtrends("my half", "my days")["estimate"]
    np.testing.assert_allclose(slopes, plain.emtrends("half", "Days")["estimate"], rtol=1e-9)
