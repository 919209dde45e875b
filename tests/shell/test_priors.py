"""Penalised fits: separation, a variance at zero, and what `priors=` refuses.

The figures come from glmmTMB 1.1.5, whose log-likelihood -f$obj$fn plus the log-density was
maximised by nlminb, its gradient differentiated by optimHess: the calls stand beside the cases.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy import integrate, stats

import jaxglmm as jg
from jaxglmm import priors

ROW = np.arange(80)
SEPARATED = pd.DataFrame({"x": ROW >= 40, "z": 7 * ROW % 11 / 5 - 1, "g": ROW**2 % 13}).astype(
    float
)
SEPARATED["y"] = np.where(SEPARATED["x"] == 1, 1, 3 * ROW % 7 < 3).astype(float)
BINOMIAL = "y ~ x + z + (1 | g)"
SLEEP = "Reaction ~ Days + (1 | Subject) + (1 | fDays)"


@functools.cache
def penalised() -> jg.GLMM:
    chosen = {"fixed": priors.Normal(0, 2.5), "sd(g, Intercept)": priors.Gamma(2.5, 0)}
    return jg.glmm(BINOMIAL, SEPARATED, "binomial", priors=chosen)


def assert_maximum(found: jg.GLMM, log_likelihood: float, log_prior: float) -> None:
    """Their sum is stationary at the maximum; each alone is as good as nlminb's parameters."""
    whole = found.log_likelihood + found.log_prior
    assert whole == pytest.approx(log_likelihood + log_prior, abs=1e-8)
    assert found.log_prior == pytest.approx(log_prior, abs=2e-5)


def test_separation_and_a_variance_of_zero() -> None:
    # f <- glmmTMB(y ~ x + z + (1|g), d, family = binomial)
    # nlminb(0 * f$obj$par, function(p) f$obj$fn(p) -
    #        sum(dnorm(p[2:3], 0, 2.5, log = TRUE)) - 1.5 * p[4])
    found = penalised()
    assert found.status == "converged" and not found.is_singular
    assert_maximum(found, -28.746635734, -6.338300309)
    table = found.fixed_effects()
    beta = [-0.238110258, 4.350648056, -0.139061012]
    np.testing.assert_allclose(table["estimate"], beta, rtol=1e-5)
    np.testing.assert_allclose(table["std_error"], [0.36826393, 1.12345204, 0.48384387], rtol=1e-4)
    (sd,) = found.covariance_parameters().itertuples()
    assert sd.estimate == pytest.approx(0.463926517, rel=1e-5)
    assert found.aic == pytest.approx(-2 * found.log_likelihood + 2 * 4)


def test_a_linear_model_off_the_boundary() -> None:
    # f <- glmmTMB(Reaction ~ Days + (1|Subject) + (1|fDays), d)
    # nlminb(p, function(p) f$obj$fn(p) - 1.5 * p[5])
    name = "sd(fDays, Intercept)"
    data = jg.datasets.load("sleepstudy")
    found = jg.glmm(SLEEP, data, priors={name: priors.Gamma(2.5)})
    assert found.status == "converged" and not found.is_singular
    assert_maximum(found, -897.838117773, 2.111398275)
    table = found.covariance_parameters().set_index("group")
    expected = {"fDays": (4.0861322, 0.619209525), "Subject": (36.0299466, 0.179018082)}
    for group, (sd, error) in expected.items():
        assert table.loc[group, "estimate"] == pytest.approx(sd, rel=1e-5)
        assert table.loc[group, "std_error"] == pytest.approx(sd * error, rel=1e-4)
    assert found.family_parameters["sigma"] == pytest.approx(30.952663, rel=1e-6)
    errors = found.fixed_effects()["std_error"]
    np.testing.assert_allclose(errors, [9.81197538, 0.920621926], rtol=1e-5)


def test_coefficients_are_those_of_the_tables(compiled: list[str]) -> None:
    """A predictor far from zero, which the fit orthogonalises; other numbers, no other program."""
    moved = SEPARATED.assign(z=2000.0 + 3.0 * SEPARATED["z"])
    chosen = {"z": priors.Normal(0, 2.5 / 3), "x": priors.Normal(0, 2.5)}
    found = jg.glmm(BINOMIAL, moved, "binomial", priors=chosen | {"sd": priors.Gamma(2.5, 0)})
    expected = penalised().fixed_effects()
    table = found.fixed_effects()
    for column in ("estimate", "std_error"):
        np.testing.assert_allclose(
            table[column][1:], expected[column][1:] / np.array([1, 3]), rtol=1e-6
        )
    compiled.clear()
    other = {"z": priors.Normal(0, 0.1), "x": priors.Normal(1, 1), "sd": priors.Gamma(3, 1)}
    found = jg.glmm(BINOMIAL, moved, "binomial", priors=other)
    assert compiled == [] and abs(found.fixed_effects()["estimate"][2]) < 0.05


def test_functions_are_priors_too(tmp_path: Path) -> None:
    def log_density(x: jax.Array) -> jax.Array:
        return -0.5 * (x / 2.5) ** 2 - math.log(2.5) - 0.5 * math.log(2 * math.pi)

    chosen = {"fixed": log_density, "sd(g, Intercept)": priors.Gamma(2.5, 0)}
    found = jg.glmm(BINOMIAL, SEPARATED, "binomial", priors=chosen)
    assert found.log_prior == pytest.approx(penalised().log_prior, abs=1e-8)
    with pytest.raises(jg.InputError, match="prior of your own"):
        found.save(tmp_path / "own")
    penalised().save(tmp_path / "fit")
    again = jg.load(tmp_path / "fit")
    assert again.log_prior == penalised().log_prior
    assert again.arguments["priors"] == penalised().arguments["priors"]
    assert "prior" in str(again.summary()).lower()


@pytest.mark.slow
def test_derivatives_in_hyperparameters() -> None:
    """Of the maximum in the core, against differences."""
    chosen = {"x": priors.Normal(0, 2.5), "sd": priors.Gamma(2.5, 0)}
    problem, _ = jg.build(BINOMIAL, SEPARATED, "binomial", priors=chosen)
    assert problem.prior is not None
    with jax.enable_x64(True):

        def fit(sd: jax.Array) -> jax.Array:
            normal = jax.tree.map(jnp.asarray, problem.prior)
            penalty = normal.on_beta[0]
            moved = priors.Penalty(priors.Normal(penalty.density.mean, sd), penalty.places)
            prior = priors.Prior((moved,), normal.on_natural, normal.matrix, normal.origin)
            est = jg.maximise(problem.replace(prior=prior))
            parts = est.log_likelihood[None], est.log_prior[None], est.params.beta, est.params.theta
            return jnp.concatenate(parts)

        run, h = jax.jit(fit), 1e-4
        slope = jax.jit(jax.jacfwd(fit))(jnp.asarray(2.5))
        numeric = (run(jnp.asarray(2.5 + h)) - run(jnp.asarray(2.5 - h))) / (2 * h)
        np.testing.assert_allclose(slope, numeric, rtol=1e-6, atol=1e-8)
        est = jax.jit(jg.maximise)(problem)
        assert jg.log_prior(est.params, problem) == pytest.approx(float(est.log_prior), rel=1e-12)


@pytest.mark.parametrize(
    ("density", "reference"),
    [
        (priors.Normal(0.5, 2.0), stats.norm(0.5, 2.0)),
        (priors.StudentT(3.0, 0.5, 2.0), stats.t(3.0, 0.5, 2.0)),
        (priors.StudentT(), stats.cauchy()),
        (priors.Gamma(2.5, 0.7), stats.gamma(2.5, scale=1 / 0.7)),
    ],
)
def test_densities(density: priors.AbstractPrior, reference: Any) -> None:
    x = np.array([0.1, 1.0, 4.0])
    with jax.enable_x64(True):
        found = density.log_density(jnp.asarray(x))
    np.testing.assert_allclose(found, reference.logpdf(x), rtol=1e-13)


def test_correlations_have_mass_one() -> None:
    with jax.enable_x64(True):

        def density(*x: float) -> float:
            return float(np.exp(priors.LKJ(1.5).log_density(jnp.asarray(x))))

        mass, _ = integrate.quad(density, -1, 1)
        assert mass == pytest.approx(1.0, rel=1e-6)
        # Three columns: a uniform density over the positive definite matrices.
        draws = np.random.default_rng(2).uniform(-1, 1, (40_000, 3))
        R = np.ones((len(draws), 3, 3))
        for k, (i, j) in enumerate(((1, 0), (2, 0), (2, 1))):
            R[:, i, j] = R[:, j, i] = draws[:, k]
        volume = 8 * np.mean(np.linalg.eigvalsh(R)[:, 0] > 0)
        constant = priors.LKJ(1.0).log_density(jnp.asarray([0.1, 0.2, 0.3]))
        assert -constant == pytest.approx(np.log(volume), abs=0.02)


SLOPES = "Reaction ~ Days + (Days | Subject)"
REFUSED: list[tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = [
    ({"day": priors.Normal()}, {}, ("'day'", "Its parameters", "'Days'")),
    ({"Days": 2.5}, {}, ("'Days'", "Normal(0, 2.5)")),
    ({"Days": priors.Normal}, {}, ("'Days'", "Normal(0, 2.5)")),
    ({"Days": priors.Gamma()}, {}, ("'Days'", "either sign")),
    ({"sigma": priors.LKJ()}, {}, ("'sigma'", "corr(g)")),
    ({"Days": priors.Normal()}, {"method": "reml"}, ("'Days'", "method='laplace'")),
    (
        {"Days": priors.Normal()},
        {"control": jg.Control(fixed={"Days": 1})},
        ("'Days'", "held at 1"),
    ),
]


@pytest.mark.parametrize(("chosen", "arguments", "words"), REFUSED)
def test_refusals(chosen: Any, arguments: dict[str, Any], words: tuple[str, ...]) -> None:
    data = jg.datasets.load("sleepstudy")
    with pytest.raises(jg.InputError) as caught:
        jg.build(SLOPES, data, priors=chosen, **arguments)
    assert all(word in str(caught.value) for word in words), caught.value


def test_equal_parameters_have_one_prior() -> None:
    control = jg.Control(shared=[("sd(Subject, Intercept)", "sd(fDays, Intercept)")])
    data, chosen = jg.datasets.load("sleepstudy"), {"sd": priors.Normal(0, 10)}
    problem, _ = jg.build(SLEEP, data, priors=chosen, control=control)
    assert problem.prior is not None and len(problem.prior.on_natural[0].places) == 1
    problem, _ = jg.build(SLEEP, data, priors=chosen)
    assert problem.prior is not None and len(problem.prior.on_natural[0].places) == 2


def test_bad_numbers() -> None:
    for make in (
        lambda: priors.Normal(0, 0),
        lambda: priors.Gamma(-1),
        lambda: priors.Gamma(2, -1),
        lambda: priors.StudentT(df=0),
        lambda: jg.build(SLOPES, jg.datasets.load("sleepstudy"), priors=[1]),
    ):
        with pytest.raises(jg.InputError, match="priors"):
            make()
