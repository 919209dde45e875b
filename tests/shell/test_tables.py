"""The tables of a fit: columns, names, and every number against NumPy and scipy."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxglmm as jg

from . import models
from .reference import gradient, hessian

FIXED = [
    "component",
    "term",
    "estimate",
    "std_error",
    "statistic",
    "df",
    "p_value",
    "conf_low",
    "conf_high",
]
COVARIANCE = [
    "component",
    "group",
    "name1",
    "name2",
    "type",
    "estimate",
    "std_error",
    "conf_low",
    "conf_high",
]
RANDOM = [
    "component",
    "group",
    "level",
    "term",
    "estimate",
    "std_error",
    "conf_low",
    "conf_high",
    "rank",
]
# Extrapolated second differences with steps of 0.03 standard errors: truncation 0.03^4, rounding
# 1e-16 |log-likelihood| / 0.03^2.
HESSIAN = 1e-5


@functools.cache
def covariance(name: str) -> np.ndarray:
    """Of all natural parameters, by differences of the log-likelihood in NumPy."""
    fit, model = models.fit(name), models.reference(name)
    H = hessian(model.log_likelihood, models.natural(fit), 0.03 * models.natural_errors(fit))
    return np.linalg.inv(-H)


@pytest.mark.parametrize("name", tuple(models.CALLS))
def test_columns(name: str) -> None:
    fit = models.fit(name)
    assert list(fit.fixed_effects().columns) == FIXED
    assert list(fit.covariance_parameters().columns) == COVARIANCE
    assert list(fit.random_effects().columns) == RANDOM


@pytest.mark.parametrize("name", models.MIXED)
def test_errors_are_those_of_the_joint_hessian(name: str) -> None:
    se = np.sqrt(np.diag(covariance(name)))
    np.testing.assert_allclose(models.natural_errors(models.fit(name)), se, rtol=HESSIAN)


@pytest.mark.parametrize("df", ["none", "residual"])
@pytest.mark.parametrize("vcov", ["joint", "conditional"])
def test_fixed_effects(df: str, vcov: str) -> None:
    fit = models.fit("cbpp")
    table = fit.fixed_effects(level=0.9, df=df, vcov=vcov)
    beta = np.asarray(fit.estimate.params.beta)
    se = np.sqrt(np.diag(fit.vcov(vcov)))
    law = stats.t(56 - 4) if df == "residual" else stats.norm()
    assert list(table["component"]) == ["cond"] * 4
    assert list(table["term"]) == ["Intercept", "period[T.2]", "period[T.3]", "period[T.4]"]
    np.testing.assert_array_equal(table["estimate"], beta)
    np.testing.assert_allclose(table["std_error"], se, rtol=1e-12)
    np.testing.assert_allclose(table["statistic"], beta / se, rtol=1e-12)
    np.testing.assert_array_equal(table["df"], 52 if df == "residual" else np.inf)
    np.testing.assert_allclose(table["p_value"], 2 * law.sf(np.abs(beta / se)), rtol=1e-10)
    np.testing.assert_allclose(table["conf_low"], beta - law.ppf(0.95) * se, rtol=1e-10)
    np.testing.assert_allclose(table["conf_high"], beta + law.ppf(0.95) * se, rtol=1e-10)


def test_the_defaults() -> None:
    fit = models.fit("cbpp")
    explicit = fit.fixed_effects(level=0.95, df="none", vcov="joint")
    pd.testing.assert_frame_equal(fit.fixed_effects(), explicit)
    pd.testing.assert_frame_equal(fit.vcov(), fit.vcov("joint"))


@pytest.mark.parametrize("name", models.MIXED)
def test_vcov(name: str) -> None:
    fit, p = models.fit(name), models.reference(name).X.shape[1]
    terms = list(fit.fixed_effects()["term"])
    for kind in ("joint", "conditional"):
        matrix = fit.vcov(kind)
        assert list(matrix.index) == list(matrix.columns) == terms
        values = matrix.to_numpy()
        np.testing.assert_allclose(values, values.T, rtol=1e-12)
        assert np.linalg.eigvalsh(values).min() > 0
    ours = covariance(name)[:p, :p]
    unit = np.sqrt(np.outer(np.diag(ours), np.diag(ours)))
    np.testing.assert_allclose(fit.vcov() / unit, ours / unit, atol=HESSIAN)


@pytest.mark.parametrize("name", models.MIXED)
def test_conditional_vcov_is_generalised_least_squares(name: str) -> None:
    fit = models.fit(name)
    ours = models.reference(name).conditional_vcov(models.natural(fit))
    np.testing.assert_allclose(fit.vcov("conditional"), ours, rtol=1e-7)


def test_names_of_covariance_parameters() -> None:
    table = models.fit("sleep").covariance_parameters()
    names = table[COVARIANCE[:5]].astype(object)
    rows = [tuple(row) for row in names.where(names.notna(), None).itertuples(index=False)]
    assert rows == [
        ("cond", "Subject", "Intercept", None, "sd"),
        ("cond", "Subject", "Days", None, "sd"),
        ("cond", "Subject", "Days", "Intercept", "corr"),
        ("cond", "family", "sigma", None, "family"),
    ]
    uncorrelated = models.fit("sleep_diag").covariance_parameters()
    assert list(uncorrelated["type"]) == ["sd", "sd", "family"]
    assert list(uncorrelated["name1"]) == ["Intercept", "Days", "sigma"]
    assert list(models.fit("cbpp").covariance_parameters()["type"]) == ["sd"]
    assert list(models.fit("lm").covariance_parameters()["name1"]) == ["sigma"]
    empty = models.fit("glm_poisson").covariance_parameters()
    assert len(empty) == 0


@pytest.mark.parametrize("name", models.MIXED)
def test_limits_of_covariance_parameters(name: str) -> None:
    fit = models.fit(name)
    table, wide = fit.covariance_parameters(level=0.9), fit.covariance_parameters(level=0.99)
    x, se = table["estimate"].to_numpy(), table["std_error"].to_numpy()
    z = stats.norm.ppf(0.95)
    corr = (table["type"] == "corr").to_numpy()
    with np.errstate(invalid="ignore"):
        fisher = np.tanh(np.arctanh(x) - z * se / (1 - x**2))
    low = np.where(corr, fisher, np.exp(np.log(np.abs(x)) - z * se / x))
    np.testing.assert_allclose(table["conf_low"], low, rtol=1e-10)
    assert (table["conf_low"] < x).all() and (x < table["conf_high"]).all()
    assert (wide["conf_low"] < table["conf_low"]).all()
    assert (wide["conf_high"] > table["conf_high"]).all()
    assert (table["conf_low"][~corr] > 0).all()


@pytest.mark.parametrize("name", models.MIXED)
def test_random_effects(name: str) -> None:
    fit, model = models.fit(name), models.reference(name)
    mode = model.mode(models.natural(fit))
    table = fit.random_effects(level=0.8)
    group = models.GROUPS.get(name, "Subject")
    terms = ["Intercept", "Days"][: model.q]
    levels = list(models.data(name)[group].cat.categories)
    assert set(table["component"]) == {"cond"} and set(table["group"]) == {group}
    assert list(table["level"]) == [level for level in levels for _ in terms]
    assert list(table["term"]) == terms * len(levels)
    scale = np.sqrt(np.einsum("lii->li", mode.covariance))
    gap = (table["estimate"].to_numpy().reshape(-1, model.q) - mode.b) / scale
    np.testing.assert_allclose(gap, 0.0, atol=1e-7)
    np.testing.assert_allclose(table["std_error"], scale.ravel(), rtol=1e-6)
    width = stats.norm.ppf(0.9) * table["std_error"]
    np.testing.assert_allclose(table["conf_low"], table["estimate"] - width, rtol=1e-10)
    np.testing.assert_allclose(table["conf_high"], table["estimate"] + width, rtol=1e-10)
    for _, part in table.groupby("term"):
        assert sorted(part["rank"]) == list(range(1, len(levels) + 1))
        assert part.sort_values("rank")["estimate"].is_monotonic_decreasing
    assert table["rank"].dtype.kind == "i"


@pytest.mark.parametrize("name", ["cbpp", "sleep", "epil"])
def test_joint_uncertainty_of_random_effects(name: str) -> None:
    """Kass & Steffey: conditional variance + J V J', J by differences of the modes."""
    fit, model = models.fit(name), models.reference(name)
    x = models.natural(fit)
    J = gradient(lambda at: model.mode(at).b, x, 1e-2 * models.natural_errors(fit))
    extra = np.einsum("klc,km,mlc->lc", J, covariance(name), J)
    variance = np.einsum("lii->li", model.mode(x).covariance) + extra
    table = fit.random_effects(uncertainty="joint")
    np.testing.assert_allclose(table["std_error"], np.sqrt(variance).ravel(), rtol=2 * HESSIAN)
    plain = fit.random_effects()
    np.testing.assert_array_equal(table["estimate"], plain["estimate"])
    assert (table["std_error"] > plain["std_error"]).all()


def test_a_fit_without_random_effects_has_none() -> None:
    for uncertainty in ("conditional", "joint"):
        table = models.fit("lm").random_effects(uncertainty=uncertainty)
        assert len(table) == 0 and list(table.columns) == RANDOM


def test_without_random_effects_both_vcov_agree_for_the_mean() -> None:
    """beta and the law's parameter are orthogonal there."""
    for name in ("lm", "glm_poisson", "glm_gamma"):
        fit = models.fit(name)
        np.testing.assert_allclose(fit.vcov("conditional"), fit.vcov("joint"), rtol=HESSIAN)


@pytest.fixture(scope="module")
def flat() -> jg.GLMM:
    """Six groups with the same counts: the estimated variance is zero."""
    data = {"y": np.tile([0.0, 3, 1, 5], 6), "g": np.repeat(np.arange(6), 4)}
    data["x"] = np.tile([0.0, 1, 2, 3], 6)
    return jg.glmm("y ~ x + (1 | g)", data, family="poisson")


def test_a_zero_variance(flat: jg.GLMM) -> None:
    assert flat.status == "converged_boundary" and flat.is_singular and flat.converged
    row = flat.covariance_parameters().iloc[0]
    assert 0 <= row["estimate"] < 1e-4
    assert np.isnan([row["std_error"], row["conf_low"], row["conf_high"]]).all()
    for uncertainty in ("conditional", "joint"):
        table = flat.random_effects(uncertainty=uncertainty)
        np.testing.assert_allclose(table["estimate"], 0.0, atol=1e-6)
        assert (table["std_error"] < 1e-3).all()
        assert sorted(table["rank"]) == [1, 2, 3, 4, 5, 6]


def test_fixed_effects_at_a_zero_variance_are_those_of_the_glm(flat: jg.GLMM) -> None:
    y, X = np.tile([0.0, 3, 1, 5], 6), np.stack([np.ones(24), np.tile([0.0, 1, 2, 3], 6)], 1)
    beta = np.zeros(2)
    for _ in range(30):
        mu = np.exp(X @ beta)
        beta = beta + np.linalg.solve(X.T @ (mu[:, None] * X), X.T @ (y - mu))
    information = X.T @ (np.exp(X @ beta)[:, None] * X)
    table = flat.fixed_effects()
    np.testing.assert_allclose(table["estimate"], beta, rtol=1e-5)
    np.testing.assert_allclose(flat.vcov(), np.linalg.inv(information), rtol=1e-4)
    np.testing.assert_allclose(flat.vcov("conditional"), np.linalg.inv(information), rtol=1e-4)
    value = stats.poisson(np.exp(X @ beta)).logpmf(y).sum()
    np.testing.assert_allclose(flat.log_likelihood, value, rtol=1e-8)


def test_tables_are_fresh_copies() -> None:
    fit = models.fit("cbpp")
    first = fit.fixed_effects()
    first.loc[0, "estimate"] = 99.0
    assert fit.fixed_effects().loc[0, "estimate"] != 99.0


def test_limits_of_a_parameter_of_either_sign() -> None:
    rng = np.random.default_rng(2)
    y = -stats.skewnorm(5.0).rvs(200, random_state=rng)
    fit = jg.glmm("y ~ 1", {"y": y}, "skew_normal")
    shape = fit.covariance_parameters().set_index("name1").loc["shape"]
    assert shape["estimate"] < 0
    width = stats.norm.ppf(0.975) * shape["std_error"]
    np.testing.assert_allclose(shape["conf_low"], shape["estimate"] - width, rtol=1e-12)
    np.testing.assert_allclose(shape["conf_high"], shape["estimate"] + width, rtol=1e-12)
