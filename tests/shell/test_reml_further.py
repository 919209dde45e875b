"""REML and approximate Laplace with formulas for the dispersion and for zeros: the fixed effects
of the mean are inside, those of the other formulas are parameters."""

from __future__ import annotations

import functools

import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg

SLEEP = "Reaction ~ Days + (1 | Subject)"


@functools.cache
def sleep() -> pd.DataFrame:
    data = jg.datasets.load("sleepstudy")
    return data.assign(late=(data["Days"] >= 5).astype(float))


@functools.cache
def heteroscedastic(method: str, dispersion: str = "~ late") -> jg.GLMM:
    return jg.glmm(SLEEP, sleep(), dispersion=dispersion, method=method)


def test_reml_with_two_residual_variances_is_that_of_nlme() -> None:
    """lme(Reaction ~ Days, random = ~ 1 | Subject, weights = varIdent(form = ~ 1 | late),
    method = "REML", data = sleepstudy), nlme 3.1-162, converged to 1e-10; errors and criterion
    agree with glmmTMB 1.1.5, glmmTMB(Reaction ~ Days + (1 | Subject), dispformula = ~ late,
    REML = TRUE)."""
    fit = heteroscedastic("reml")
    assert fit.converged
    np.testing.assert_allclose(fit.log_likelihood, -884.37791323159, atol=1e-8)
    fixed = fit.fixed_effects()
    assert list(fixed["component"]) == ["cond", "cond", "disp", "disp"]
    ratio, sigma = 1.9116040753355, 21.33472383359
    expected = [252.036531376, 10.130284288, np.log(sigma), np.log(ratio)]
    np.testing.assert_allclose(fixed["estimate"], expected, rtol=1e-7)
    errors = [8.13528204592, 0.80603281798, 0.17937444864 / 2, 0.27296291585 / 2]
    np.testing.assert_allclose(fixed["std_error"], errors, rtol=1e-5)
    sd = fit.covariance_parameters().iloc[0]
    np.testing.assert_allclose(sd["estimate"], 31.789629539, rtol=1e-6)


def test_where_a_predictor_of_the_dispersion_has_its_origin_changes_nothing() -> None:
    """The fit runs in another basis; coefficients that are not integrated out have no volume."""
    near, far = heteroscedastic("reml"), heteroscedastic("reml", "~ I(10 * late + 2000)")
    np.testing.assert_allclose(far.log_likelihood, near.log_likelihood, atol=1e-8)
    slopes = [fit.fixed_effects()["estimate"].iloc[-1] for fit in (far, near)]
    np.testing.assert_allclose(10 * slopes[0], slopes[1], rtol=1e-6)


@pytest.mark.slow
def test_approximate_laplace_of_a_linear_model_is_maximum_likelihood() -> None:
    one, other = (heteroscedastic(m) for m in ("laplace", "approximate_laplace"))
    np.testing.assert_allclose(other.log_likelihood, one.log_likelihood, rtol=1e-12)
    for column in ("estimate", "std_error"):
        values = [fit.fixed_effects()[column] for fit in (other, one)]
        np.testing.assert_allclose(*values, rtol=1e-5 if column == "estimate" else 1e-2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "arguments", "log_likelihood", "further"),
    [
        ("poisson", {"zero_inflation": "~ mined"}, -895.52739049624, [0.73704317, -1.79373725]),
        (
            "nbinom2",
            {"dispersion": "~ DOY + mined"},
            -827.07050771421,
            [-1.09241056, -0.15549775, 1.14164409],
        ),
    ],
)
def test_reml_is_that_of_glmmtmb(family, arguments, log_likelihood, further) -> None:
    """glmmTMB(count ~ spp + mined + (1 | site), ziformula = ~ mined, family = poisson,
    REML = TRUE), and with dispformula = ~ DOY + mined, family = nbinom2; glmmTMB 1.1.5."""
    data = jg.datasets.load("Salamanders")
    fit = jg.glmm("count ~ spp + mined + (1 | site)", data, family, method="reml", **arguments)
    np.testing.assert_allclose(fit.log_likelihood, log_likelihood, atol=1e-7)
    fixed = fit.fixed_effects()
    estimates = fixed["estimate"][fixed["component"] != "cond"]
    np.testing.assert_allclose(estimates, further, atol=2e-5)


@pytest.mark.slow
def test_a_hurdle_is_two_models() -> None:
    """How much, by REML; and zeros or not, by maximum likelihood."""
    rng = np.random.default_rng(5)
    n, g = 300, np.resize(np.arange(15), 300)
    x = rng.normal(size=n)
    z = rng.gamma(3.0, np.exp(0.5 + 0.3 * x + rng.normal(scale=0.4, size=15)[g]) / 3.0)
    z = np.where(rng.random(n) < 1 / (1 + np.exp(0.5 - 0.6 * x)), 0.0, z)
    data = pd.DataFrame({"x": x, "g": g, "z": z, "zero": (z == 0).astype(int)})
    whole = jg.glmm("z ~ x + (1 | g)", data, "gamma", zero_inflation="~ x", method="reml")
    size = jg.glmm("z ~ x + (1 | g)", data, "gamma", subset=z > 0, method="reml")
    zero = jg.glmm("zero ~ x", data, "binomial")
    total = size.log_likelihood + zero.log_likelihood
    np.testing.assert_allclose(whole.log_likelihood, total, rtol=1e-12)
    table = whole.fixed_effects().set_index("component")
    for component, part in (("cond", size), ("zi", zero)):
        for column in ("estimate", "std_error"):
            expected = part.fixed_effects()[column]
            np.testing.assert_allclose(table.loc[component, column], expected, rtol=1e-5)
