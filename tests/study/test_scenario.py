"""A scenario: draws and fits of one design, and what differs between analyses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg

from .common import DESIGN, scenario


def test_draws_and_fits_are_those_of_the_verbs() -> None:
    made = scenario()
    Y = made.simulate(20, seed=3)
    same = jg.simulate(made.formula, DESIGN, dict(made.params), seed=3, num_draws=20)
    np.testing.assert_array_equal(Y, same)
    np.testing.assert_array_equal(Y[5:8], made.simulate(3, seed=3, first=5))
    batch = made.fit(Y)
    theirs = jg.fit_many(made.formula, DESIGN, Y)
    pd.testing.assert_frame_equal(batch.fixed_effects(), theirs.fixed_effects(), check_exact=True)
    assert batch.formula == made.formula and repr(made) == (
        "<Scenario 'y ~ x + (1 | g)', gaussian(identity), laplace>"
    )


def test_a_fit_depends_on_its_own_response_alone() -> None:
    made = scenario()
    Y = made.simulate(12, seed=4)
    whole, some = made.fit(Y, formula="~ x"), made.fit(Y[7:9], formula="~ x")
    np.testing.assert_array_equal(whole.coefficients[7:9], some.coefficients)
    np.testing.assert_array_equal(whole.log_likelihood[7:9], some.log_likelihood)
    assert whole.formula == "y ~ x"


def test_the_truth_is_by_the_names_of_the_tables() -> None:
    assert scenario().truth == pytest.approx(
        {"Intercept": 1.0, "x": 0.3, "sd(g, Intercept)": 0.8, "sigma": 1.0}, rel=1e-12
    )
    given = {"x": 0.2, "sd(g)": 1.0, "low|mid": -1.0, "mid|high": 1.0}
    ordinal = jg.Scenario("y ~ x + (1 | g)", DESIGN, given, "cumulative")
    assert ordinal.truth == pytest.approx(
        {"x": 0.2, "low|mid": -1.0, "mid|high": 1.0, "sd(g, Intercept)": 1.0}, rel=1e-12
    )
    assert list(ordinal.truth)[1:3] == ["low|mid", "mid|high"]


@pytest.mark.slow
def test_categories_are_those_of_the_scenario() -> None:
    given = {"x": 0.2, "sd(g)": 1.0, "low|mid": -1.0, "mid|high": 1.0}
    made = jg.Scenario("y ~ x + (1 | g)", DESIGN, given, "cumulative")
    Y = made.simulate(6, seed=5)
    Y[2] = np.where(Y[2] == "high", "mid", Y[2])  # no high in this one
    whole, some = made.fit(Y), made.fit(Y[2:3])
    assert some.problem.family.num_thresholds == 2  # pyright: ignore[reportAttributeAccessIssue]
    np.testing.assert_array_equal(whole.log_likelihood[2:3], some.log_likelihood)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"famly": "poisson"}, "'famly' is nothing in which an analysis may differ"),
        ({"formula": "z ~ x"}, "is not that of the scenario"),
        ({"formula": 3}, "expected text"),
        ({"formula": "~ z"}, "There is no column 'z'"),
        ({"method": "magic"}, "'magic' is not known"),
    ],
)
def test_what_cannot_be_analysed_is_refused(changes: dict[str, Any], message: str) -> None:
    made = scenario()
    with pytest.raises(jg.InputError, match=message):
        made.fit(np.zeros((1, 32)), **changes)


def test_what_cannot_be_drawn_is_refused_when_it_is_made() -> None:
    with pytest.raises(jg.InputError, match="no value for 'sigma'"):
        jg.Scenario("y ~ x", DESIGN, {"Intercept": 1.0, "x": 0.0})
    holes = {**DESIGN, "x": np.where(np.arange(32) == 3, np.nan, DESIGN["x"])}
    with pytest.raises(jg.InputError, match="missing"):
        jg.Scenario("y ~ x", holes, {"Intercept": 1.0, "x": 0.0, "sigma": 1.0})
    with pytest.raises(jg.InputError, match="shape"):
        scenario().fit(np.zeros((2, 5)))
