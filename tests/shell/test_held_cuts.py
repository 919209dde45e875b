"""Thresholds of ordinal responses and cutoffs of ordered beta ones, held at a value."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, special, stats

import jaxglmm as jg

MIXED = "y ~ x + (1 | g)"


@functools.cache
def ratings() -> pd.DataFrame:
    rng = np.random.default_rng(1)
    x, g = rng.normal(size=400), rng.integers(0, 20, 400)
    latent = 0.8 * x + 0.7 * rng.normal(size=20)[g] + rng.logistic(size=400)
    return pd.DataFrame({"y": np.digitize(latent, [-1.5, -0.3, 0.4, 1.8]), "x": x, "g": g})


@functools.cache
def shares() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    x, g = rng.normal(size=300), rng.integers(0, 20, 300)
    inside = special.expit(0.5 * x + 0.6 * rng.normal(size=20)[g] + rng.normal(size=300))
    y = np.where(inside < 0.15, 0.0, np.where(inside > 0.9, 1.0, inside))
    return pd.DataFrame({"y": y, "x": x, "g": g})


def fit(fixed: dict[str, float] | None = None, data: Any = None, **arguments: Any) -> jg.GLMM:
    data, family = (ratings(), "cumulative") if data is None else (data, "ordered_beta")
    formula = arguments.pop("formula", MIXED)
    return jg.glmm(formula, data, family, control=jg.Control(fixed=fixed), **arguments)


def thresholds(found: jg.GLMM) -> pd.DataFrame:
    table = found.fixed_effects()
    return table[table["component"] == "threshold"].set_index("term")


@pytest.mark.parametrize("name", ["0|1", "2|3", "3|4"])
def test_at_its_estimate_a_threshold_changes_nothing(name: str) -> None:
    free = fit()
    held = fit({name: thresholds(free).loc[name, "estimate"]})
    assert held.status == "converged" and held.num_params == free.num_params - 1
    assert held.log_likelihood == pytest.approx(free.log_likelihood, abs=1e-9)
    np.testing.assert_allclose(
        held.fixed_effects()["estimate"], free.fixed_effects()["estimate"], atol=1e-5
    )
    shown = thresholds(held)
    assert shown.loc[name, ["std_error", "statistic", "p_value", "conf_low"]].isna().all()
    assert shown.drop(name)["std_error"].gt(0).all() and f"{name} = " in str(held.summary())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["0|1", "2|3"])
def test_profile_limits_are_where_the_deviance_has_risen(name: str) -> None:
    free = fit()
    limits = free.confint(parameters=[name], method="profile").iloc[0]
    for value in (limits["conf_low"], limits["conf_high"]):
        drop = 2 * (free.log_likelihood - fit({name: value}).log_likelihood)
        assert drop == pytest.approx(3.841458820694124, rel=1e-5)


def test_without_random_effects_as_by_scipy() -> None:
    """Two of four thresholds held, the others and a slope by a search on the likelihood itself."""
    held = {"1|2": -0.3, "3|4": 1.2}
    found = fit(held, formula="y ~ x")
    y, x = ratings()["y"].to_numpy(), ratings()["x"].to_numpy()

    def loss(free: np.ndarray) -> float:
        cuts = np.array([-np.inf, free[1], held["1|2"], free[2], held["3|4"], np.inf])
        share = special.expit(cuts[y + 1] - free[0] * x) - special.expit(cuts[y] - free[0] * x)
        return -np.log(share).sum() if np.all(np.diff(cuts) > 0) else np.inf

    best = optimize.minimize(loss, [0.5, -1.0, 0.4], method="Nelder-Mead", tol=1e-11)
    assert found.log_likelihood == pytest.approx(-best.fun, abs=1e-9)
    estimates = found.fixed_effects()["estimate"]
    np.testing.assert_allclose(estimates, [best.x[0], best.x[1], -0.3, best.x[2], 1.2], atol=1e-5)


def test_all_thresholds_and_one_far_away() -> None:
    values = {"0|1": -1.5, "1|2": -0.3, "2|3": 0.4, "3|4": 1.8}
    known = fit(values)
    assert known.num_params == 2 and list(thresholds(known)["estimate"]) == list(values.values())
    far = fit({"2|3": 5.0})  # beyond where every other one starts
    assert far.status == "converged" and np.all(np.diff(thresholds(far)["estimate"]) > 0)


def test_a_threshold_needs_no_other_program_for_another_value(compiled: list[str]) -> None:
    fit({"1|2": -0.35})
    compiled.clear()
    fit({"1|2": -0.25})
    assert compiled == []


def test_cutoffs_of_ordered_beta() -> None:
    free = fit(data=shares())
    own = free.family_parameters
    held = fit({"lower_cutoff": own["lower_cutoff"]}, shares())
    assert held.status == "converged"
    assert held.log_likelihood == pytest.approx(free.log_likelihood, abs=1e-9)
    assert held.family_parameters["upper_cutoff"] == pytest.approx(own["upper_cutoff"], rel=1e-5)
    both = fit({"lower_cutoff": 0.15, "upper_cutoff": 0.9}, shares())
    cuts = [both.family_parameters[name] for name in ("lower_cutoff", "upper_cutoff")]
    np.testing.assert_allclose(cuts, [0.15, 0.9], rtol=1e-12)
    assert both.log_likelihood < free.log_likelihood


def test_what_is_held_is_refitted_simulated_and_kept(tmp_path: Path) -> None:
    held = fit({"1|2": -0.3})
    held.save(tmp_path / "held")
    kept = jg.load(tmp_path / "held")
    assert kept.held == {"1|2": -0.3} and kept.fixed_effects().equals(held.fixed_effects())
    y = held.simulate(2, seed=3)
    again = held.refit(y[0])
    assert thresholds(again).loc["1|2", "estimate"] == -0.3
    batch = held.refit_many(y).fixed_effects()
    assert set(batch.loc[batch["term"] == "1|2", "estimate"]) == {-0.3}


@pytest.mark.parametrize(
    ("names", "data"), [(("0|1",), None), (("1|2", "3|4"), None), (("lower_cutoff",), "shares")]
)
def test_a_test_of_the_value(names: tuple[str, ...], data: str | None) -> None:
    """Against the fit that has it free, with as many degrees of freedom."""
    own = None if data is None else shares()
    values = {"0|1": -1.5, "1|2": -0.3, "3|4": 1.8, "lower_cutoff": 0.25}
    free, held = fit(data=own), fit({name: values[name] for name in names}, own)
    last = jg.compare(held, free).table().iloc[-1]
    drop = 2 * (free.log_likelihood - held.log_likelihood)
    assert drop > 0.1 and last["df"] == len(names)
    assert last["p_value"] == pytest.approx(stats.chi2.sf(drop, len(names)), rel=1e-9)


def test_thresholds_held_twice_are_nested_in_those_held_once() -> None:
    once, twice = fit({"0|1": -1.5}), fit({"0|1": -1.5, "2|3": 0.4})
    assert jg.compare(twice, once).table().iloc[-1]["df"] == 1
    with pytest.raises(jg.InputError, match="special case"):
        jg.compare(fit({"0|1": -1.4, "2|3": 0.4}), once)


@pytest.mark.parametrize(
    ("fixed", "arguments", "words"),
    [
        ({"1|2": 0.5, "2|3": -0.5}, {}, ("'1|2' at 0.5", "'2|3' at -0.5", "ascend")),
        ({"lower_cutoff": 1.5}, {"data": "shares"}, ("'lower_cutoff'", "range")),
        ({"lower_cutoff": 0.9, "upper_cutoff": 0.2}, {"data": "shares"}, ("ascend",)),
        ({"1|2": 0.0}, {"thresholds": "equidistant"}, ("'1|2'", "thresholds='flexible'")),
        ({"1|3": 0.0}, {}, ("'1|3'", "Did you mean")),
    ],
)
def test_refusals(fixed: dict[str, float], arguments: dict[str, Any], words: Any) -> None:
    if "data" in arguments:
        arguments = {"data": shares()}
    with pytest.raises(jg.InputError) as caught:
        fit(fixed, **arguments)
    assert all(word in str(caught.value) for word in words), caught.value


def test_a_prior_of_a_threshold() -> None:
    plain, near = fit(), fit(priors={"1|2": jg.priors.Normal(-0.3, 0.01)})
    before, after = (thresholds(one).loc["1|2", "estimate"] for one in (plain, near))
    assert abs(after + 0.3) < 0.05 * abs(before + 0.3)
