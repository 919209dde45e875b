"""Responses without a finite maximum, or without variation: the status says so."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg

from .awkward import FIXED, MIXED, X, checked, table


@pytest.mark.parametrize("formula", [FIXED, MIXED])
def test_complete_separation(formula: str) -> None:
    fit = checked(formula, table(y=(X > 0.0).astype(float)), "binomial")
    assert fit.status == "separated" and not fit.converged
    assert -1e-4 < fit.log_likelihood <= 0.0


@pytest.mark.parametrize("formula", [FIXED, MIXED])
def test_complete_separation_of_categories(formula: str) -> None:
    fit = checked(formula, table(y=np.searchsorted([-0.5, 0.5], X)), "cumulative")
    assert fit.status == "separated" and not fit.converged


@pytest.mark.parametrize("formula", ["y ~ f", "y ~ f + (1 | g)"])
def test_a_level_without_successes(formula: str) -> None:
    y, f = (np.arange(24) % 3 == 0).astype(float), np.tile(["a", "b"], 12)
    y[f == "b"] = 0.0
    fit = checked(formula, table(y=y, f=f), "binomial")
    assert fit.status == "separated" and not fit.converged


@pytest.mark.parametrize("formula", [FIXED, MIXED])
@pytest.mark.parametrize("family", ["poisson", "nbinom1", "nbinom2", "genpois"])
def test_all_zero_counts(family: str, formula: str) -> None:
    fit = checked(formula, table(y=np.zeros(24)), family)
    assert fit.status == "separated" and not fit.converged
    assert -1e-4 < fit.log_likelihood <= 0.0


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_failures_or_all_successes(share: float) -> None:
    fit = checked(MIXED, table(y=np.full(24, share)), "binomial")
    assert fit.status == "separated" and not fit.converged


# A density without bound, or a variance of zero.
CONSTANT = {
    "gaussian": (3.0, {"nonfinite"}),
    "gamma": (3.0, {"nonfinite"}),
    "inverse_gaussian": (3.0, {"nonfinite"}),
    "beta": (0.3, {"nonfinite"}),
    "lognormal": (3.0, {"nonfinite"}),
    "student_t": (3.0, {"nonfinite"}),
    "skew_normal": (3.0, {"nonfinite"}),
    "genpois": (3.0, {"nonfinite"}),
    "poisson": (3.0, {"converged_boundary"}),
    "nbinom1": (3.0, {"converged_boundary"}),
    "nbinom2": (3.0, {"converged_boundary"}),
    "truncated_poisson": (3.0, {"converged_boundary"}),
    "truncated_nbinom1": (3.0, {"converged_boundary"}),
    "truncated_nbinom2": (3.0, {"converged_boundary"}),
    "ordered_beta": (0.3, {"nonfinite"}),
    "zero_one_beta": (0.3, {"nonfinite"}),
    "tweedie": (3.0, {"nonfinite"}),
    # With random effects the Laplace surface has ridges as narrow as the law becomes.
    "compois": (3.0, {"converged_boundary", "nonfinite"}),
}


def test_every_family_is_tried_with_a_constant_response() -> None:
    untried = {"binomial", "betabinomial", "cumulative"}
    assert set(CONSTANT) | untried == set(jg.families.REGISTRY)


# These take long to compile.
DEAR = (
    "ordered_beta",
    "zero_one_beta",
    "compois",
    "truncated_nbinom1",
    "truncated_nbinom2",
    "skew_normal",
    "tweedie",
)


@pytest.mark.parametrize("formula", [FIXED, MIXED])
@pytest.mark.parametrize(
    "family", [pytest.param(f, marks=pytest.mark.slow) if f in DEAR else f for f in CONSTANT]
)
def test_constant_response(family: str, formula: str) -> None:
    value, expected = CONSTANT[family]
    fit = checked(formula, table(y=np.full(24, value)), family)
    if family in ("poisson", "truncated_poisson") and formula == FIXED:
        expected = {"converged"}
    assert fit.status in expected
    if fit.converged:
        np.testing.assert_allclose(fit.fitted(), value, rtol=1e-5)


def test_constant_share_of_trials() -> None:
    fit = checked("y / n ~ x + (1 | g)", table(y=np.full(24, 2), n=np.full(24, 4)), "binomial")
    assert fit.status == "converged_boundary" and fit.is_singular
    np.testing.assert_allclose(fit.fitted(), 0.5, rtol=1e-5)


def test_a_perfect_fit() -> None:
    fit = checked(FIXED, table(y=1.0 + 2.0 * X))
    assert fit.status == "nonfinite" and not fit.converged


def test_as_many_columns_as_rows() -> None:
    data = {"y": [1.0, 3.0, 2.0], "f": ["a", "b", "c"]}
    assert checked("y ~ f", data).status == "nonfinite"
    counts = checked("y ~ f", data, "poisson")
    assert counts.converged
    np.testing.assert_allclose(counts.fitted(), data["y"], rtol=1e-6)


def test_a_parameter_without_a_maximum_is_named() -> None:
    counts = np.resize([2.0, 3.0, 3.0, 4.0], 24)
    fit = checked(FIXED, table(y=counts), "nbinom2")
    assert fit.status == "converged_boundary"
    assert "size is infinite: 'poisson' fits as well" in fit.status_message
    nothing = checked(FIXED, table(y=np.zeros(24)), "nbinom2")
    assert "Every response 'y' is zero." in nothing.status_message


@pytest.mark.slow
def test_single_trials_say_nothing_of_their_correlation() -> None:
    bits = table(y=np.random.default_rng(3).integers(0, 2, 24))
    fit = checked(FIXED, bits, "betabinomial")
    assert fit.status == "rank_deficient"
    assert "nothing of phi: 'binomial' is the same model" in fit.status_message
    plain = jg.glmm(FIXED, bits, "binomial")
    np.testing.assert_allclose(fit.log_likelihood, plain.log_likelihood, rtol=1e-9)


@pytest.mark.parametrize(("family", "seed"), [("binomial", 2), ("cumulative", 5)])
def test_one_response_a_level_tells_nothing_of_a_variance(family: str, seed: int) -> None:
    """Alone and in a batch; a missing response of each pair leaves one."""
    rng = np.random.default_rng(seed)
    x, b = rng.normal(size=60), 2.0 * rng.normal(size=30)
    eta = x - 1.0 + np.repeat(b, 2)
    y = (rng.random(60) < 1 / (1 + np.exp(-eta))).astype(float)
    row = np.arange(60)
    data = pd.DataFrame({"x": x, "y": y, "pair": row // 2, "row": row})
    if family == "cumulative":
        data["y"] = data["y"] + (rng.random(60) < 0.3)
    alone = jg.glmm("y ~ x + (1 | row)", data, family)
    assert alone.status == "rank_deficient" and alone.converged
    assert "Each level of 'row' has one response" in alone.status_message
    both = data["y"].to_numpy(float)
    first = np.where(row % 2 == 0, both, np.nan)
    batch = jg.fit_many("y ~ x + (1 | pair)", data, np.stack([both, first]), family=family)
    assert batch.status[1] == "rank_deficient" != batch.status[0]
