"""Variances on the boundary and groups of all sizes."""

from __future__ import annotations

import numpy as np
import pytest

from .awkward import COUNTS, FIXED, MIXED, X, beta, checked, table
from .reference import Model


@pytest.mark.parametrize("family", ["poisson", "gaussian", "nbinom2"])
def test_zero_variance(family: str) -> None:
    y = np.tile([0.0, 4.0, 1.0, 9.0], 6)
    fit = checked(MIXED, table(y=y, x=np.tile([0.0, 1, 2, 3], 6)), family)
    assert fit.status == "converged_boundary" and fit.is_singular
    alone = checked(FIXED, table(y=y, x=np.tile([0.0, 1, 2, 3], 6)), family)
    np.testing.assert_allclose(fit.log_likelihood, alone.log_likelihood, rtol=1e-8)
    np.testing.assert_allclose(beta(fit), beta(alone), rtol=1e-4)
    np.testing.assert_allclose(fit.random_effects()["estimate"], 0.0, atol=1e-5)


def test_a_group_per_row_of_counts() -> None:
    fit = checked("y ~ x + (1 | g)", table(g=np.arange(24)), "poisson")
    assert fit.status == "converged"
    assert len(fit.random_effects()) == 24 and fit.data_info.groups == {"g": 24}
    model = Model(
        family="poisson",
        y=COUNTS.astype(float),
        X=np.stack([np.ones(24), X], 1),
        Z=np.ones((24, 1)),
        codes=np.arange(24),
        weight=np.ones(24),
        offset=np.zeros(24),
    )
    sd = fit.covariance_parameters()["estimate"].to_numpy()
    ours = model.log_likelihood(np.concatenate([beta(fit), sd]))
    np.testing.assert_allclose(fit.log_likelihood, ours, rtol=1e-9)


def test_a_gaussian_group_per_row_has_one_variance_too_many() -> None:
    data = table(g=np.arange(24), y=2.0 + X + np.random.default_rng(2).normal(size=24))
    fit, alone = checked(MIXED, data), checked(FIXED, data)
    assert fit.status != "converged"
    np.testing.assert_allclose(fit.log_likelihood, alone.log_likelihood, rtol=1e-7)
    np.testing.assert_allclose(beta(fit), beta(alone), rtol=1e-5)
    # Only the sum of the variances is determined, so neither has an error.
    assert np.isnan(fit.covariance_parameters()["std_error"]).any()
    np.testing.assert_allclose(
        fit.fixed_effects()["std_error"], alone.fixed_effects()["std_error"], rtol=1e-3
    )


def test_two_groups() -> None:
    fit = checked(MIXED, table(g=np.repeat(["left", "right"], 12)), "poisson")
    assert fit.converged and len(fit.random_effects()) == 2


def test_groups_of_one_row_among_large_ones() -> None:
    codes = np.array([0] * 9 + [1] + [2] * 7 + [3] + [4] * 5 + [5])
    fit = checked(MIXED, table(g=codes), "poisson")
    model = Model(
        family="poisson",
        y=COUNTS.astype(float),
        X=np.stack([np.ones(24), X], 1),
        Z=np.ones((24, 1)),
        codes=codes,
        weight=np.ones(24),
        offset=np.zeros(24),
    )
    sd = fit.covariance_parameters()["estimate"].to_numpy()
    assert fit.status == "converged"
    ours = model.log_likelihood(np.concatenate([beta(fit), sd]))
    np.testing.assert_allclose(fit.log_likelihood, ours, rtol=1e-9)
