"""Measures of performance and their Monte-Carlo errors against brute force."""

from __future__ import annotations

import numpy as np
import pytest

from jaxglmm.inference import performance
from jaxglmm.inference.performance import Replicates

TRUTH, SPREAD = np.array([0.4]), 0.5
Z = 1.959963984540054


def replicates(rng: np.random.Generator, number: int) -> Replicates:
    """Estimates with a bias, and standard errors that vary."""
    estimate = 0.1 + TRUTH + SPREAD * rng.standard_normal((number, 1))
    std_error = SPREAD * np.sqrt(rng.chisquare(10, (number, 1)) / 10)
    low, high = estimate - Z * std_error, estimate + Z * std_error
    p_value = np.where((low > 0) | (high < 0), 0.01, 0.5)
    return Replicates(estimate, std_error, low, high, p_value, np.ones(number, bool))


def figures(found: Replicates) -> dict[str, float]:
    rates = {
        "coverage": performance.coverage(found, TRUTH),
        "rejection": performance.rejection(found, 0.05, np.array([True])),
    }
    values = {name: part[0] for name, part in performance.averages(found, TRUTH).items()}
    for name, rate in rates.items():
        values |= {name: rate.value[0], f"{name}_mcse": rate.mcse[0]}
    return values


def test_measures_by_their_definitions() -> None:
    found = replicates(np.random.default_rng(0), 50)
    e, s = found.estimate[:, 0].tolist(), found.std_error[:, 0].tolist()
    mean = sum(e) / 50
    own = figures(found)
    assert own["mean"] == pytest.approx(mean, rel=1e-13)
    assert own["bias"] == pytest.approx(mean - 0.4, rel=1e-12)
    assert own["sd"] == pytest.approx((sum((v - mean) ** 2 for v in e) / 49) ** 0.5, rel=1e-12)
    assert own["rmse"] == pytest.approx((sum((v - 0.4) ** 2 for v in e) / 50) ** 0.5, rel=1e-12)
    assert own["std_error"] == pytest.approx((sum(v * v for v in s) / 50) ** 0.5, rel=1e-12)
    within = [abs(v - 0.4) <= Z * w for v, w in zip(e, s, strict=True)]
    assert own["coverage"] == sum(within) / 50


def test_monte_carlo_errors_are_the_spread_over_many_studies() -> None:
    """Of 2,000 studies with 400 replicates each: the standard deviation of a measure is known to
    1 / sqrt(2 * 2,000) = 1.6 %, and the first-order formulas are right to some 1 / 400."""
    rng = np.random.default_rng(1)
    many = [figures(replicates(rng, 400)) for _ in range(2000)]
    names = [name for name in many[0] if f"{name}_mcse" in many[0]]
    assert set(names) == {"bias", "sd", "std_error", "rmse", "coverage", "rejection"}
    for name in names:
        spread = np.std([own[name] for own in many], ddof=1)
        claimed = np.sqrt(np.mean([own[f"{name}_mcse"] ** 2 for own in many]))
        assert claimed == pytest.approx(spread, rel=0.07), name


def test_fits_that_failed_are_in_the_bounds_only() -> None:
    full = replicates(np.random.default_rng(2), 40)
    usable = np.arange(40) >= 10
    some = Replicates(*(part[10:] for part in full))
    found = full._replace(usable=usable)
    for name, value in figures(some).items():
        assert figures(found)[name] == pytest.approx(value, rel=1e-13), name
    rate = performance.rejection(found, 0.05, np.array([True]))
    hits = float(np.sum(full.p_value[10:] <= 0.05))
    assert (rate.low[0], rate.high[0]) == (hits / 40, (hits + 10) / 40)
    covered = performance.coverage(found, TRUTH)
    assert covered.high[0] - covered.low[0] == pytest.approx(0.25)


def test_a_fit_without_an_interval_is_neither_covered_nor_not() -> None:
    found = replicates(np.random.default_rng(3), 20)
    found.conf_low[:5] = np.nan
    rate = performance.coverage(found, TRUTH)
    assert rate.high[0] - rate.low[0] == pytest.approx(0.25)
    assert performance.intervals(found).sum() == 15


def test_nothing_is_claimed_of_nothing() -> None:
    found = replicates(np.random.default_rng(4), 6)._replace(usable=np.zeros(6, bool))
    own = figures(found)
    assert all(np.isnan(value) for value in own.values())
    rate = performance.rejection(found, 0.05, np.array([True]))
    assert (rate.low[0], rate.high[0]) == (0.0, 1.0)
    assert np.isnan(performance.rejection(found, 0.05, np.array([False])).high[0])
    assert np.isnan(performance.coverage(found, np.array([np.nan])).low[0])


def test_one_replicate_has_no_spread() -> None:
    own = figures(replicates(np.random.default_rng(5), 1))
    assert np.isfinite([own["mean"], own["bias"], own["rmse"]]).all()
    assert np.isnan([own["sd"], own["bias_mcse"], own["rmse_mcse"]]).all()
