"""Power: against the exact power of a balanced design, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxglmm as jg
from jaxglmm.inference.shares import exact_limits
from jaxglmm.inference.wald import joint_test
from jaxglmm.study import tested
from jaxglmm.study.plan import changed, plan_of

from . import models

GROUPS, ROWS, REPLICATES = 24, 5, 1500
TRUTH = {"Intercept": 1.0, "treat": 0.0, "sd(g, Intercept)": 1.0, "sigma": 1.0}


def between_groups(groups: int = GROUPS) -> pd.DataFrame:
    """Groups that are treated in turn."""
    g = np.repeat(np.arange(groups), ROWS)
    return pd.DataFrame({"g": [f"g{k:02}" for k in g], "treat": g % 2})


def scenario(effect: float) -> jg.Scenario:
    return jg.Scenario("y ~ treat + (1 | g)", between_groups(), {**TRUTH, "treat": effect})


def exact_power(effect: float, method: str, groups: int = GROUPS) -> float:
    """Of maximum likelihood in a balanced design, alpha = 0.05.

    The estimate is the difference of the two means of group means. Their variance is estimated by
    the sum of squares within arms over G, which is independent: so t = z sqrt((G - 2) / G) is
    noncentral t with G - 2 degrees of freedom, and the likelihood ratio G log(1 + t^2 / (G - 2)).
    """
    df = groups - 2
    delta = effect / np.sqrt(4 * (1 + 1 / ROWS) / groups)
    if method == "wald":
        limit = stats.norm.ppf(0.975) * np.sqrt(df / groups)
    else:
        limit = np.sqrt(df * np.expm1(stats.chi2.ppf(0.95, 1) / groups))
    return stats.nct.sf(limit, df, delta) + stats.nct.cdf(-limit, df, delta)


@pytest.mark.parametrize("method", ["wald", "lrt"])
@pytest.mark.parametrize("effect", [0.0, 1.2])
def test_power_of_a_balanced_design_is_exact(method: str, effect: float) -> None:
    found = jg.power(scenario(effect), num_replicates=REPLICATES, seed=1, method=method)
    assert found.test == ("treat",) and found.effect == {"treat": effect}
    assert found.counts["failed"] == 0
    exact = exact_power(effect, method)
    error = np.sqrt(exact * (1 - exact) / REPLICATES)
    assert abs(found.power - exact) < 4 * error
    low, high = found.confint(0.9999)
    assert low < exact < high


def test_likelihood_ratios_that_there_are() -> None:
    """Of separated responses too; none where the larger model ended at a lower maximum."""
    cells = pd.DataFrame({"g": np.repeat(list("abcdef"), 4), "x": np.tile([0.0, 1.0], 12)})
    steep = jg.Scenario(
        "y ~ x + (1 | g)", cells, {"Intercept": 0, "x": 3.5, "sd(g)": 0.5}, "binomial"
    )
    found = jg.power(steep, "x", seed=2, num_replicates=100, method="lrt")
    separated = found.status == "separated"
    assert separated.sum() > 20 and np.isfinite(found.p_values[separated]).all()
    first = int(np.flatnonzero(separated)[0])
    data = cells.assign(y=steep.simulate(100, 2)[first])
    table = jg.compare(
        jg.glmm("y ~ 1 + (1 | g)", data, "binomial"), jg.glmm("y ~ x + (1 | g)", data, "binomial")
    )
    assert found.p_values[first] == pytest.approx(table.table()["p_value"].iloc[-1], rel=1e-4)
    row = np.arange(45)
    few = pd.DataFrame({"g": row // 3, "x": row % 3 - 1.0, "z": row // 3 % 2})
    params = {"Intercept": -0.5, "x": 0.4, "z": 0.3, "sd(g)": 2.5}
    far = jg.Scenario("y ~ x + z + (1 | g)", few, params, "binomial")
    found = jg.power(far, "z", seed=1, num_replicates=400, method="lrt")
    lower = [229, 328]
    assert np.isnan(found.p_values[lower]).all() and (found.status[lower] == "converged").all()
    assert found.counts["failed"] == np.isnan(found.p_values).sum()


def test_other_true_values() -> None:
    draws: dict[str, Any] = {"num_replicates": REPLICATES, "seed": 3}
    by_effect = jg.power(scenario(0.0), "treat", effect={"treat": 1.2}, **draws)
    own = jg.power(scenario(1.2), "treat", **draws)
    np.testing.assert_array_equal(by_effect.p_values, own.p_values)
    quiet = jg.power(scenario(1.2), effect={"sd(g)": 0.3, "sigma": 0.5}, **draws)
    assert quiet.power > 0.99 > own.power


def test_p_values_are_those_of_the_tables() -> None:
    fit = models.fit("sleep")
    found = jg.power(fit, num_replicates=40, seed=5)
    table = fit.refit_many(fit.simulate(40, seed=5)).fixed_effects()
    np.testing.assert_allclose(
        found.p_values, table.loc[table["term"] == "Days", "p_value"], rtol=1e-4
    )
    again = jg.power(fit, "Days", num_replicates=40, seed=5)
    np.testing.assert_array_equal(found.p_values, again.p_values)
    other = jg.power(fit, num_replicates=40, seed=6)
    assert not np.array_equal(found.p_values, other.p_values)


def test_several_effects_are_tested_jointly() -> None:
    fit, effect = models.fit("sleep"), {"Intercept": 10.0, "Days": 1.0}
    asked: dict[str, Any] = {"num_replicates": 40, "seed": 5, "effect": effect}
    found = jg.power(fit, ["Days", "Intercept"], **asked)
    assert found.test == ("Intercept", "Days") and found.effect == effect
    small = changed(plan_of(fit, None), "effect", effect).scenario
    batch = fit.refit_many(small.simulate(40, seed=5))
    for p, b, V in zip(found.p_values, batch.coefficients, batch.joint_covariance, strict=True):
        W = b @ np.linalg.solve(V[:2, :2], b)
        assert p == pytest.approx(stats.chi2.sf(W, 2), rel=1e-3)


@pytest.mark.parametrize(
    ("test", "names"),
    [
        ("arm", ("arm[T.b]", "arm[T.c]")),
        ("x : arm", ("arm[T.b]:x", "arm[T.c]:x")),
        (["x", "arm[T.c]"], ("arm[T.c]", "x")),
        ("zi_arm", ("zi_arm[T.b]", "zi_arm[T.c]")),
        (None, ("arm[T.b]",)),
    ],
)
def test_names_of_terms_are_tests_of_their_columns(test: Any, names: tuple[str, ...]) -> None:
    data = {"arm": list("abcabc"), "x": [0, 1, 3, 2, 2, 5]}
    params = jg.Params(np.zeros(9), np.zeros(0), np.zeros(0))
    model = jg.Scenario("y ~ arm * x", data, params, "poisson", zero_inflation="~ arm")
    assert tested.test_of(plan_of(model, None), test, "wald").names == names


def test_a_joint_test_of_what_is_not_known() -> None:
    V = np.stack([np.diag([4.0, 1.0]), np.ones((2, 2)), np.full((2, 2), np.nan)])
    p = joint_test(np.array([[2.0, 1.0]] * 3), V)
    assert p[0] == pytest.approx(np.exp(-1)) and np.isnan(p[1:]).all()


def test_failed_fits_are_counted_apart() -> None:
    """Few rows of 0 and 1: many responses are separated."""
    data = {"x": np.linspace(-1, 1, 20)}
    model = jg.Scenario("y ~ x", data, {"Intercept": 0.0, "x": 5.0}, "binomial")
    found = jg.power(model, num_replicates=200, seed=1)
    failed = found.counts["failed"]
    assert 20 < failed < 180 and found.counts["attempted"] == 200
    assert np.isnan(found.p_values).sum() == failed
    assert sum(found.counts[k] for k in ("converged", "boundary", "failed")) == 200
    low, high = found.bounds
    assert high - low == pytest.approx(failed / 200)
    assert low < found.power < high
    row = found.table().iloc[0]
    assert row["power"] == found.power and row["failed"] == failed
    assert (row["power_low"], row["power_high"]) == (low, high)
    assert "failed" in repr(found)


@pytest.mark.parametrize(("count", "number"), [(0, 20), (3, 20), (20, 20), (913, 1000)])
def test_limits_are_exact(count: int, number: int) -> None:
    reference = stats.binomtest(count, number).proportion_ci(0.9, "exact")
    assert exact_limits(count, number, 0.9) == pytest.approx((reference.low, reference.high))


def test_nothing_usable_has_no_power() -> None:
    status = np.array(["separated"] * 2, object)
    none = jg.Power(("x",), "wald", 0.05, {"x": 1.0}, 10, 1, np.full(2, np.nan), status)
    assert np.isnan(none.power) and np.isnan(none.mcse) and none.confint() == (0.0, 1.0)
    assert none.bounds == (0.0, 1.0)


def test_the_power_curve_rises() -> None:
    base, draws = scenario(1.2), {"seed": 2, "num_replicates": REPLICATES}
    curve = jg.power_curve(base, "g", [GROUPS, 2 * GROUPS], **draws)
    table = curve.table()
    assert list(table["size"]) == [GROUPS, 2 * GROUPS]
    assert list(table["num_rows"]) == [size * ROWS for size in table["size"]]
    exact = np.array([exact_power(1.2, "wald", size) for size in table["size"]])
    error = np.sqrt(exact * (1 - exact) / REPLICATES)
    assert (np.abs(table["power"] - exact) < 4 * error).all()
    assert table["power"].is_monotonic_increasing
    own = jg.power(base, **draws)
    np.testing.assert_array_equal(curve.points[0].p_values, own.p_values)
    extended = jg.extend(between_groups(), "g", size=2 * GROUPS)
    by_data = jg.power(base, data=extended, **draws)
    np.testing.assert_array_equal(curve.points[1].p_values, by_data.p_values)


def test_a_grid_of_effects() -> None:
    curve = jg.power_curve(
        scenario(0.0),
        effects={"treat": [0.5, 2.0], "sigma": [1, 2]},
        seed=2,
        num_replicates=REPLICATES,
    )
    table = curve.table()
    assert len(curve) == 4 and curve.along is None
    assert list(table["treat"]) == [0.5, 0.5, 2.0, 2.0] and list(table["sigma"]) == [1, 2, 1, 2]
    assert table["power"][2] > table["power"][0] and table["power"][2] >= table["power"][3]
    assert curve.points[0].effect == {"treat": 0.5}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "test": ({"test": "treatt"}, "Did you mean 'treat'"),
    "tests": ({"test": 3}, "test: expected the name"),
    "effect": ({"effect": {"trt": 1.0}}, "effect: the model has no parameter 'trt'"),
    "value": ({"effect": {"treat": "big"}}, "'treat' must be a finite number"),
    "sd": ({"effect": {"sd(g)": -1.0}}, "'sd\\(g, Intercept\\)' cannot be -1"),
    "no dict": ({"effect": 0.3}, "effect: expected a dict"),
    "alpha": ({"alpha": 5}, "alpha: 5 is not between 0 and 1"),
    "method": ({"method": "f"}, "method='f' is not known"),
    "number": ({"num_replicates": 0}, "num_replicates: expected a whole number"),
    "seed": ({"seed": -1}, "seed: expected a whole number"),
    "data": ({"data": {"g": ["a", "b"]}}, "no column 'treat'"),
    "one arm": ({"data": between_groups().query("treat == 0")}, "cannot tell .* 'treat'"),
    "holes": ({"data": {"g": ["a", "b", "c"], "treat": [0, 1, np.nan]}}, "missing"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_power(case: str, nothing_compiles: None) -> None:
    asked, said = REFUSED[case]
    with pytest.raises(jg.InputError, match=said):
        jg.power(scenario(1.0), **{"seed": 1, **asked})


CURVES: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "Nothing is varied"),
    "no sizes": ({"along": "g"}, "sizes: expected a list"),
    "size": ({"along": "g", "sizes": [10, 2.5]}, "sizes: expected a whole number"),
    "no column": ({"sizes": [10]}, "neither is given"),
    "unknown": ({"along": "site", "sizes": [10]}, "no column 'site'.*data="),
    "small": ({"along": "g", "sizes": [8, 1]}, "size 1 of g: These data cannot tell"),
    "effects": ({"effects": {"treat": 0.5}}, "effects: expected a dict of names and lists"),
    "name": ({"effects": {"trt": [0.5]}}, "effects: the model has no parameter 'trt'"),
}


@pytest.mark.parametrize("case", CURVES)
def test_what_has_no_curve(case: str, nothing_compiles: None) -> None:
    asked, said = CURVES[case]
    with pytest.raises(jg.InputError, match=said):
        jg.power_curve(scenario(1.0), seed=1, **asked)


def test_what_the_analysis_does_not_test(nothing_compiles: None) -> None:
    data, truth = between_groups(), TRUTH
    held = jg.Scenario("y ~ treat + (1 | g)", data, truth, control=jg.Control(fixed={"treat": 0}))
    with pytest.raises(jg.InputError, match="'treat' is held"):
        jg.power(held, seed=1)
    restricted = jg.Scenario("y ~ treat + (1 | g)", data, truth, method="reml")
    with pytest.raises(jg.InputError, match="criterion of REML"):
        jg.power(restricted, seed=1, method="lrt")
    with pytest.raises(jg.InputError, match="Expected a fit"):
        jg.power("y ~ x", seed=1)  # type: ignore[arg-type]
    values = {name: TRUTH[name] for name in TRUTH if name != "treat"}
    with pytest.raises(jg.InputError, match="no fixed effect but the intercept"):
        jg.power(jg.Scenario("y ~ 1 + (1 | g)", data, values), seed=1)
