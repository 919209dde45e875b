"""Quadrature, pseudo-likelihood and the check of Laplace's approximation, as users meet them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import jaxglmm as jg

FORMULA = "incidence / size ~ period + (1 | herd)"
BINARY = "yy ~ trt + week2 + (1 | ID)"


@functools.cache
def cbpp() -> Any:
    return jg.datasets.load("cbpp")


@functools.cache
def bacteria() -> Any:
    data = jg.datasets.load("bacteria").copy()
    data["yy"] = (data["y"].astype(str) == "y").astype(float)
    data["week2"] = (data["week"] > 2).astype(float)
    return data


@functools.cache
def fit(method: str, **arguments: Any) -> jg.GLMM:
    return jg.glmm(FORMULA, cbpp(), "binomial", method=method, **arguments)


@functools.cache
def working(method: str, dispersion: bool = True) -> jg.GLMM:
    control = jg.Control(estimate_dispersion=dispersion)
    return jg.glmm(BINARY, bacteria(), "binomial", method=method, control=control)


def test_default_points():
    fitted = fit("agq")
    assert fitted.converged and fitted.problem.quadrature_points == 11
    assert fitted.log_likelihood == pytest.approx(-91.98337, abs=1e-4)
    assert "quadrature, 11 points" in str(fitted.summary())


@pytest.mark.slow
def test_batches_keep_the_method():
    fitted = fit("agq")
    batch = fitted.refit_many([fitted.problem.y, np.minimum(fitted.problem.y, 1)])
    assert batch.log_likelihood[0] == pytest.approx(fitted.log_likelihood, abs=1e-9)
    np.testing.assert_allclose(batch.estimate.hessian[0], fitted.estimate.hessian, rtol=2e-5)


def test_files_keep_the_method(tmp_path: Path):
    fit("agq").save(tmp_path / "fit")
    again = jg.load(tmp_path / "fit")
    assert (again.method, again.problem.quadrature_points) == ("agq", 11)


def test_laplace_is_checked():
    check = fit("laplace").check_laplace()
    assert check.points == 25 and not check.poor and check.largest_shift < 0.1
    assert check.laplace == fit("laplace").log_likelihood
    quadrature = fit("agq")
    assert check.log_likelihood == pytest.approx(quadrature.log_likelihood, abs=1e-3)
    last = check.table.iloc[-1]
    assert last["parameter"] == "sd(herd, Intercept)"
    moved = quadrature.covariance_parameters()["estimate"].iloc[0]
    assert last["estimate"] + last["shift"] == pytest.approx(moved, abs=5e-4)
    assert "good enough" in repr(check)
    assert not fit("laplace").laplace_doubt


@pytest.mark.slow
@pytest.mark.parametrize(("data", "poor"), [("bacteria", True), ("Contraception", False)])
def test_binary_responses(data: str, poor: bool):
    """Of a median of 4 and 30 rows a group."""
    if data == "bacteria":
        laplace = jg.glmm(BINARY, bacteria(), "binomial")
    else:
        women = jg.datasets.load(data)
        laplace = jg.glmm("y ~ age + urban + (1 | district)", women, "binomial")
    assert laplace.check_laplace().poor == poor
    assert bool(laplace.laplace_doubt) == poor
    assert ("Laplace's approximation can be poor" in str(laplace.summary())) == poor


@pytest.mark.slow
def test_toenail():
    """Known: 4.571 by Laplace, 4.007 at the maximum; 5 points are still 4.6 off."""
    data = jg.datasets.load("toenail")
    formula = "y ~ treatment * time + (1 | patientID)"
    laplace = jg.glmm(formula, data, "binomial")
    check = laplace.check_laplace()
    assert check.poor and "few rows a group" in laplace.laplace_doubt
    assert "Approximation: Laplace's approximation can be poor" in str(laplace.summary())
    found = {}
    for points in (5, 25, 100):
        by = jg.glmm(formula, data, "binomial", method="agq", quadrature_points=points)
        found[points] = (by.covariance_parameters()["estimate"].iloc[0], by.log_likelihood)
    assert laplace.covariance_parameters()["estimate"].iloc[0] == pytest.approx(4.571, abs=1e-3)
    assert found[100][0] == pytest.approx(4.007, abs=2e-3)
    assert abs(found[5][1] - found[100][1]) == pytest.approx(4.6, abs=0.1)
    assert abs(found[25][1] - found[100][1]) < 0.1


PQL = {  # MASS's glmmPQL, iterated to 1e-24; its errors carry a factor sqrt(n / (n - p)).
    "estimate": [3.41226884708388, -1.24742605745648, -0.754401738900019, -1.60737495860403],
    "se": [0.518662756338186, 0.644280685777975, 0.645603905679174, 0.358403543272463],
    "sigma": 0.780048366404063,
    "sd": 1.41102502921872,
}


def test_penalised_quasi_likelihood_is_that_of_mass():
    fitted = working("mpl")
    assert fitted.converged and fitted.num_params == 6
    table = fitted.fixed_effects(vcov="conditional")
    np.testing.assert_allclose(table["estimate"], PQL["estimate"], atol=1e-6)
    share = np.sqrt((fitted.num_obs - 4) / fitted.num_obs)
    np.testing.assert_allclose(table["std_error"], share * np.array(PQL["se"]), rtol=1e-6)
    assert fitted.family_parameters["phi"] == pytest.approx(PQL["sigma"] ** 2, rel=1e-6)
    sds = fitted.covariance_parameters()["estimate"]
    assert sds[0] == pytest.approx(PQL["sd"], rel=1e-6)
    assert "pseudo-logLik" in str(fitted.summary())


def test_files_keep_the_dispersion(tmp_path: Path):
    working("mpl").save(tmp_path / "fit")
    again = jg.load(tmp_path / "fit")
    assert again.family_parameters == working("mpl").family_parameters
    np.testing.assert_allclose(again.fitted(), working("mpl").fitted(), rtol=1e-12)


@pytest.mark.slow
def test_dispersion_of_one_and_restricted():
    plain, restricted = working("mpl", False), working("rempl", False)
    assert plain.family_parameters == {} and plain.num_params == 5
    sds = [one.covariance_parameters()["estimate"].iloc[0] for one in (plain, restricted)]
    assert sds[0] < sds[1] < working("mpl").covariance_parameters()["estimate"].iloc[0]
    for one in (plain, restricted):
        with jax.enable_x64(True):
            value = jg.log_likelihood(one.estimate.params, one.problem)
        assert one.log_likelihood == pytest.approx(float(value), abs=1e-5)
    batch = plain.refit_many([plain.problem.y, 1.0 - plain.problem.y])
    assert batch.log_likelihood[0] == pytest.approx(plain.log_likelihood, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gaussian", "gamma", "inverse_gaussian"])
def test_dispersions_of_laws_that_have_one(family: str):
    """With the identity link and the normal law it is maximum likelihood; others come near."""
    data = jg.datasets.load("sleepstudy")
    link = "identity" if family == "gaussian" else "log"
    formula = "Reaction ~ Days + (1 | Subject)"
    pseudo = jg.glmm(formula, data, family, link=link, method="mpl")
    laplace = jg.glmm(formula, data, family, link=link)
    rtol = 1e-6 if family == "gaussian" else 0.02
    for table in ("fixed_effects", "covariance_parameters"):
        a, b = getattr(pseudo, table)(), getattr(laplace, table)()
        np.testing.assert_allclose(a["estimate"], b["estimate"], rtol=rtol)
        np.testing.assert_allclose(a["std_error"], b["std_error"], rtol=2 * rtol)
    if family == "gaussian":
        assert pseudo.log_likelihood == pytest.approx(laplace.log_likelihood, abs=1e-8)
        values = [jg.glmm(formula, data, method=m).log_likelihood for m in ("rempl", "reml")]
        assert values[0] == pytest.approx(values[1], abs=1e-8)


@pytest.mark.slow
def test_iterations_run_out():
    control = jg.Control(pl_iterations=2, estimate_dispersion=True)
    fitted = jg.glmm(BINARY, bacteria(), "binomial", method="mpl", control=control)
    assert fitted.status == "max_iterations" and fitted.optimizer.iterations == 2


@pytest.mark.slow
def test_stages_lead_to_the_same_maximum():
    staged = fit("laplace", control=jg.Control(staged=True))
    assert staged.log_likelihood == pytest.approx(fit("laplace").log_likelihood, abs=1e-9)


TWO = {"y": [0, 1] * 20, "g": list("abcd") * 10, "h": list("efghi") * 8, "x": list(range(40))}
REFUSED = [
    ("y ~ x + (1 | g) + (1 | h)", {"method": "agq"}, ("'h' and 'g'", "one grouping factor")),
    ("y ~ x", {"method": "agq"}, ("no random effects", "exact")),
    ("y ~ (1 + x + I(x**2) + I(x**3) | g)", {"method": "agq"}, ("at most 3", "'g' has 4")),
    ("y ~ (1 | g)", {"method": "reml", "quadrature_points": 5}, ("quadrature_points", "'reml'")),
    ("y ~ (1 | g)", {"quadrature_points": 5}, ("quadrature_points", "method='agq'")),
    ("y ~ (1 | g)", {"method": "agq", "quadrature_points": 0}, ("quadrature_points", "0")),
    ("y ~ (1 | g)", {"method": "agq", "quadrature_points": 2.5}, ("quadrature_points", "2.5")),
    ("y ~ (1 | g)", {"method": "agq", "quadrature_points": 10**7}, ("10000", "points")),
    (
        "y ~ (1 + x + I(x**2) | g)",
        {"method": "agq", "quadrature_points": 9_999},
        ("3 random effects of 'g'", "GB of memory", "At most"),
    ),
    ("y ~ (1 | g)", {"method": "pql"}, ("method", "'pql'", "agq, mpl")),
    ("y ~ (1 | g)", {"method": "mpl", "family": "betabinomial"}, ("'mpl'", "'betabinomial'")),
    ("y ~ (1 | g)", {"method": "mpl", "zero_inflation": "~ 1"}, ("'mpl'", "zeros")),
    (
        "y ~ (1 | g)",
        {"method": "mpl", "priors": {"x": jg.priors.Normal(0, 1)}},
        ("priors", "'mpl'"),
    ),
    ("y ~ (1 | g)", {"control": jg.Control(estimate_dispersion=True)}, ("estimate_dispersion",)),
    (
        "y ~ (1 | g)",
        {"method": "rempl", "control": jg.Control(fixed={"sd(g, Intercept)": 1.0})},
        ("fixed", "'rempl'"),
    ),
]


@pytest.mark.parametrize(("formula", "arguments", "words"), REFUSED)
def test_refused(formula: str, arguments: Any, words: Any, nothing_compiles: None):
    with pytest.raises(jg.InputError) as error:
        jg.glmm(formula, TWO, **{"family": "binomial", **arguments})
    for word in words:
        assert word in str(error.value), str(error.value)


def test_refused_of_fits():
    with pytest.raises(jg.InputError, match="check_laplace: the fit is by method='agq'"):
        fit("agq").check_laplace()
    with pytest.raises(jg.InputError, match="points: 0"):
        fit("laplace").check_laplace(0)
    with pytest.raises(jg.InputError, match="working responses"):
        jg.compare(working("mpl"), working("mpl"))
    with pytest.raises(jg.InputError, match="nothing can be drawn"):
        working("mpl").simulate(2, seed=1)
