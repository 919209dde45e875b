"""Comparisons of fits: tables, laws of the likelihood ratio, draws, refusals."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxglmm as jg
from jaxglmm import status as codes
from jaxglmm.frontend import ratios
from jaxglmm.inference import comparison
from jaxglmm.inference.comparison import Null

from . import models

LEVELS, EACH = 8, 6


@functools.cache
def one_way() -> pd.DataFrame:
    rng = np.random.default_rng(12)
    g = np.repeat(np.arange(LEVELS), EACH)
    y = 0.55 * rng.normal(size=LEVELS)[g] + rng.normal(size=LEVELS * EACH)
    return pd.DataFrame({"y": y, "g": g, "x": rng.normal(size=len(y))})


@functools.cache
def fit(formula: str) -> jg.GLMM:
    return jg.glmm(formula, one_way())


def f_test() -> tuple[float, float]:
    """F of the one-way analysis of variance and its p-value."""
    groups = [part["y"].to_numpy() for _, part in one_way().groupby("g")]
    found = stats.f_oneway(*groups)
    return float(found.statistic), float(found.pvalue)


# ----- tables ------------------------------------------------------------------------------------


def test_a_table_of_tests() -> None:
    small, large, largest = (fit(f"y ~ {x}") for x in ("1", "C(g)", "C(g) + x"))
    found = jg.compare(largest, small, large)
    table = found.table()
    assert [*table["model"]] == [1, 2, 0]
    assert [*table["formula"]] == ["y ~ 1", "y ~ C(g)", "y ~ C(g) + x"]
    assert [*table["num_params"]] == [2, LEVELS + 1, LEVELS + 2]
    statistic, _ = f_test()
    ratio = LEVELS * EACH * np.log1p(statistic * (LEVELS - 1) / (LEVELS * (EACH - 1)))
    np.testing.assert_allclose(table["statistic"][1], ratio, rtol=1e-9)
    np.testing.assert_allclose(table["p_value"][1], stats.chi2.sf(ratio, LEVELS - 1), rtol=1e-8)
    np.testing.assert_array_equal(table["df"][1:], [LEVELS - 1, 1])
    assert [*table["null_law"]] == ["", f"chi2({LEVELS - 1})", "chi2(1)"]
    assert table["p_value_boundary"].isna().all() and np.isnan(table["p_value"][0])
    np.testing.assert_array_equal(table["aic"], [f.aic for f in found.fits])
    text = repr(found)
    assert "3 models by likelihood-ratio tests" in text and "y ~ C(g) + x" in text
    assert found.statistics.shape == (2, 0) and found.counts == []


def test_a_variance_is_at_its_bound() -> None:
    table = jg.compare(fit("y ~ 1"), fit("y ~ 1 + (1 | g)")).table()
    statistic, p = table["statistic"][1], table["p_value"][1]
    assert table["null_law"][1] == "0.5 chi2(0) + 0.5 chi2(1)"
    np.testing.assert_allclose(p, stats.chi2.sf(statistic, 1), rtol=1e-12)
    np.testing.assert_allclose(table["p_value_boundary"][1], 0.5 * p, rtol=1e-12)


def test_a_slope_brings_its_correlation() -> None:
    small = jg.glmm("Reaction ~ Days + (1 | Subject)", models.data("sleep"))
    table = jg.compare(small, models.fit("sleep")).table()
    ratio = table["statistic"][1]
    expected = 0.5 * stats.chi2.sf(ratio, 1) + 0.5 * stats.chi2.sf(ratio, 2)
    assert table["null_law"][1] == "0.5 chi2(1) + 0.5 chi2(2)"
    np.testing.assert_allclose(table["p_value_boundary"][1], expected, rtol=1e-12)
    # Two variances at once, and from a model that is at a bound itself.
    plain = jg.compare(models.fit("lm"), models.fit("sleep")).table()
    assert plain["null_law"][1] == "not known" and np.isnan(plain["p_value_boundary"][1])
    assert 0 < plain["p_value"][1] < 1e-10


def test_any_models_by_aic() -> None:
    fits = fit("y ~ x"), fit("y ~ 1 + (1 | g)"), models_of_another_law()
    found = jg.compare(*fits, test=None)
    table = found.table()
    aic = np.array([f.aic for f in found.fits])
    np.testing.assert_array_equal(table["delta_aic"], aic - aic.min())
    assert (table["delta_bic"] >= 0).all() and "p_value" not in table
    assert [*table["status"]] == [f.status for f in found.fits]
    assert repr(found).startswith("<Comparison of 3 models>")


@functools.cache
def models_of_another_law() -> jg.GLMM:
    return jg.glmm("y ~ 1", one_way(), jg.families.StudentT(df=5.0))


# ----- the arithmetic ----------------------------------------------------------------------------


def test_laws_of_the_ratio() -> None:
    assert comparison.null_law(3, 0) == Null((1.0,), (3,))
    assert comparison.null_law(3, 1) == Null((0.5, 0.5), (2, 3))
    assert comparison.null_law(3, 2) == comparison.null_law(3, None) == Null((), ())
    mixture = comparison.null_law(1, 1)
    assert comparison.tail(0.0, mixture) == 1.0
    np.testing.assert_allclose(comparison.tail(2.7, mixture), 0.5 * stats.chi2.sf(2.7, 1))
    assert np.isnan(comparison.tail(2.7, Null((), ())))


def test_ratios_within_rounding_are_zero() -> None:
    small = np.array([-100.0, -100.0, -100.0, -100.0])
    large = small + np.array([1e-8, -1e-8, 1.0, -1.0])
    np.testing.assert_array_equal(comparison.ratio(small, large, 1e-7), [0.0, 0.0, 2.0, -2.0])


def test_a_p_value_of_draws() -> None:
    draws = np.array([0.0, 1.0, np.nan, 2.0, 3.0, 2.0 - 1e-9])
    found = comparison.tail_of_draws(2.0, draws, 1e-8)
    assert found.used == 5 and found.p_value == 4 / 6
    np.testing.assert_allclose(found.error, np.sqrt(5 * (4 / 6) * (2 / 6)) / 6)
    assert comparison.tail_of_draws(0.0, np.zeros(4), 0.0).p_value == 1.0
    nothing = comparison.tail_of_draws(1.0, np.full(3, np.nan), 0.0)
    assert nothing.used == 0 and np.isnan(nothing.p_value)


# ----- draws -------------------------------------------------------------------------------------


def test_draws_find_the_t_test() -> None:
    """LR = n log(1 + t^2 / (n - 2)), whose law is the same for all sigma: the bootstrap is exact,
    and its p-value that of t within four Monte-Carlo errors."""
    exact = stats.linregress(one_way()["x"], one_way()["y"]).pvalue
    found = jg.compare(fit("y ~ 1"), fit("y ~ x"), test="bootstrap", num_draws=2000, seed=3)
    row = found.table().iloc[1]
    p = row["p_value"]
    assert abs(p - exact) < 4 * np.sqrt(exact * (1 - exact) / 2000)
    np.testing.assert_allclose(row["mc_error"], np.sqrt(p * (1 - p) / 2000), rtol=1e-3)
    counts = [row[name] for name in ("num_draws", "num_used", "num_failed", "num_worse")]
    assert counts == [2000, 2000, 0, 0]
    n = LEVELS * EACH
    squares = np.expm1(found.statistics[0] / n) * (n - 2)
    assert stats.kstest(squares, stats.f(1, n - 2).cdf).pvalue > 1e-3


def test_draws_find_the_f_test_of_a_variance() -> None:
    """In a balanced design LR > 0 increases with F, while chi-squared is not its law."""
    exact = f_test()[1]
    pair = fit("y ~ 1"), fit("y ~ 1 + (1 | g)")
    found = jg.compare(*pair, test="bootstrap", num_draws=2000, seed=3)
    p = found.table()["p_value"][1]
    assert abs(p - exact) < 4 * np.sqrt(exact * (1 - exact) / 2000)
    zero = np.mean(found.statistics[0] == 0.0)
    # The variance is zero where SSB / k < SSW / (n - k), that is F < k / (k - 1).
    none = stats.f(LEVELS - 1, LEVELS * (EACH - 1)).cdf(LEVELS / (LEVELS - 1))
    assert abs(zero - none) < 4 * np.sqrt(none * (1 - none) / 2000)


def test_a_bootstrap_depends_on_its_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = fit("y ~ 1"), fit("y ~ x")
    whole = jg.compare(*pair, test="bootstrap", num_draws=20, seed=9).statistics
    monkeypatch.setattr("jaxglmm.frontend.draws._AT_ONCE", 7 * LEVELS * EACH)
    parts = jg.compare(*pair, test="bootstrap", num_draws=20, seed=9).statistics
    np.testing.assert_array_equal(whole, parts)


class FakeBatch:
    """The part of a batch that counts."""

    def __init__(self, status: list[int], values: list[float]) -> None:
        self.estimate = type("Estimate", (), {"status": np.array(status)})
        self.log_likelihood = np.array(values)


def test_failures_are_no_evidence() -> None:
    ok, failed = codes.CONVERGED, codes.MAX_ITERATIONS
    small = FakeBatch([ok, failed, ok, ok, codes.SEPARATED, ok], [-9.0, -9, -9, -9, -9, -9])
    large = FakeBatch([ok, ok, failed, ok, ok, ok], [-8.0, -1, -1, -9.5, -8.5, -9.0 - 1e-10])
    values, counts = ratios.of_batches(small, large, 1e-7)  # type: ignore[arg-type]
    np.testing.assert_array_equal(values, [2.0, np.nan, np.nan, np.nan, 1.0, 0.0])
    assert counts == {
        "attempted": 6,
        "used": 3,
        "failed_small": 1,
        "failed_large": 1,
        "worse": 1,
        "separated": 1,
    }


@pytest.mark.slow
def test_draws_reach_both_models_in_their_own_units() -> None:
    cbpp = models.data("cbpp").assign(rest=lambda d: d["size"] - d["incidence"])
    small = jg.glmm("cbind(incidence, rest) ~ 1 + (1 | herd)", cbpp, family="binomial")
    found = jg.compare(small, models.fit("cbpp"), test="bootstrap", num_draws=60, seed=2)
    Y = small.simulate(60, seed=2)
    ratio = 2 * (
        models.fit("cbpp").refit_many(Y).log_likelihood - small.refit_many(Y).log_likelihood
    )
    np.testing.assert_allclose(found.statistics[0], ratio, atol=1e-6)
    # Three degrees of freedom: the mean of 60 draws, within four standard errors.
    assert abs(np.mean(found.statistics) - 3.0) < 4 * np.sqrt(2 * 3 / 60)


# ----- refusals ----------------------------------------------------------------------------------


def refused(message: str, *fits: Any, **arguments: Any) -> None:
    with pytest.raises(jg.InputError, match=message):
        jg.compare(*fits, **arguments)


def test_other_data_are_refused() -> None:
    data, one = one_way(), fit("y ~ 1")
    refused("expected two fits or more", one)
    refused("argument 1 is a int", one, 3)
    refused("48 and 40 rows", one, jg.glmm("y ~ x", data.iloc[:40]))
    refused("other responses", one, jg.glmm("y ~ x", data.assign(y=data["y"] + 1)))
    weighted = jg.glmm("y ~ x", data, weights=np.arange(1.0, 49.0))
    refused("other weights", one, weighted)
    refused("other responses", one, jg.glmm("y ~ x", data.iloc[::-1]), test=None)


def by_reml(fit: jg.GLMM) -> jg.GLMM:
    """As if it had been fitted so."""
    return dataclasses.replace(fit, problem=fit.problem.replace(method="reml"))


def test_other_methods_are_refused() -> None:
    one, x = fit("y ~ 1 + (1 | g)"), fit("y ~ x")
    refused("by the same method", one, by_reml(x))
    refused("different fixed effects .* method='laplace'", by_reml(one), by_reml(x))
    refused("different fixed effects", by_reml(one), by_reml(x), test=None)


@pytest.mark.slow
def test_variances_are_tested_by_reml() -> None:
    without, reml = (
        jg.glmm(formula, one_way(), method="reml") for formula in ("y ~ 1", "y ~ 1 + (1 | g)")
    )
    table = jg.compare(without, reml).table()
    # In a balanced layout with k groups of m: F is the ratio of the two mean squares.
    n, F = LEVELS * EACH, f_test()[0]
    pooled = ((LEVELS - 1) * F + n - LEVELS) / (n - 1)
    ratio = (n - 1) * np.log(pooled) - (LEVELS - 1) * np.log(F)
    np.testing.assert_allclose(table["statistic"][1], ratio, rtol=1e-6)
    assert table["null_law"][1] == "0.5 chi2(0) + 0.5 chi2(1)"


def test_models_that_are_not_nested_are_refused() -> None:
    refused("In the main formula the fixed effects", fit("y ~ x"), fit("y ~ C(g)"))
    refused("the fixed effects", fit("y ~ x"), fit("y ~ C(g)"), nested=True)
    refused("both have 3 parameters", fit("y ~ x"), fit("y ~ 1 + (1 | g)"))
    refused("the law student_t", models_of_another_law(), fit("y ~ x"))


@pytest.mark.slow
def test_what_is_not_seen_may_be_told() -> None:
    data = one_way().assign(pair=lambda d: d["g"] // 2)
    pairs = jg.glmm("y ~ 1 + (1 | pair)", data)
    large = jg.glmm("y ~ x + (1 | g)", data)
    refused("cannot be told from their structure", pairs, large)
    told = jg.compare(pairs, large, nested=True).table()
    assert told["null_law"][1] == "not known" and told["p_value"][1] > 0


def test_what_cannot_be_tested_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = fit("y ~ 1"), fit("y ~ x")
    refused("test='wald' is not known", *pair, test="wald")
    refused("nested=False", *pair, nested=False)
    refused("seed: test='bootstrap' draws", *pair, test="bootstrap")
    refused("num_draws", *pair, test="bootstrap", seed=1, num_draws=0)
    prior = jg.glmm("y ~ x", one_way(), priors={"x": jg.priors.Normal(0, 1)})
    refused("fitted with priors=", pair[0], prior)
    assert len(jg.compare(pair[0], prior, test=None).table()) == 2
    monkeypatch.setattr("jaxglmm.frontend.comparable.AT_SUPREMUM", ())
    refused("ended with the status 'converged'", *pair)


def test_a_larger_model_that_fits_worse_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jaxglmm.frontend.compare.statistic", lambda *_: -0.5)
    refused("It is not at its maximum", fit("y ~ 1"), fit("y ~ x"))
