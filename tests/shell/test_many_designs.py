"""Batches of designs that ask for care: each model beside a fit of its own."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg

from .test_many import assert_like_single


def table(seed: int = 8) -> pd.DataFrame:
    """Two crossed factors and a predictor."""
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": rng.normal(size=60),
            "g": np.repeat(np.arange(10), 6),
            "h": np.tile(np.arange(6), 10),
            "n": rng.integers(2, 9, 60),
        }
    )


def test_missing_responses_of_rows_with_predictors_out_of_all_bounds() -> None:
    """exp(x) is infinite there: nothing times infinity must stay out."""
    data, rng = table(), np.random.default_rng(1)
    mean = np.exp(0.5 + 0.3 * data["x"].to_numpy() + rng.normal(size=10)[data["g"]])
    data.loc[[3, 40], "x"] = 1e5, -1e5
    Y = rng.poisson(mean, size=(3, 60)).astype(float)
    Y[:, [3, 40]] = np.nan
    batch = jg.fit_many("~ x + (1 | g)", data, Y, "poisson")
    for k in range(3):
        single = jg.glmm("y ~ x + (1 | g)", data.assign(y=Y[k]), "poisson")
        assert_like_single(batch, k, single)


def test_weights_of_each_model_are_its_trials() -> None:
    data, rng = table(), np.random.default_rng(2)
    trials = rng.integers(1, 12, size=(2, 60)).astype(float)
    trials[1, 5] = 0.0
    successes = rng.binomial(trials.astype(int), 0.4)
    Y = successes / np.maximum(trials, 1)
    batch = jg.fit_many("~ x + (1 | g)", data, Y, "binomial", weights=trials)
    for k in range(2):
        own = data.assign(y=successes[k], t=trials[k])
        fit = jg.glmm("y / t ~ x + (1 | g)", own[own["t"] > 0], "binomial")
        assert_like_single(batch, k, fit)


@pytest.mark.parametrize("family", ["gaussian", pytest.param("poisson", marks=pytest.mark.slow)])
def test_crossed_designs(family: str) -> None:
    data, rng = table(), np.random.default_rng(3)
    eta = (
        0.4 * data["x"].to_numpy() + rng.normal(size=10)[data["g"]] + rng.normal(size=6)[data["h"]]
    )
    Y = (
        eta + rng.normal(size=(3, 60))
        if family == "gaussian"
        else rng.poisson(np.exp(eta), (3, 60))
    )
    Y = Y.astype(float)
    Y[1, 7] = np.nan
    batch = jg.fit_many("~ x + (1 | g) + (1 | h)", data, Y, family)
    for k in (0, 1):
        own = data.assign(y=Y[k])
        assert_like_single(batch, k, jg.glmm("y ~ x + (1 | g) + (1 | h)", own, family))


def test_columns_that_depend_on_others() -> None:
    data, rng = table().assign(z=lambda d: 2.0 * d["x"] - 1.0), np.random.default_rng(4)
    Y = data["x"].to_numpy() + rng.normal(size=(2, 10))[:, data["g"]] + rng.normal(size=(2, 60))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batch = jg.fit_many("~ x + z + (1 | g)", data, Y)
        fit = jg.glmm("y ~ x + z + (1 | g)", data.assign(y=Y[1]))
    assert fit.status == "rank_deficient"
    assert_like_single(batch, 1, fit)


def test_what_missing_responses_leave_without_rank() -> None:
    """In the second model no row of a category is left: its coefficient is unknown."""
    data, rng = table(), np.random.default_rng(5)
    data["c"] = np.where(data["h"] == 5, "b", "a")
    Y = rng.poisson(2.0, size=(2, 60)).astype(float)
    Y[1, data["c"] == "b"] = np.nan
    batch = jg.fit_many("~ c + x + (1 | g)", data, Y, "poisson")
    assert batch.status[1] == "rank_deficient"
    errors = batch.fixed_effects()["std_error"].to_numpy().reshape(2, 3)
    np.testing.assert_array_equal(np.isnan(errors), [[False] * 3, [False, True, False]])
    kept = data.assign(y=Y[1])
    fit = jg.glmm("y ~ x + (1 | g)", kept, "poisson")
    np.testing.assert_allclose(batch.log_likelihood[1], fit.log_likelihood, rtol=1e-9)
