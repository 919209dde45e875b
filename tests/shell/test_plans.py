"""Designs of fits at other sizes: what is copied, and that the truth stays what it was."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg
from jaxglmm.params import natural_values
from jaxglmm.rows import arrange
from jaxglmm.study.extension import along_of
from jaxglmm.study.plan import Plan, changed, plan_of, resized

from . import models


def at(plan: Plan, size: int, along: str | None = None, within: Any = None) -> Plan:
    return resized(plan, along_of(along, within), size)


def levels(plan: Plan) -> dict[str, int]:
    return {g.name: len(g.levels) for g in plan.data.groupings}


def means(plan: Plan) -> np.ndarray:
    return plan.data.X @ np.asarray(plan.scenario.drawn.params.beta)


def natural(plan: Plan) -> np.ndarray:
    drawn = plan.scenario.drawn
    rows = arrange(drawn.problem, xp=np)
    with jax.enable_x64(True):
        return np.asarray(natural_values(rows, drawn.params.theta, drawn.params.phi))


def test_a_fit_is_drawn_from_at_its_estimates() -> None:
    for name in ("sleep", "cbpp", "epil"):
        fit = models.fit(name)
        scenario = plan_of(fit, None).scenario
        np.testing.assert_array_equal(scenario.simulate(3, 1), fit.simulate(3, seed=1))


def test_other_values_leave_the_rest_as_it_is() -> None:
    plan = plan_of(models.fit("sleep"), None)
    before, truth = natural(plan), plan.scenario.drawn.params
    other = changed(plan, "effect", {"Days": 3, "sd(Subject, Days)": 2})
    np.testing.assert_allclose(natural(other), [before[0], 2.0, *before[2:]], rtol=1e-6)
    assert other.scenario.drawn.params.beta[1] == 3.0
    fixed = changed(plan, "effect", {"Intercept": 3}).scenario.drawn.params
    np.testing.assert_array_equal(fixed.theta, truth.theta)
    louder = changed(plan, "effect", {"sigma": 40})
    np.testing.assert_allclose(natural(louder), [*before[:3], 40.0], rtol=1e-6)
    with pytest.raises(jg.InputError, match="effect: 'corr.*cannot be 1"):
        changed(plan, "effect", {"corr(Subject, Days, Intercept)": 1.0})


def test_subjects_of_a_fit_are_copied() -> None:
    plan = plan_of(models.fit("sleep"), None)
    assert levels(at(plan, 40, "Subject")) == {"Subject": 40}
    assert levels(at(plan, 5, "Subject")) == {"Subject": 5}
    longer = at(plan, 14, "Days")
    assert levels(longer) == {"Subject": 18} and len(longer.data.y) == 14 * 18
    assert longer.data.X[:, 1].max() == 13
    assert len(at(plan, 3, within="Subject").data.y) == 54


def nested() -> tuple[pd.DataFrame, dict[str, float]]:
    """Pupils with labels of their own in schools, an item each, and weights."""
    data = pd.DataFrame({"school": np.repeat(np.arange(4), 6), "pupil": np.repeat(range(12), 2)})
    data = data.assign(item=[1, 2] * 12, x=np.arange(24) % 5, row=np.arange(24))
    sds = {f"sd({name})": 1.0 for name in ("school", "pupil", "item")}
    return data, {"Intercept": 0.0, "x": 1.0, **sds, "sigma": 1.0}


def test_what_is_nested_is_copied_and_what_is_crossed_is_not() -> None:
    data, truth = nested()
    formula = "y ~ x + (1 | school) + (1 | pupil) + (1 | item)"
    weights = np.arange(24) + 1.0
    plan = Plan(jg.Scenario(formula, data, truth, weights=weights), {})
    more = at(plan, 6, "school")
    assert levels(more) == {"school": 6, "pupil": 18, "item": 2}
    np.testing.assert_array_equal(more.data.weights, [*weights, *weights[:12]])
    assert levels(at(plan, 20, "pupil")) == {"school": 4, "pupil": 20, "item": 2}
    assert levels(at(plan, 5, "item")) == {"school": 4, "pupil": 12, "item": 5}
    numbers = np.unique(more.scenario.data["school"])
    np.testing.assert_array_equal(numbers, np.arange(6))


def test_effects_of_single_rows_are_copied_within_levels() -> None:
    data, truth = nested()
    truth = {name: truth[name] for name in ("Intercept", "x")}
    scales = {"sd(school)": 1.0, "sd(row)": 0.5}
    formula = "y ~ x + (1 | school) + (1 | row)"
    plan = Plan(jg.Scenario(formula, data, {**truth, **scales}, "poisson"), {})
    assert levels(at(plan, 10, within="school")) == {"school": 4, "row": 40}


@pytest.mark.parametrize("term", ["scale(x)", "poly(x, 2)", "scale(x) * z"])
def test_means_are_the_same_functions_of_the_columns(term: str) -> None:
    data, _ = nested()
    data = data.assign(z=np.arange(24) % 3 - 1.0)
    fit = Plan(jg.Scenario(f"y ~ {term} + (1 | school)", data, _some(term, data)), {})
    more = at(fit, 9, "x")
    kept = more.data.X.shape[0]
    assert kept > 24
    np.testing.assert_allclose(means(more)[:24], means(fit), atol=1e-12)
    x = np.unique(more.scenario.data["x"])
    np.testing.assert_array_equal(x, np.arange(9))


def _some(term: str, data: pd.DataFrame) -> jg.Params:
    problem, _ = jg.build(f"school ~ {term} + (1 | pupil)", data)
    return jg.Params(np.arange(1.0, problem.X.shape[1] + 1), np.ones(1), np.zeros(1))


@pytest.mark.parametrize(
    ("term", "said"),
    [("bs(x, df=4) + (1 | school)", "functions of all data"), ("x + (scale(x) | school)", "slope")],
)
def test_functions_of_all_data_are_refused_where_they_cannot_be_kept(term: str, said: str) -> None:
    data = nested()[0].assign(x=np.arange(24))
    params = jg.Params(
        np.ones(5 if "bs" in term else 2), np.ones(1 if "bs" in term else 3), np.zeros(1)
    )
    plan = Plan(jg.Scenario(f"y ~ {term}", data, params), {})
    with pytest.raises(jg.InputError, match=said):
        at(plan, 20, "x")


def test_a_fit_has_the_columns_of_its_formula_only() -> None:
    fit = models.fit("sleep")
    with pytest.raises(jg.InputError, match="no column 'block'.*data="):
        at(plan_of(fit, None), 4, "block")
    whole = plan_of(fit, models.data("sleep"))
    assert levels(at(whole, 12, "block"))["Subject"] > 18


def test_levels_of_a_fixed_effect_are_not_invented() -> None:
    plan = plan_of(models.fit("cbpp"), None)
    with pytest.raises(jg.InputError, match="size 6 of period: .* true effects"):
        at(plan, 6, "period")
    with pytest.raises(jg.InputError, match="size 2 of period: .* cannot tell"):
        at(plan, 2, "period")


@pytest.mark.slow
def test_settings_of_a_fit_are_those_of_its_analysis() -> None:
    """A held correlation is estimated by other theta; priors and rows left out come along."""
    control = jg.Control(fixed={"corr(Subject, Days, Intercept)": 0.3})
    fit = jg.glmm(
        "Reaction ~ Days + (Days | Subject)",
        models.data("sleep"),
        control=control,
        subset=np.arange(180) % 10 < 8,
        weights=np.tile([1.0, 2.0], 90),
        priors={"Days": jg.priors.Normal(0, 1)},
    )
    plan = plan_of(fit, None)
    estimates = fit.covariance_parameters()["estimate"].to_numpy()
    np.testing.assert_allclose(natural(plan), estimates, rtol=1e-6)
    Y = fit.simulate(5, seed=3)
    np.testing.assert_allclose(plan.scenario.simulate(5, 3), Y, rtol=1e-9)
    ours, theirs = plan.fit(Y, None).coefficients, fit.refit_many(Y).coefficients
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)
    assert levels(at(plan, 25, "Subject")) == {"Subject": 25}
