"""Profiles: limits are where the likelihood has fallen by the right amount, or bounds."""

from __future__ import annotations

import functools
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import optimize

import jaxglmm as jg

from . import models

Z = NormalDist().inv_cdf(0.975)


@functools.cache
def limits(name: str) -> pd.DataFrame:
    return models.fit(name).confint("profile").set_index("parameter")


def held_at(fit: jg.GLMM, data: pd.DataFrame, name: str, value: float, **arguments: Any) -> float:
    """The signed root of the deviance difference where a parameter is held."""
    control = jg.Control(fixed={name: value})
    family = arguments.pop("family", "gaussian")
    other = jg.glmm(fit.formula, data, family, control=control, **arguments)
    return float(np.sqrt(other.deviance - fit.deviance))


def test_limits_of_a_linear_model_are_those_of_its_closed_form() -> None:
    """The deviance of a coefficient is n log(1 + t^2 / (n - p)), that of sigma
    n (2 log(s / sigma) + sigma^2 / s^2 - 1)."""
    fit, found = models.fit("lm"), limits("lm")
    n, p = fit.num_obs, 2
    table = fit.fixed_effects()
    error = table["std_error"].to_numpy() * np.sqrt(n / (n - p))
    width = error * np.sqrt((n - p) * np.expm1(Z**2 / n))
    np.testing.assert_allclose(found["conf_low"][:2], table["estimate"] - width, rtol=1e-6)
    np.testing.assert_allclose(found["conf_high"][:2], table["estimate"] + width, rtol=1e-6)
    sigma = fit.family_parameters["sigma"]

    def excess(ratio: float) -> float:
        return n * (2 * np.log(ratio) + ratio**-2 - 1) - Z**2

    exact = [sigma * optimize.brentq(excess, *ends) for ends in ((0.5, 1.0), (1.0, 2.0))]
    own = found.loc["sigma", ["conf_low", "conf_high"]].to_numpy(float)
    np.testing.assert_allclose(own, exact, rtol=1e-6)


@pytest.mark.parametrize(
    "name", [pytest.param("period[T.2]", marks=pytest.mark.slow), "sd(herd, Intercept)"]
)
def test_a_fit_held_at_a_limit_has_its_deviance(name: str) -> None:
    for value in limits("cbpp").loc[name, ["conf_low", "conf_high"]]:
        zeta = held_at(models.fit("cbpp"), models.data("cbpp"), name, value, family="binomial")
        np.testing.assert_allclose(zeta, Z, rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["corr(Subject, Days, Intercept)", "sd(Subject, Days)", "sigma", "Days"]
)
def test_a_fit_of_slopes_held_at_a_limit_has_its_deviance(name: str) -> None:
    for value in limits("sleep").loc[name, ["conf_low", "conf_high"]]:
        zeta = held_at(models.fit("sleep"), models.data("sleep"), name, value)
        np.testing.assert_allclose(zeta, Z, rtol=1e-6)


def test_the_profile_rises_through_the_limits() -> None:
    fit = models.fit("cbpp")
    table = fit.profile(level=0.95, num_points=4)
    assert [*table.columns] == ["parameter", "value", "zeta", "deviance"]
    for name, own in table.groupby("parameter"):
        assert len(own) == 9 and (np.diff(own["value"]) > 0).all()
        np.testing.assert_allclose(own["zeta"], np.linspace(-Z, Z, 9), atol=1e-12)
        ends = own["value"].iloc[[0, -1]].to_numpy()
        expected = limits("cbpp").loc[name, ["conf_low", "conf_high"]].to_numpy(float)
        np.testing.assert_allclose(ends, expected, rtol=1e-5)
    np.testing.assert_allclose(table["deviance"], fit.deviance + table["zeta"] ** 2)


@functools.cache
def without_groups() -> jg.GLMM:
    """One-way data whose groups differ less than their rows say: a variance of zero."""
    y = np.random.default_rng(3).normal(size=(6, 5))
    y -= y.mean(axis=1, keepdims=True)
    data = {"y": y.ravel(), "g": np.repeat(np.arange(6), 5)}
    return jg.glmm("y ~ 1 + (1 | g)", data)


def test_a_bound_that_the_likelihood_reaches_is_the_limit() -> None:
    fit = without_groups()
    assert fit.is_singular
    low, high = fit.confint("profile", parameters="sd").loc[0, ["conf_low", "conf_high"]]
    assert low == 0.0 < high
    table = fit.profile("sd", num_points=3)
    assert table["value"][0] < 1e-6 and (np.diff(table["value"]) > 0).all()


@pytest.mark.slow
def test_slopes_next_to_nothing_may_have_any_correlation() -> None:
    """Beside a standard deviation of zero, which the data allow, a correlation says nothing; the
    limits of a coefficient lie beyond, where the correlation has the other sign."""
    data = models.data("epil")
    fit = jg.glmm("y ~ lbase + trt + (lbase | subject)", data, "poisson")
    found = fit.confint("profile").set_index("parameter")
    assert found.loc["sd(subject, lbase)", "conf_low"] == 0.0
    correlation = found.loc["corr(subject, lbase, Intercept)", ["conf_low", "conf_high"]]
    assert [*correlation] == [-1.0, 1.0]
    high = float(found.loc["lbase", "conf_high"])
    np.testing.assert_allclose(held_at(fit, data, "lbase", high, family="poisson"), Z, rtol=1e-4)


def test_columns_far_from_zero_have_the_limits_of_centred_ones() -> None:
    """The fit runs in another basis."""
    data = models.data("lm")
    fit = jg.glmm("Reaction ~ year", data.assign(year=data["Days"] + 20_000))
    ours = fit.confint("profile", parameters="year").loc[0, ["conf_low", "conf_high"]]
    np.testing.assert_allclose(
        ours.to_numpy(float), limits("lm").loc["Days", ["conf_low", "conf_high"]].to_numpy(float)
    )


@pytest.mark.slow
def test_wald_and_bootstrap_limits_are_those_of_their_tables() -> None:
    fit = models.fit("lm")
    wald = fit.confint(level=0.9)
    own = fit.fixed_effects(level=0.9), fit.covariance_parameters(level=0.9)
    for column in ("estimate", "conf_low", "conf_high"):
        np.testing.assert_array_equal(wald[column], np.concatenate([t[column] for t in own]))
    assert [*wald["type"]] == ["fixed", "fixed", "family"]
    boot = fit.confint("bootstrap", num_draws=40, seed=2)
    table = fit.bootstrap(40, seed=2).confint()
    np.testing.assert_array_equal(boot["conf_low"], table["conf_low"])


@pytest.mark.slow
def test_what_is_held_has_no_limits() -> None:
    fit = jg.glmm("Reaction ~ Days", models.data("lm"), control=jg.Control(fixed={"sigma": 50.0}))
    found = fit.confint("profile").set_index("parameter")
    assert found.loc["sigma", ["conf_low", "conf_high"]].isna().all()
    wald = fit.fixed_effects()
    np.testing.assert_allclose(found["conf_low"][:2], wald["conf_low"], rtol=1e-6)


def test_refusals() -> None:
    fit = models.fit("cbpp")
    with pytest.raises(jg.InputError, match="method='prof'.*'profile'"):
        fit.confint("prof")  # type: ignore[arg-type]
    with pytest.raises(jg.InputError, match="no parameter 'perod'"):
        fit.confint("profile", parameters=["perod"])
    with pytest.raises(jg.InputError, match="none of the kind 'corr'"):
        fit.profile("corr")
    with pytest.raises(jg.InputError, match="seed"):
        fit.confint("bootstrap")
    with pytest.raises(jg.InputError, match="level"):
        fit.confint("profile", level=95)


@pytest.mark.slow
def test_restricted_likelihoods_have_no_profile_of_fixed_effects() -> None:
    fit = jg.glmm("Reaction ~ Days", models.data("lm"), method="reml")
    with pytest.raises(jg.InputError, match="'Days' cannot be profiled.*method='laplace'"):
        fit.confint("profile", parameters="Days")
    found = fit.confint("profile")
    assert found["conf_low"][:2].isna().all() and found["conf_low"][2] > 0
