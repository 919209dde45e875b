"""Residuals and hat values against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

import jaxglmm as jg

from . import models


@pytest.mark.parametrize("conditional", [True, False])
def test_binomial_residuals(conditional: bool) -> None:
    fit, data = models.fit("cbpp"), models.data("cbpp")
    n, y = data["size"].to_numpy(float), data["incidence"].to_numpy(float)
    mu = fit.fitted("conditional" if conditional else "population")
    raw = y / n - mu
    np.testing.assert_allclose(fit.residuals("raw", conditional), raw, atol=1e-12)
    pearson = raw / np.sqrt(mu * (1 - mu) / n)
    np.testing.assert_allclose(fit.residuals("pearson", conditional), pearson, rtol=1e-10)
    unit = 2 * (special.xlogy(y, y / n / mu) + special.xlogy(n - y, (n - y) / n / (1 - mu)))
    deviance = np.sign(raw) * np.sqrt(unit)
    np.testing.assert_allclose(fit.residuals("deviance", conditional), deviance, atol=1e-7)


def test_quantile_residuals_lie_between_the_tails() -> None:
    fit, data = models.fit("cbpp"), models.data("cbpp")
    law = stats.binom(data["size"], fit.fitted())
    found = stats.norm.cdf(fit.residuals("quantile", seed=3))
    assert np.all(found >= law.cdf(data["incidence"] - 1) - 1e-12)
    assert np.all(found <= law.cdf(data["incidence"]) + 1e-12)
    again = fit.residuals("quantile", seed=3)
    np.testing.assert_array_equal(again, fit.residuals("quantile", seed=3))
    assert not np.array_equal(again, fit.residuals("quantile", seed=4))


def test_quantile_residuals_of_the_normal_law_are_standardised() -> None:
    """By the residual deviation, and by that of the marginal law."""
    fit, data = models.fit("sleep"), models.data("sleep")
    np.testing.assert_allclose(
        fit.residuals("quantile"), fit.residuals("pearson"), rtol=1e-9, atol=1e-9
    )
    table = fit.covariance_parameters()["estimate"]
    days = data["Days"].to_numpy(float)
    cross = 2 * table[0] * table[1] * table[2] * days
    sd = np.sqrt(table[0] ** 2 + cross + (table[1] * days) ** 2 + table[3] ** 2)
    exact = fit.residuals("raw", conditional=False) / sd
    np.testing.assert_allclose(fit.residuals("quantile", conditional=False), exact, atol=1e-6)


def test_hat_values_of_a_penalised_fit() -> None:
    """[Z X] (.)^-1 [Z X]' / sigma^2 with the inverse covariance of the random effects in (.)."""
    fit, data = models.fit("sleep"), models.data("sleep")
    days = data["Days"].to_numpy(float)
    codes = np.unique(data["Subject"], return_inverse=True)[1]
    X = np.column_stack([np.ones(180), days])
    Z = np.zeros((180, 36))
    for column in range(2):
        Z[np.arange(180), 2 * codes + column] = X[:, column]
    a, b, r, sigma = fit.covariance_parameters()["estimate"]
    G = np.kron(np.eye(18), np.linalg.inv([[a * a, a * b * r], [a * b * r, b * b]]))
    C = np.hstack([Z, X]) / sigma
    M = C.T @ C
    M[:36, :36] += G
    exact = np.einsum("ij,jk,ik->i", C, np.linalg.inv(M), C)
    np.testing.assert_allclose(fit.hat_values(), exact, rtol=1e-5)


@pytest.mark.slow
def test_hat_values_are_derivatives_of_the_fit() -> None:
    """Of a model without random effects by refits to another response."""
    fit = models.fit("glm_gamma")
    y, step = np.asarray(fit.problem.y), 1e-3
    place = 17
    up, down = y.copy(), y.copy()
    up[place] += step
    down[place] -= step
    moved = [fit.refit(v).fitted()[place] for v in (up, down)]
    # phi is held in a hat value; in a gamma model the means do not depend on it.
    np.testing.assert_allclose(
        fit.hat_values()[place], (moved[0] - moved[1]) / (2 * step), rtol=1e-5
    )


def test_categories_have_no_raw_residuals() -> None:
    rng = np.random.default_rng(5)
    x = rng.normal(size=60)
    y = np.digitize(x + rng.logistic(size=60), [-1, 1])
    fit = jg.glmm("y ~ x", {"y": y, "x": x}, "cumulative")
    with pytest.raises(jg.InputError, match="deviance"):
        fit.residuals("pearson")
    with pytest.raises(jg.InputError, match="category"):
        fit.hat_values()
    assert np.isfinite(fit.residuals("quantile")).all()
    with pytest.raises(jg.InputError, match="type='response'.*'raw'"):
        fit.residuals("response")  # type: ignore[arg-type]
