"""Proportions with zeros and ones of their own: a product of a beta and two binomial models."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import special

import jaxglmm as jg


@functools.cache
def table() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    d = pd.DataFrame({"x": rng.normal(size=200), "g": np.resize(np.arange(10), 200)})
    mu = special.expit(0.3 + 0.5 * d["x"] + 0.4 * rng.normal(size=10)[d["g"]])
    d["inside"] = rng.beta(5 * mu, 5 * (1 - mu))
    d["end"] = rng.random(200) < special.expit(-1.0 + 0.6 * d["x"])
    d["one"] = rng.random(200) < 0.3
    d["y"] = np.where(d["end"], d["one"], d["inside"])
    d["no_ones"] = np.where(d["end"], 0.0, d["inside"])
    return d


@functools.cache
def fit(response: str = "y", formula: str | None = "~ x") -> jg.GLMM:
    return jg.glmm(f"{response} ~ x", table(), "zero_one_beta", zero_inflation=formula)


def share(values: pd.Series) -> float:
    """The log-likelihood of independent draws at their own share."""
    p = values.mean()
    return float(len(values) * (special.xlogy(p, p) + special.xlog1py(1 - p, -p)))


def check_factors(whole: jg.GLMM, formula: str) -> None:
    """A beta model of the responses inside, a binomial one of the ends, a share of ones."""
    d = table()
    beta = jg.glmm(formula, d[~d["end"]], "beta")
    ends = jg.glmm("end ~ x", d, "binomial")
    parts = beta.log_likelihood + ends.log_likelihood + share(d.loc[d["end"], "one"])
    np.testing.assert_allclose(whole.log_likelihood, parts, rtol=0, atol=1e-8)
    fixed, columns = whole.fixed_effects(), ["estimate", "std_error"]
    for component, part in (("cond", beta), ("zi", ends)):
        ours = fixed.loc[fixed["component"] == component, columns]
        np.testing.assert_allclose(ours, part.fixed_effects()[columns], rtol=1e-5)
    assert list(whole.family_parameters) == ["phi", "coi"]
    np.testing.assert_allclose(
        list(whole.family_parameters.values()),
        [beta.family_parameters["phi"], d.loc[d["end"], "one"].mean()],
        rtol=1e-6,
    )


def test_a_product_of_models() -> None:
    assert fit().status == "converged"
    check_factors(fit(), "inside ~ x")


@pytest.mark.slow
def test_a_product_of_models_with_random_effects() -> None:
    formula = "y ~ x + (1 | g)"
    whole = jg.glmm(formula, table(), "zero_one_beta", zero_inflation="~ x")
    check_factors(whole, formula.replace("y", "inside", 1))


def test_without_a_formula_their_probability_is_a_parameter() -> None:
    one = fit(formula=None)
    d = table()
    shares = [d["end"].mean(), d.loc[d["end"], "one"].mean()]
    np.testing.assert_allclose(
        list(one.family_parameters.values())[1:], shares, rtol=1e-6, atol=1e-9
    )
    inner = fit().log_likelihood - jg.glmm("end ~ x", d, "binomial").log_likelihood
    np.testing.assert_allclose(one.log_likelihood, inner + share(d["end"]), atol=1e-8)
    rows = one.covariance_parameters().set_index("name1")
    error = np.sqrt(shares[0] * (1 - shares[0]) / len(d))
    np.testing.assert_allclose(rows.loc["zoi", "std_error"], error, rtol=1e-6)
    assert "zoi = P(0 or 1)" in str(one.summary())


def test_the_mean_of_all_responses(tmp_path: Path) -> None:
    fixed = fit().fixed_effects()["estimate"].to_numpy()
    x = np.array([-1.0, 0.5])
    zoi, mu = special.expit(fixed[2] + fixed[3] * x), special.expit(fixed[0] + fixed[1] * x)
    mean = zoi * fit().family_parameters["coi"] + (1 - zoi) * mu
    np.testing.assert_allclose(fit().predict({"x": x}), mean, rtol=1e-10)
    fit().save(tmp_path / "fit")
    np.testing.assert_array_equal(jg.load(tmp_path / "fit").fitted(), fit().fitted())


def test_without_ones_a_parameter_is_at_its_limit() -> None:
    one = fit("no_ones")
    assert one.status == "converged_boundary"
    assert "'zero_one_beta' is at its limit: " in one.status_message
    assert "'beta' with zero_inflation='~ 1'" in one.status_message


@pytest.mark.slow
def test_the_limit_is_the_beta_law_with_zeros() -> None:
    one = fit("no_ones")
    plain = jg.glmm("no_ones ~ x", table(), "beta", zero_inflation="~ x")
    np.testing.assert_allclose(one.log_likelihood, plain.log_likelihood, atol=1e-5)
    np.testing.assert_allclose(
        one.fixed_effects()["estimate"], plain.fixed_effects()["estimate"], atol=1e-6
    )


@pytest.mark.parametrize(
    ("response", "status"), [("inside", "converged_boundary"), ("one", "rank_deficient")]
)
def test_neither_ends_nor_anything_between(response: str, status: str) -> None:
    one = fit(response, None)
    assert one.status == status
    if status == "converged_boundary":
        assert "'beta' alone" in one.status_message
    with_formula = fit(response)
    assert with_formula.status == "separated" and not with_formula.converged
