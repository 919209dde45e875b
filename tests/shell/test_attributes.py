"""The numbers of a fit against NumPy and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import jaxglmm as jg

from . import models
from .reference import gradient, maximum

EVERY = tuple(models.CALLS)


@pytest.mark.parametrize("name", EVERY)
def test_log_likelihood_at_the_estimate(name: str) -> None:
    fit = models.fit(name)
    ours = models.reference(name).log_likelihood(models.natural(fit))
    np.testing.assert_allclose(fit.log_likelihood, ours, rtol=1e-10)


@pytest.mark.parametrize("name", models.MIXED)
def test_the_gradient_there_is_zero(name: str) -> None:
    fit, model = models.fit(name), models.reference(name)
    se = models.natural_errors(fit)
    slope = gradient(model.log_likelihood, models.natural(fit), 1e-2 * se)
    np.testing.assert_allclose(slope * se, 0.0, atol=1e-5)


# Far starts: intercept at the mean, everything else at a guess.
STARTS = {
    "cbpp": [-1, 0, 0, 0, 0.3],
    "sleep": [250, 5, 20, 3, 0.3, 40],
    "sleep_diag": [250, 5, 20, 3, 40],
    "epil": [1, 0.5, 0, 0, 0.3, 2],
    "gasoline": [-4, 0.005, 0.3, 100],
    "gamma": [5.5, 0.0, 0.2, 0.05],
}


@pytest.mark.parametrize("name", models.MIXED)
def test_scipy_finds_the_same_maximum(name: str) -> None:
    fit = models.fit(name)
    se = models.natural_errors(fit)
    x, value = maximum(models.reference(name), np.array(STARTS[name], float), se)
    np.testing.assert_allclose(fit.log_likelihood, value, rtol=0, atol=1e-6)
    np.testing.assert_allclose((models.natural(fit) - x) / se, 0.0, atol=2e-3)


@pytest.mark.parametrize("name", EVERY)
def test_what_follows_from_the_log_likelihood(name: str) -> None:
    fit, model = models.fit(name), models.reference(name)
    n, p = model.X.shape
    k = len(models.natural(fit))
    assert k == p + model.q + model.num_family + (name == "sleep")
    assert (fit.num_obs, fit.num_params, fit.df_residual) == (n, k, n - p)
    assert fit.deviance == -2 * fit.log_likelihood
    np.testing.assert_allclose(fit.aic, -2 * fit.log_likelihood + 2 * k, rtol=1e-14)
    np.testing.assert_allclose(fit.bic, -2 * fit.log_likelihood + k * np.log(n), rtol=1e-14)


FAMILY_NAMES = {"gaussian": "sigma", "gamma": "phi", "nbinom2": "size", "beta": "phi"}


@pytest.mark.parametrize("name", EVERY)
def test_family_parameters(name: str) -> None:
    fit, family = models.fit(name), models.reference(name).family
    if family not in FAMILY_NAMES:
        assert fit.family_parameters == {}
        return
    value = fit.covariance_parameters()["estimate"].iloc[-1]
    assert fit.family_parameters == {FAMILY_NAMES[family]: value}
    assert isinstance(fit.family_parameters[FAMILY_NAMES[family]], float)


@pytest.mark.parametrize("name", EVERY)
def test_how_it_was_fitted(name: str) -> None:
    fit = models.fit(name)
    formula, _, arguments = models.CALLS[name]
    links = {"binomial": "logit", "beta": "logit", "gaussian": "identity"}
    family = arguments.get("family", "gaussian")
    assert fit.formula == formula
    assert (fit.family.name, fit.link.name) == (family, links.get(family, "log"))
    assert fit.method == "laplace"
    assert (fit.status, fit.converged, fit.is_singular) == ("converged", True, False)
    assert fit.status_message.startswith("Converged")
    assert fit.status in repr(fit) and fit.formula in repr(fit)


@pytest.mark.parametrize("name", EVERY)
def test_optimizer(name: str) -> None:
    o = models.fit(name).optimizer
    assert 0 <= o.iterations < 50 and o.evaluations >= 0
    assert 0 <= o.scaled_gradient < 1e-3
    assert 0 < o.smallest_eigenvalue <= 1
    assert o.compile_seconds >= 0 and o.run_seconds > 0


def test_types_are_python_s() -> None:
    fit = models.fit("cbpp")
    for name in ("log_likelihood", "deviance", "aic", "bic"):
        assert type(getattr(fit, name)) is float
    for name in ("num_obs", "num_params", "df_residual"):
        assert type(getattr(fit, name)) is int
    for name in ("converged", "is_singular"):
        assert type(getattr(fit, name)) is bool


def test_data_info() -> None:
    frame = models.data("cbpp").copy()
    frame["keep"] = frame["herd"] != "1"
    frame.loc[10, "period"] = None
    # Three rows of herd 1 and above row 10: the subset goes first, then the missing row.
    fit = jg.glmm(
        models.CALLS["cbpp"][0], frame, "binomial", subset="keep", contrasts={"period": "sum"}
    )
    about = fit.data_info
    outside = int((~frame["keep"]).sum())
    assert about.response == "incidence / size"
    assert (about.num_rows, about.num_dropped_subset) == (56, outside)
    assert about.num_dropped_missing == 1
    assert about.num_used == 55 - outside == fit.num_obs
    assert about.groups == {"herd": 14}
    assert about.levels == {"period": ["1", "2", "3", "4"]}
    assert about.contrasts == {"period": "sum"}
    assert about.dropped_columns == ()


def test_gaussian_without_random_effects_is_least_squares() -> None:
    fit, model = models.fit("lm"), models.reference("lm")
    beta, rss, *_ = np.linalg.lstsq(model.X, model.y)
    n, sigma2 = len(model.y), rss[0] / len(model.y)
    np.testing.assert_allclose(fit.fixed_effects()["estimate"], beta, rtol=1e-9)
    np.testing.assert_allclose(fit.family_parameters["sigma"], np.sqrt(sigma2), rtol=1e-7)
    np.testing.assert_allclose(
        fit.log_likelihood, -0.5 * n * (np.log(2 * np.pi * sigma2) + 1), rtol=1e-12
    )
    np.testing.assert_allclose(fit.vcov(), sigma2 * np.linalg.inv(model.X.T @ model.X), rtol=1e-6)
    np.testing.assert_allclose(
        fit.covariance_parameters()["std_error"], np.sqrt(sigma2 / (2 * n)), rtol=1e-6
    )


def irls(model, mean, weight) -> tuple[np.ndarray, np.ndarray]:
    """Fisher scoring for a canonical or log link: coefficients and X'WX."""
    beta = np.zeros(model.X.shape[1])
    beta[0] = {"binomial": -0.5, "poisson": 2.0, "gamma": 5.5}[model.family]
    for _ in range(50):
        eta = model.X @ beta
        mu, W = mean(eta), weight(eta)
        slope = W if model.family == "binomial" else mu
        z = eta + (model.y - mu * (model.weight if model.family == "binomial" else 1)) / slope
        beta = np.linalg.solve(model.X.T @ (W[:, None] * model.X), model.X.T @ (W * z))
    return beta, model.X.T @ (W[:, None] * model.X)


def test_binomial_without_random_effects_is_irls() -> None:
    fit, model = models.fit("glm_binomial"), models.reference("glm_binomial")

    def weight(eta: np.ndarray) -> np.ndarray:
        mu = 1 / (1 + np.exp(-eta))
        return model.weight * mu * (1 - mu)

    beta, information = irls(model, lambda eta: 1 / (1 + np.exp(-eta)), weight)
    np.testing.assert_allclose(fit.fixed_effects()["estimate"], beta, rtol=1e-7)
    np.testing.assert_allclose(fit.vcov(), np.linalg.inv(information), rtol=2e-5)
    mu = 1 / (1 + np.exp(-model.X @ beta))
    value = stats.binom(model.weight.astype(int), mu).logpmf(model.y).sum()
    np.testing.assert_allclose(fit.log_likelihood, value, rtol=1e-10)


def test_poisson_without_random_effects_is_irls() -> None:
    fit, model = models.fit("glm_poisson"), models.reference("glm_poisson")
    beta, information = irls(model, np.exp, np.exp)
    np.testing.assert_allclose(fit.fixed_effects()["estimate"], beta, rtol=1e-6)
    np.testing.assert_allclose(fit.vcov(), np.linalg.inv(information), rtol=2e-5)
    value = stats.poisson(np.exp(model.X @ beta)).logpmf(model.y).sum()
    np.testing.assert_allclose(fit.log_likelihood, value, rtol=1e-10)


def test_gamma_without_random_effects_is_irls() -> None:
    fit, model = models.fit("glm_gamma"), models.reference("glm_gamma")
    beta, _ = irls(model, np.exp, np.ones_like)
    np.testing.assert_allclose(fit.fixed_effects()["estimate"], beta, rtol=1e-7)
    phi = fit.family_parameters["phi"]
    mu = np.exp(model.X @ beta)

    def value(phi: float) -> float:
        return stats.gamma(1 / phi, scale=mu * phi).logpdf(model.y).sum()

    np.testing.assert_allclose(fit.log_likelihood, value(phi), rtol=1e-10)
    assert value(phi) > max(value(phi * 1.001), value(phi * 0.999))


def test_a_power_may_be_any_number() -> None:
    one, two = np.int64(1), np.float64(1.0)
    for power in (1, one, two):
        problem, _ = jg.build("Reaction ~ Days", models.data("lm"), link=power)
        assert problem.family.link.name == "identity"
