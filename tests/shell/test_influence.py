"""Influence: closed forms of linear models, fits to the rows that are left, derivatives."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg

from . import models


@functools.cache
def of_herds(method: str) -> pd.DataFrame:
    return models.fit("cbpp").influence(by="herd", method=method)  # type: ignore[arg-type]


def test_deletion_from_a_linear_model() -> None:
    """Cook's distance is e^2 h / (1 - h)^2 / (p s^2); the rest by least squares without the row."""
    fit = models.fit("lm")
    h, e = fit.hat_values(), fit.residuals()
    s = fit.family_parameters["sigma"]
    table = fit.influence()
    exact = e**2 * h / (1 - h) ** 2 / (2 * s**2)
    np.testing.assert_allclose(table["cooks_distance"], exact, rtol=1e-6)
    assert [*table["row"]] == [*range(180)] and (table["num_obs"] == 1).all()
    X, y = np.asarray(fit.problem.X), np.asarray(fit.problem.y)
    for row in (0, 99):
        left = np.arange(180) != row
        beta, square, *_ = np.linalg.lstsq(X[left], y[left], rcond=None)
        variance = square[0] / 179
        own = table.loc[row]
        np.testing.assert_allclose(own["change_sigma"], s - np.sqrt(variance), rtol=1e-6)
        at = -90 * np.log(2 * np.pi * variance) - np.sum((y - X @ beta) ** 2) / (2 * variance)
        fall = 2 * (fit.log_likelihood - at)
        np.testing.assert_allclose(own["likelihood_displacement"], fall, rtol=1e-6)
        V, V_i = (np.linalg.inv(x.T @ x) for x in (X, X[left]))
        ratio = np.linalg.det(V_i) / np.linalg.det(V) * (variance / s**2) ** 2
        # Standard errors of a batch are right to 1e-5.
        np.testing.assert_allclose(own["covariance_ratio"], ratio, rtol=1e-4)


def test_distances_by_leverage() -> None:
    """Those of refits in a linear model; by hand of proportions, whose variance is known."""
    fit = models.fit("lm")
    table = fit.augment()
    np.testing.assert_array_equal(table[".hat"], fit.hat_values())
    np.testing.assert_allclose(table[".cooksd"], fit.influence()["cooks_distance"], rtol=1e-6)
    binomial, data = models.fit("cbpp"), models.data("cbpp")
    table, mean = binomial.augment(), binomial.fitted()
    r = (data["incidence"] / data["size"] - mean) / np.sqrt(mean * (1 - mean) / data["size"])
    h = table[".hat"]
    np.testing.assert_allclose(table[".cooksd"], r**2 * h / (1 - h) ** 2 / 4, rtol=1e-10)


def test_distances_count_the_free_coefficients_of_the_mean() -> None:
    formula, data = "Reaction ~ Days + (1 | Subject)", models.data("sleep")
    fit = jg.glmm(
        formula, data, dispersion="~ Days", control=jg.Control(fixed={"Intercept": 250.0})
    )
    r, h = fit.residuals("pearson"), fit.hat_values()
    np.testing.assert_allclose(fit.augment()[".cooksd"], r**2 * h / (1 - h) ** 2, rtol=1e-10)


def test_exact_deletion_is_a_fit_to_the_rows_that_are_left() -> None:
    fit, data, table = models.fit("cbpp"), models.data("cbpp"), of_herds("exact")
    assert len(table) == 15 and (table["status"] == "converged").all()
    level = table["level"][2]
    other = jg.glmm(fit.formula, data[data["herd"] != level], "binomial")
    before, after = fit.fixed_effects(), other.fixed_effects()
    change = (before["estimate"] - after["estimate"]).to_numpy()
    V, V_i = fit.vcov().to_numpy(), other.vcov().to_numpy()
    row = table.loc[2]
    assert row["num_obs"] == (data["herd"] == level).sum()
    dfbetas = row[[f"dfbetas_{term}" for term in before["term"]]].to_numpy(float)
    np.testing.assert_allclose(dfbetas, change / after["std_error"], rtol=1e-5)
    cook = change @ np.linalg.solve(V, change) / 4
    np.testing.assert_allclose(row["cooks_distance"], cook, rtol=1e-5)
    ratio = np.linalg.det(V_i) / np.linalg.det(V)
    np.testing.assert_allclose(row["covariance_ratio"], ratio, rtol=1e-5)
    sds = (part.covariance_parameters()["estimate"][0] for part in (fit, other))
    np.testing.assert_allclose(row["change_sd(herd, Intercept)"], next(sds) - next(sds), rtol=1e-4)


def test_the_jackknife_is_the_derivative_in_the_weights() -> None:
    fit, data, table = models.fit("cbpp"), models.data("cbpp"), of_herds("jackknife")
    step = 1e-4
    weights = np.where(data["herd"] == table["level"][0], 1.0 - step, 1.0)
    other = jg.glmm(fit.formula, data, "binomial", weights=weights)
    change = fit.fixed_effects()["estimate"] - other.fixed_effects()["estimate"]
    scaled = change / step / fit.fixed_effects()["std_error"]
    ours = table.loc[0, [c for c in table if c.startswith("dfbetas_")]].to_numpy(float)
    np.testing.assert_allclose(ours, scaled, rtol=2e-3, atol=1e-5)
    sds = [part.covariance_parameters()["estimate"][0] for part in (fit, other)]
    own = table["change_sd(herd, Intercept)"][0]
    np.testing.assert_allclose(own, (sds[0] - sds[1]) / step, rtol=2e-3)


@pytest.mark.slow
def test_approximations_order_the_units_alike() -> None:
    exact = of_herds("exact")["cooks_distance"]
    for method in ("one_step", "jackknife"):
        found = of_herds(method)["cooks_distance"]
        assert np.corrcoef(exact, found)[0, 1] > 0.95
    one_step, whole = (of_herds(m)["likelihood_displacement"] for m in ("one_step", "exact"))
    assert np.corrcoef(one_step, whole)[0, 1] > 0.95


def test_units_of_any_column() -> None:
    table = models.fit("lm").influence(by=models.data("lm")["Subject"], method="jackknife")
    assert len(table) == 18 and [*table.columns[:3]] == ["group", "level", "num_obs"]
    np.testing.assert_array_equal(table["num_obs"], 10)
    assert (table["group"] == "Subject").all()


def test_refusals() -> None:
    fit = models.fit("cbpp")
    with pytest.raises(jg.InputError, match="'cow' is neither a grouping factor.*'herd'"):
        fit.influence(by="cow")
    with pytest.raises(jg.InputError, match="3 values for 56 rows"):
        fit.influence(by=[1, 2, 3])
    with pytest.raises(jg.InputError, match="method='loo'"):
        fit.influence(method="loo")  # type: ignore[arg-type]
