"""method="reml" and "approximate_laplace" from the formula to the file."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import jaxglmm as jg

SLEEP = "Reaction ~ Days + (1 | Subject)"
CBPP = "incidence / size ~ period + (1 | herd)"
INSIDE = ("reml", "approximate_laplace")


@functools.cache
def sleep(method: str) -> jg.GLMM:
    return jg.glmm(SLEEP, jg.datasets.load("sleepstudy"), method=method)


@functools.cache
def cbpp(method: str) -> jg.GLMM:
    return jg.glmm(CBPP, jg.datasets.load("cbpp"), "binomial", method=method)


def test_the_summary_says_how_it_was_fitted() -> None:
    text = str(sleep("reml").summary())
    assert "Linear mixed model fit by restricted maximum likelihood" in text
    assert "logLik(REML)" in text
    text = str(cbpp("approximate_laplace").summary())
    assert "approximate Laplace" in text and "logLik(REML)" not in text


def test_nothing_to_integrate_is_maximum_likelihood() -> None:
    data = jg.datasets.load("sleepstudy")
    reml, ml = (
        jg.glmm("Reaction ~ 0 + (1 | Subject)", data, method=m) for m in ("reml", "laplace")
    )
    assert reml.log_likelihood == ml.log_likelihood


def test_approximate_laplace_is_that_of_lme4() -> None:
    """glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, binomial, nAGQ = 0,
    control = glmerControl(tolPwrss = 1e-13)), lme4 1.1-31; the default tolPwrss is too loose."""
    fit = cbpp("approximate_laplace")
    np.testing.assert_allclose(fit.log_likelihood, -92.0542954728, atol=1e-8)
    beta = [-1.360471755854, -0.976177470418, -1.111076892803, -1.559680515040]
    np.testing.assert_allclose(fit.fixed_effects()["estimate"], beta, atol=1e-7)
    sd = fit.covariance_parameters()["estimate"]
    np.testing.assert_allclose(sd, [0.641815073199], atol=1e-7)
    se = [0.227574622890, 0.303287348784, 0.323511803061, 0.424455501350]
    np.testing.assert_allclose(fit.fixed_effects(vcov="conditional")["std_error"], se, atol=1e-7)


@pytest.mark.parametrize("method", INSIDE)
def test_where_a_predictor_has_its_origin_changes_no_estimate(method: str) -> None:
    """The fit runs in another basis of the fixed effects; the criterion is the caller's."""
    data = jg.datasets.load("sleepstudy")
    near = jg.glmm(SLEEP, data, method=method)
    far = jg.glmm(SLEEP, data.assign(Days=data["Days"] + 2000), method=method)
    np.testing.assert_allclose(far.log_likelihood, near.log_likelihood, atol=1e-8)
    rows = [fit.fixed_effects().iloc[1, 2:4].astype(float) for fit in (far, near)]
    np.testing.assert_allclose(*rows, rtol=1e-6)
    np.testing.assert_allclose(far.estimate.params.theta, near.estimate.params.theta, rtol=1e-6)
    wide = jg.glmm(SLEEP, data.assign(Days=10 * data["Days"] + 20000), method=method)
    gap = np.log(10.0) if method == "reml" else 0.0
    np.testing.assert_allclose(wide.log_likelihood + gap, near.log_likelihood, atol=1e-8)


def test_errors_of_random_effects_know_of_the_fixed_effects() -> None:
    """Balanced data, so that beta does not depend on the variances: the joint variance of b is the
    conditional one and what beta's adds, b = c Z'(y - X beta) level by level."""
    fit = sleep("reml")
    table, joint = (fit.random_effects(uncertainty=u) for u in ("conditional", "joint"))
    tau, sigma = fit.covariance_parameters()["estimate"]
    days = fit.problem.X[:10]
    share = tau**2 / (tau**2 + sigma**2 / 10)
    np.testing.assert_allclose(table["std_error"] ** 2, tau**2 * (1 - share), rtol=1e-9)
    beta = fit.vcov("conditional").to_numpy()
    of_beta = share**2 * days.mean(axis=0) @ beta @ days.mean(axis=0)
    more = joint["std_error"] ** 2 - table["std_error"] ** 2
    assert np.all(more > of_beta * (1 - 1e-6))
    # What is left is due to the two variances, which move b by its own size.
    square = (more - of_beta) / table["estimate"] ** 2
    c = square[np.argmax(np.abs(table["estimate"]))]
    np.testing.assert_allclose(more, of_beta + c * table["estimate"] ** 2, rtol=1e-6)


@pytest.mark.parametrize("method", INSIDE)
def test_a_saved_fit_is_the_same(tmp_path, method: str) -> None:
    fit = cbpp(method)
    fit.save(tmp_path / "fit.npz")
    again = jg.load(tmp_path / "fit.npz")
    assert again.method == method
    assert str(again.summary()) == str(fit.summary())
    np.testing.assert_array_equal(again.vcov("conditional"), fit.vcov("conditional"))
    np.testing.assert_array_equal(again.predict(), fit.predict())


@pytest.mark.parametrize("method", INSIDE)
def test_a_fit_may_start_at_another(method: str) -> None:
    fit = cbpp(method)
    again = jg.glmm(
        CBPP, jg.datasets.load("cbpp"), "binomial", method=method, start=fit.estimate.params
    )
    np.testing.assert_allclose(again.log_likelihood, fit.log_likelihood, rtol=1e-12)
    assert again.optimizer.iterations <= 2


def test_the_core_knows_the_method() -> None:
    problem, _ = jg.build(SLEEP, jg.datasets.load("sleepstudy"), method="reml")
    fit = sleep("reml")
    assert problem.method == "reml"
    import jax

    with jax.enable_x64(True):
        value = jg.log_likelihood(fit.estimate.params, problem)
    np.testing.assert_allclose(value, fit.log_likelihood, rtol=1e-11)
    with pytest.raises(jg.InputError, match="method"):
        jg.build(SLEEP, jg.datasets.load("sleepstudy"), method="aghq")
