"""Fitted values and predictions against X beta + Z b by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special

import jaxglmm as jg

from . import models

MEANS = {"binomial": special.expit, "beta": special.expit, "gaussian": lambda eta: eta}
KINDS = ("conditional", "population")


def by_hand(name: str, kind: str) -> np.ndarray:
    """The linear predictor from the tables and the design in NumPy."""
    fit, model = models.fit(name), models.reference(name)
    eta = model.X @ fit.fixed_effects()["estimate"].to_numpy()
    if kind == "conditional":
        b = fit.random_effects()["estimate"].to_numpy().reshape(-1, model.q)
        eta = eta + np.sum(model.Z * b[model.codes], axis=1)
    return eta


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", models.MIXED)
def test_fitted(name: str, kind: str) -> None:
    fit, eta = models.fit(name), by_hand(name, kind)
    mean = MEANS.get(models.reference(name).family, np.exp)
    np.testing.assert_allclose(fit.fitted(kind, scale="link"), eta, rtol=1e-10)
    np.testing.assert_allclose(fit.fitted(kind), mean(eta), rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", tuple(models.CALLS))
def test_the_fitted_data_as_new_data(name: str, kind: str) -> None:
    fit = models.fit(name)
    for scale in ("response", "link"):
        fitted = fit.fitted(kind, scale)
        np.testing.assert_array_equal(fit.predict(kind=kind, scale=scale), fitted)
        again = fit.predict(models.data(name), kind=kind, scale=scale)
        np.testing.assert_allclose(again, fitted, rtol=1e-12)
        assert type(again) is np.ndarray and again.dtype == np.float64


def test_conditional_on_the_response_is_the_default() -> None:
    fit = models.fit("cbpp")
    np.testing.assert_array_equal(fit.predict(), fit.fitted("conditional", "response"))


def test_rows_in_any_order_and_number() -> None:
    fit, data = models.fit("sleep"), models.data("sleep")
    rows = np.array([170, 3, 3, 90])
    np.testing.assert_allclose(fit.predict(data.iloc[rows]), fit.fitted()[rows], rtol=1e-12)
    assert fit.predict(data.iloc[:0]).shape == (0,)
    np.testing.assert_allclose(fit.predict(data.iloc[[5]]), fit.fitted()[[5]], rtol=1e-12)


def test_the_response_is_not_needed() -> None:
    fit = models.fit("cbpp")
    new = models.data("cbpp")[["herd", "period"]]
    np.testing.assert_allclose(fit.predict(new), fit.fitted(), rtol=1e-12)
    alone = fit.predict(new[["period"]], kind="population")
    np.testing.assert_allclose(alone, fit.fitted("population"), rtol=1e-12)


def test_unseen_levels_get_the_population_s_value() -> None:
    fit = models.fit("sleep")
    new = {"Days": [0.0, 4.0, 9.0], "Subject": ["308", "nobody", "999"]}
    both = fit.predict(new), fit.predict(new, kind="population")
    np.testing.assert_array_equal(both[0][1:], both[1][1:])
    assert abs(both[0][0] - both[1][0]) > 1
    with pytest.raises(jg.InputError, match=r"2 rows .*'Subject'.*1, 2.*new_levels='population'"):
        fit.predict(new, new_levels="raise")
    fit.predict(new, kind="population", new_levels="raise")
    seen = {"Days": [0.0], "Subject": ["308"]}
    np.testing.assert_array_equal(fit.predict(seen, new_levels="raise"), both[0][:1])


@pytest.mark.parametrize("bad", [np.nan, np.inf, None])
def test_a_missing_predictor_gives_nan_in_its_row(bad: Any) -> None:
    fit = models.fit("sleep")
    new = models.data("sleep").iloc[:5].copy()
    new["Days"] = new["Days"].astype(object)
    new.loc[new.index[2], "Days"] = bad
    new["Days"] = pd.to_numeric(new["Days"])
    found = fit.predict(new)
    assert np.isnan(found[2])
    rest = [0, 1, 3, 4]
    np.testing.assert_allclose(found[rest], fit.fitted()[:5][rest], rtol=1e-12)


def test_a_missing_category_gives_nan_in_its_row() -> None:
    new = models.data("cbpp").iloc[:4].copy()
    new.loc[new.index[1], "period"] = None
    found = models.fit("cbpp").predict(new)
    np.testing.assert_array_equal(np.isnan(found), [False, True, False, False])


def test_every_kind_of_table() -> None:
    polars, pyarrow = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    fit, data = models.fit("cbpp"), models.data("cbpp")
    small = data[["herd", "period"]].astype(str)
    tables = [
        small,
        small.to_dict("list"),
        {name: small[name].to_numpy() for name in small},
        polars.DataFrame(small.to_dict("list")),
        pyarrow.table(small.to_dict("list")),
    ]
    for table in tables:
        found = fit.predict(table)
        assert type(found) is np.ndarray
        np.testing.assert_allclose(found, fit.fitted(), rtol=1e-12)


def test_an_unseen_category_of_a_predictor_is_refused() -> None:
    new = {"herd": ["1"], "period": ["5"]}
    with pytest.raises(jg.InputError, match="'period'"):
        models.fit("cbpp").predict(new)


def test_a_missing_column_of_new_data_is_named() -> None:
    with pytest.raises(jg.InputError, match="herd"):
        models.fit("cbpp").predict({"period": ["1"]})
    with pytest.raises(jg.InputError, match="period"):
        models.fit("cbpp").predict({"herd": ["1"]}, kind="population")


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    rng = np.random.default_rng(5)
    n = 60
    d = pd.DataFrame({name: rng.uniform(1, 9, n) for name in "abcd"})
    d["g"] = rng.integers(0, 8, n)
    d["e"] = rng.uniform(1, 3, n)
    d["y"] = rng.poisson(np.exp(0.2 + 0.1 * d["a"]) * d["e"])
    return d


def test_transforms_remember_the_fitted_data(table: pd.DataFrame) -> None:
    formula = "y ~ scale(a) + poly(b, 2) + bs(c, df=4) + log(d) + I(a * d) + (scale(a) | g)"
    fit = jg.glmm(formula, table)
    # A few rows by themselves have another mean, range and spread.
    rows = np.array([7, 30, 31, 59])
    for kind in KINDS:
        found = fit.predict(table.iloc[rows], kind=kind)
        np.testing.assert_allclose(found, fit.fitted(kind)[rows], rtol=1e-9)
    scaled = (table["a"] - table["a"].mean()) / table["a"].std()
    np.testing.assert_allclose(fit.problem.X[:, list(fit.labels.fixed).index("scale(a)")], scaled)


def test_offsets(table: pd.DataFrame) -> None:
    log_e = np.log(table["e"].to_numpy())
    inside = jg.glmm("y ~ a + offset(log(e)) + (1 | g)", table, family="poisson")
    array = jg.glmm("y ~ a + (1 | g)", table, family="poisson", offset=log_e)
    column = jg.glmm("y ~ a + (1 | g)", table.assign(le=log_e), family="poisson", offset="le")
    beta = inside.fixed_effects()["estimate"].to_numpy()
    for fit in (array, column):
        np.testing.assert_allclose(fit.fixed_effects()["estimate"], beta, rtol=1e-9)
    eta = beta[0] + beta[1] * table["a"] + log_e
    np.testing.assert_allclose(inside.fitted("population", "link"), eta, rtol=1e-10)
    np.testing.assert_allclose(inside.predict(table, "population", "link"), eta, rtol=1e-10)
    np.testing.assert_allclose(
        column.predict(table.assign(le=log_e), "population", "link"), eta, rtol=1e-10
    )
    np.testing.assert_allclose(
        array.predict(table, "population", "link", offset=log_e), eta, rtol=1e-10
    )
    # One number for all rows.
    shifted = array.predict(table, "population", "link", offset=2.0)
    np.testing.assert_allclose(shifted, eta - log_e + 2.0, rtol=1e-10)
    with pytest.raises(jg.InputError, match="offset="):
        array.predict(table)
    with pytest.raises(jg.InputError, match="'e'"):
        inside.predict(table.drop(columns="e"))


def test_only_the_rows_used_have_fitted_values(table: pd.DataFrame) -> None:
    table = table.copy()
    table.loc[[3, 8], "a"] = np.nan
    fit = jg.glmm("y ~ a + (1 | g)", table, family="poisson")
    used = table["a"].notna().to_numpy()
    assert fit.fitted().shape == (58,) == fit.predict().shape
    found = fit.predict(table)
    assert found.shape == (60,)
    np.testing.assert_array_equal(np.isnan(found), ~used)
    np.testing.assert_allclose(found[used], fit.fitted(), rtol=1e-12)


def test_dropped_columns_stay_dropped(table: pd.DataFrame) -> None:
    fit = jg.glmm("y ~ a + I(2 * a) + (1 | g)", table, family="poisson")
    whole = jg.glmm("y ~ a + (1 | g)", table, family="poisson")
    np.testing.assert_allclose(fit.predict(table), whole.predict(table), rtol=1e-9)
