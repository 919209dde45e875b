"""Ordinal responses: their categories, thresholds and predictions."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg

FORMULA = "y ~ x + f + (1 | g)"
NAMES = ["none", "some", "much", "all"]


@functools.cache
def data() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    d = pd.DataFrame({"x": rng.normal(size=240), "g": np.arange(240) % 12})
    d["f"] = np.tile(["a", "b", "c"], 80)
    eta = d["x"] + 0.7 * (d["f"] == "b") + rng.normal(size=12)[d["g"]]
    cell = np.searchsorted([-1.0, 0.0, 1.0], eta + rng.logistic(size=240))
    d["k"] = cell + 1
    d["y"] = pd.Categorical.from_codes(cell, categories=NAMES, ordered=True)
    d["high"] = (cell > 1).astype(int)
    return d


@functools.cache
def fit(formula: str = FORMULA, **arguments: Any) -> jg.GLMM:
    return jg.glmm(formula, data(), family="cumulative", **arguments)


def test_thresholds_are_in_the_table_of_fixed_effects() -> None:
    table = fit().fixed_effects()
    assert list(table["component"]) == ["cond"] * 3 + ["threshold"] * 3
    terms = ["x", "f[T.b]", "f[T.c]", "none|some", "some|much", "much|all"]
    assert list(table["term"]) == terms
    assert np.isfinite(table.drop(columns=["component", "term", "df"]).to_numpy()).all()
    assert fit().status == "converged" and fit().family_parameters == {}
    assert (fit().num_params, fit().df_residual) == (7, 240 - 6)
    assert list(fit().vcov().index) == terms[:3]
    known = fit().fixed_effects(vcov="conditional")
    assert list(known["std_error"].isna()) == [False] * 3 + [True] * 3
    assert list(fit().covariance_parameters()["type"]) == ["sd"]
    text = str(fit().summary())
    assert "Thresholds" in text and "none|some" in text


def test_whole_numbers_are_categories_in_ascending_order() -> None:
    other = fit("k ~ x + f + (1 | g)")
    assert list(other.fixed_effects()["term"][3:]) == ["1|2", "2|3", "3|4"]
    np.testing.assert_allclose(other.log_likelihood, fit().log_likelihood, rtol=1e-12)


def test_two_categories_are_the_binomial_model() -> None:
    ordinal = fit("high ~ x + f + (1 | g)")
    binomial = jg.glmm("high ~ x + f + (1 | g)", data(), family="binomial")
    np.testing.assert_allclose(ordinal.log_likelihood, binomial.log_likelihood, rtol=1e-9)
    ours, theirs = ordinal.fixed_effects(), binomial.fixed_effects()
    np.testing.assert_allclose(ours["estimate"][:3], theirs["estimate"][1:], rtol=1e-5)
    np.testing.assert_allclose(ours["estimate"][3], -theirs["estimate"][0], rtol=1e-5)
    np.testing.assert_allclose(ours["std_error"][3], theirs["std_error"][0], rtol=1e-5)


def test_an_intercept_is_always_there() -> None:
    """As in ordinal::clm: without one the model is the same, coded in another way."""
    without = fit("y ~ 0 + x + (1 | g)")
    assert without.status == "converged"
    np.testing.assert_allclose(
        without.log_likelihood, fit("y ~ x + (1 | g)").log_likelihood, rtol=1e-12
    )


def test_thresholds_alone() -> None:
    shares = data()["y"].value_counts(sort=False).to_numpy() / 240
    alone = fit("y ~ 1")
    np.testing.assert_allclose(alone.fitted()[0], shares, rtol=1e-6)
    np.testing.assert_allclose(alone.log_likelihood, 240 * shares @ np.log(shares), rtol=1e-10)


@pytest.mark.parametrize("thresholds", ["symmetric", "equidistant"])
def test_bound_thresholds(thresholds: str, tmp_path: Path) -> None:
    bound = fit(thresholds=thresholds)
    t = bound.fixed_effects()["estimate"].to_numpy()[3:]
    np.testing.assert_allclose(t[2] - t[1], t[1] - t[0], rtol=1e-12)
    # Three thresholds about their middle are equidistant ones: two parameters.
    assert bound.num_params == fit().num_params - 1
    assert bound.log_likelihood < fit().log_likelihood
    bound.save(tmp_path / "fit")
    again = jg.load(tmp_path / "fit")
    pd.testing.assert_frame_equal(again.fixed_effects(), bound.fixed_effects())


def test_a_family_with_its_thresholds() -> None:
    family = jg.families.Cumulative(thresholds="equidistant")
    given = jg.glmm(FORMULA, data(), family)
    assert given.log_likelihood == fit(thresholds="equidistant").log_likelihood
    with pytest.raises(jg.InputError, match="'symmetric'"):
        jg.families.Cumulative(thresholds="even")  # type: ignore[arg-type]


def test_predictions_are_the_probabilities_of_the_categories() -> None:
    p = fit().predict(data().head(9), kind="population")
    assert p.shape == (9, 4)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, rtol=1e-12)
    eta = fit().predict(data().head(9), kind="population", scale="link")
    first = fit().fixed_effects()["estimate"][3]
    np.testing.assert_allclose(p[:, 0], 1.0 / (1.0 + np.exp(eta - first)), rtol=1e-10)
