"""Errors and limits of predictions against dense algebra, and what cannot be asked for."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

import jaxglmm as jg
from jaxglmm.frontend import prediction_programs

from . import models

COLUMNS = ["estimate", "std_error", "conf_low", "conf_high"]


@functools.cache
def crossed() -> tuple[jg.GLMM, pd.DataFrame]:
    """A linear model of two crossed factors, of whose pairs of levels many have no row."""
    rng = np.random.default_rng(3)
    n = 60
    d = pd.DataFrame({"x": rng.normal(size=n), "g": rng.integers(0, 9, n)})
    d["h"] = (d["g"] + rng.integers(0, 2, n)) % 5
    d["y"] = d["x"] + rng.normal(size=9)[d["g"]] + rng.normal(size=5)[d["h"]] + rng.normal(size=n)
    return jg.glmm("y ~ x + (1 | g) + (1 | h)", d), d


def henderson(fit: jg.GLMM) -> np.ndarray:
    """Cov(beta-hat - beta, b-hat - b) given the variances: the inverse of Henderson's matrix."""
    X, Z = fit.problem.X, fit.design_matrix("random").toarray()
    table = fit.covariance_parameters()
    sd = table.set_index("group")["estimate"]
    G = np.concatenate([np.full(len(v), sd[g] ** 2) for g, v in _levels(fit)])
    both = np.concatenate([X, Z], axis=1) / fit.family_parameters["sigma"]
    penalty = np.concatenate([np.zeros(X.shape[1]), 1 / G])
    return np.linalg.inv(both.T @ both + np.diag(penalty))


def _levels(fit: jg.GLMM) -> Any:
    return zip(fit.labels.groups, fit.labels.levels, strict=True)


def rows_of(fit: jg.GLMM, new: pd.DataFrame) -> np.ndarray:
    """[X Z] of new rows."""
    parts = [np.ones((len(new), 1)), new[["x"]].to_numpy()]
    parts += [new[[g]].to_numpy() == np.array(levels)[None] for g, levels in _levels(fit)]
    return np.concatenate(parts, axis=1).astype(float)


def test_errors_given_the_variances_are_henderson_s() -> None:
    """Of all pairs of levels, those without a row too."""
    fit, _ = crossed()
    pairs = [(g, h) for g in range(9) for h in range(5)]
    new = pd.DataFrame(pairs, columns=["g", "h"]).assign(x=np.linspace(-1, 1, 45))
    C, rows = henderson(fit), rows_of(fit, new)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", rows, C, rows))
    found = fit.predict(new, interval="confidence", uncertainty="conditional", df="residual")
    assert list(found.columns) == COLUMNS
    np.testing.assert_allclose(found["std_error"], expected, rtol=1e-9)
    width = stats.t(fit.df_residual).ppf(0.975) * expected
    np.testing.assert_allclose(found["conf_high"] - found["estimate"], width, rtol=1e-9)
    joint = fit.predict(new, interval="confidence")["std_error"]
    assert (joint > found["std_error"]).all()
    fixed = fit.predict(new, interval="confidence", uncertainty="fixed")["std_error"]
    X, V = rows[:, :2], fit.vcov().to_numpy()
    np.testing.assert_allclose(fixed**2, np.einsum("ni,ij,nj->n", X, V, X), rtol=1e-9)
    cmsep = fit.random_effects(uncertainty="cmsep")["std_error"].to_numpy()
    np.testing.assert_allclose(cmsep, np.sqrt(np.diag(C)[2:]), rtol=1e-9)


def test_a_new_level_has_the_error_of_its_effect() -> None:
    fit, d = crossed()
    new = d.head(2).assign(g=99)
    C, rows = henderson(fit), rows_of(fit, new)
    own = fit.covariance_parameters().set_index("group")["estimate"]["g"] ** 2
    expected = np.sqrt(np.einsum("ni,ij,nj->n", rows, C, rows) + own)
    found = fit.predict(new, interval="confidence", uncertainty="conditional")
    np.testing.assert_allclose(found["std_error"], expected, rtol=1e-9)


def test_simultaneous_limits_are_scheffe_s() -> None:
    fit, d = crossed()
    new = d.head(10)
    single = fit.predict(new, "population", interval="confidence", df="residual")
    band = fit.predict(new, "population", interval="confidence", df="residual", simultaneous=True)
    ratio = (band["conf_high"] - band["estimate"]) / single["std_error"]
    expected = np.sqrt(2 * stats.f(2, fit.df_residual).ppf(0.95))
    np.testing.assert_allclose(ratio, expected, rtol=1e-9)
    given = fit.predict(d, interval="confidence", simultaneous=True, uncertainty="conditional")
    dim = np.linalg.matrix_rank(rows_of(fit, d))
    ratio = (given["conf_high"] - given["estimate"]) / given["std_error"]
    np.testing.assert_allclose(ratio, np.sqrt(stats.chi2(dim).ppf(0.95)), rtol=1e-9)


def test_marginal_means_and_their_errors() -> None:
    """The delta method in (beta, theta), theta being the standard deviation."""
    fit = models.fit("cbpp")
    new = pd.DataFrame({"period": ["1", "4"]})  # no herd
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    X = np.array([[1, 0, 0, 0], [1, 0, 0, 1.0]])

    def mean(psi: np.ndarray) -> np.ndarray:
        eta = (X @ psi[:4])[:, None] + abs(psi[4]) * nodes
        return special.expit(eta) @ weights / weights.sum()

    psi = np.concatenate([fit.estimate.params.beta, fit.estimate.params.theta])
    slopes = [(mean(psi + s) - mean(psi - s)) / 2e-5 for s in 1e-5 * np.eye(5)]
    V = fit.joint_covariance
    expected = np.sqrt(np.einsum("in,ij,jn->n", slopes, V, slopes))
    found = fit.predict(new, "marginal", interval="confidence")
    np.testing.assert_allclose(found["estimate"], mean(psi), rtol=1e-12)
    np.testing.assert_allclose(found["std_error"], expected, rtol=1e-8)
    np.testing.assert_allclose(fit.predict(new, "marginal"), mean(psi), rtol=1e-12)
    link = fit.predict(new, "marginal", "link")
    np.testing.assert_allclose(link, special.logit(mean(psi)), rtol=1e-11)
    logit, width = special.logit(found["estimate"]), stats.norm.ppf(0.975)
    slope = found["estimate"] * (1 - found["estimate"])
    low = special.expit(logit - width * found["std_error"] / slope)
    np.testing.assert_allclose(found["conf_low"], low, rtol=1e-12)


def test_limits_of_a_mean_come_from_the_link_scale() -> None:
    fit, new = models.fit("cbpp"), models.data("cbpp").head(3)
    link, mean = (fit.predict(new, scale=s, interval="confidence") for s in ("link", "response"))
    for column in ("estimate", "conf_low", "conf_high"):
        np.testing.assert_allclose(mean[column], special.expit(link[column]), rtol=1e-12)
    slope = mean["estimate"] * (1 - mean["estimate"])
    np.testing.assert_allclose(mean["std_error"], slope * link["std_error"], rtol=1e-10)


def test_prediction_intervals() -> None:
    fit, new = models.fit("sleep"), models.data("sleep").iloc[[3, 3]].copy()
    found = fit.predict(new, interval="prediction")
    mean = fit.predict(new, interval="confidence")
    sigma = fit.family_parameters["sigma"]
    least = np.hypot(sigma, mean["std_error"])
    # The error of sigma, 1 / sqrt(2 x 160), is the rest.
    assert (found["std_error"] > least).all() and (found["std_error"] < 1.02 * least).all()
    width = (found["conf_high"] - found["conf_low"]) / (2 * 1.959964 * least)
    assert (width > 1).all() and (width < 1.03).all()
    new["Subject"] = ["308", "nobody"]
    new["Days"] = np.nan, 3.0
    found = fit.predict(new, "marginal", interval="prediction")
    assert found.iloc[0].isna().all() and found.iloc[1].notna().all()


def test_a_dispersion_that_ended_at_none_leaves_the_means_alone() -> None:
    """Its variance is unknown and its share in conditional modes some 1e-8: the limits are those of
    the law without it."""
    rng = np.random.default_rng(0)
    g, x = np.repeat(np.arange(12), 8), rng.normal(size=96)
    y = rng.poisson(np.exp(0.5 + 0.3 * x + rng.normal(0, 0.5, 12)[g]))
    d = pd.DataFrame({"y": y, "x": x, "g": g})
    own, plain = (jg.glmm("y ~ x + (1 | g)", d, family=f) for f in ("nbinom1", "poisson"))
    assert own.status == "converged_boundary"
    for kind in ("confidence", "prediction"):
        found, known = (f.predict(d[:5], interval=kind)[COLUMNS] for f in (own, plain))
        np.testing.assert_allclose(found, known, rtol=1e-4)


@pytest.mark.parametrize("family", ["binomial", "betabinomial"])
def test_few_successes_are_listed(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the limits that a search by the law's tails finds among many."""
    cbpp = jg.datasets.load("cbpp")
    fit = jg.glmm("incidence / size ~ period + (1 | herd)", cbpp, family)
    listed = fit.predict(cbpp[::7], interval="prediction")
    monkeypatch.setattr(prediction_programs, "_MOST_TRIALS", 0)
    pd.testing.assert_frame_equal(listed, fit.predict(cbpp[::7], interval="prediction"))
    assert (listed["conf_high"] > listed["conf_low"]).all()


def test_prediction_of_a_proportion_needs_its_trials() -> None:
    fit = models.fit("cbpp")
    new = pd.DataFrame({"herd": ["1", "2"], "period": ["1", "2"]})
    with pytest.raises(jg.InputError, match="'size'.*trials"):
        fit.predict(new, interval="prediction")
    given = fit.predict(new, interval="prediction", weights=20)
    column = fit.predict(new.assign(size=20), interval="prediction")
    pd.testing.assert_frame_equal(given, column)
    np.testing.assert_allclose(given["conf_high"] * 20 % 1, 0, atol=1e-12)  # counts of 20
    assert (given["conf_low"] < given["estimate"]).all()


@pytest.mark.parametrize("written", ["cbind(incidence, size - incidence)", "share"])
def test_weights_beside_trials_are_no_trials(written: str) -> None:
    data = models.data("cbpp").assign(w=2.0)
    data["share"] = data["incidence"] / data["size"]
    trials = data["size"].to_numpy() if written == "share" else None
    formula = f"{written} ~ period + (1 | herd)"
    fit = jg.glmm(formula, data, "binomial", weights="w", trials=trials)
    with pytest.raises(jg.InputError, match="numbers of trials"):
        fit.predict(data.head(3), interval="prediction")
    given = fit.predict(data.head(3), interval="prediction", weights="size")
    sizes = data["size"].head(3)
    np.testing.assert_allclose(given["conf_high"] * sizes % 1, 0, atol=1e-12)


def test_sampled_effects_belong_to_levels() -> None:
    fit = models.fit("sleep")
    new = {"Days": [0.0, 0.0, 0.0, 0.0], "Subject": ["308", "a", "b", "a"]}
    found = fit.predict(new, new_levels="sample", seed=1)
    plain = fit.predict(new)
    assert found[0] == plain[0] and found[1] == found[3] != found[2] and found[1] != plain[1]
    np.testing.assert_array_equal(found, fit.predict(new, new_levels="sample", seed=1))
    many = {"Days": np.zeros(4000), "Subject": [f"new{k}" for k in range(4000)]}
    drawn = fit.predict(many, new_levels="sample", seed=2) - plain[1]
    sd = fit.covariance_parameters()["estimate"][0]
    assert abs(drawn.std() / sd - 1) < 5 / np.sqrt(8000) and abs(drawn.mean()) < 5 * sd / 63
    known = fit.predict(new, new_levels="sample", seed=1, interval="confidence")
    assert known["std_error"][1] < fit.predict(new, interval="confidence")["std_error"][1]


def test_no_rows_and_no_complete_row() -> None:
    fit, data = models.fit("cbpp"), models.data("cbpp")
    for kind in ("conditional", "marginal"):
        assert fit.predict(data.iloc[:0], kind, interval="confidence").shape == (0, 4)
        assert fit.predict(data.iloc[:0], kind).shape == (0,)
    lost = data.iloc[:2].assign(period=None)
    assert np.isnan(fit.predict(lost, "marginal")).tolist() == [True, True]
    assert fit.predict(lost, interval="confidence").isna().to_numpy().all()


REFUSED = {
    "kind": ({"kind": "fixed"}, "'marginal'"),
    "interval": ({"interval": "credible"}, "'prediction'"),
    "uncertainty": ({"interval": "confidence", "uncertainty": "all"}, "'joint'"),
    "df": ({"interval": "confidence", "df": "kr"}, "'residual'"),
    "level": ({"interval": "confidence", "level": 95}, "between 0 and 1"),
    "seed": ({"new_levels": "sample"}, "seed="),
    "simultaneous": ({"interval": "prediction", "simultaneous": True}, "confidence"),
    "scale": ({"interval": "prediction", "scale": "link"}, "response"),
}


@pytest.fixture(scope="module")
def fit() -> jg.GLMM:
    return models.fit("sleep")


@pytest.mark.parametrize("argument", REFUSED)
def test_refusals(argument: str, fit: jg.GLMM, nothing_compiles: None) -> None:
    arguments, remedy = REFUSED[argument]
    new = {"Days": [0.0], "Subject": ["nobody"]}
    with pytest.raises(jg.InputError, match=argument) as error:
        fit.predict(new, **arguments)
    assert remedy in str(error.value)


def test_partial_dependence() -> None:
    fit, data = models.fit("sleep"), models.data("sleep")
    found = fit.partial_dependence("Days", values={"Days": [0.0, 5.0]})
    expected = [fit.predict(data.assign(Days=v)).mean() for v in (0.0, 5.0)]
    assert list(found.columns) == ["Days", "estimate"]
    np.testing.assert_allclose(found["estimate"], expected, rtol=1e-12)
    curves = fit.partial_dependence("Days", "individual", num_points=4)
    assert len(curves) == 4 * 180 and list(curves.columns) == ["Days", "row", "estimate"]
    np.testing.assert_allclose(curves["Days"].unique(), [0, 3, 6, 9])
    centered = fit.partial_dependence("Days", "centered", num_points=4)
    assert (centered["estimate"][:180] == 0).all()
    slopes = curves["estimate"][-180:].to_numpy() - curves["estimate"][:180].to_numpy()
    np.testing.assert_allclose(centered["estimate"][-180:], slopes, atol=1e-12)
    both = fit.partial_dependence(["Subject", "Days"], num_points=2, of="population")
    assert len(both) == 36 and both["estimate"].nunique() == 2
    with pytest.raises(jg.InputError, match="'Hours' is no predictor.*Days"):
        fit.partial_dependence("Hours")


def tables(num: int) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """15 groups of 6 rows; the responses of `num` experiments, and of two known and two new groups
    of each beside them."""
    rng = np.random.default_rng(4)
    d = pd.DataFrame({"g": np.repeat(np.arange(15), 6), "x": np.tile(np.linspace(0, 1, 6), 15)})
    new = pd.DataFrame({"g": [0, 1, 98, 99], "x": [0.3, 0.9, 0.3, 0.9]})
    whole = pd.concat([d, new])
    places = np.append(d["g"], [0, 1, 15, 16])
    eta = 1 + 0.5 * whole["x"].to_numpy() + rng.normal(size=(num, 17))[:, places]
    return d, new, eta + rng.normal(size=eta.shape)


@pytest.mark.slow
def test_prediction_intervals_cover() -> None:
    """95 % of 300 experiments with two rows each, within 4 Monte-Carlo errors; limits of a new
    group know its standard deviation from 15 groups."""
    d, new, Y = tables(300)
    fit, hits = jg.glmm("y ~ x + (1 | g)", d.assign(y=Y[0, :90]), method="reml"), []
    for y in Y:
        found = fit.refit(y[:90]).predict(new, interval="prediction")
        hits.append((y[90:] >= found["conf_low"]) & (y[90:] <= found["conf_high"]))
    covered = np.mean(hits, axis=0).reshape(2, 2).mean(axis=1)
    assert np.all(np.abs(covered - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 600)), covered


@pytest.mark.slow
def test_marginal_means_of_several_predictors_are_those_of_draws() -> None:
    """Random effects of the mean and of a probability of zeros, correlated."""
    d = jg.datasets.load("Salamanders")
    zeros = "~ mined + (1 | s | site)"
    fit = jg.glmm("count ~ mined + (1 | s | site)", d, "poisson", zero_inflation=zeros)
    draws, mean = fit.simulate(4000, seed=1), fit.fitted("marginal")
    for value in np.unique(mean.round(10)):
        own = draws[:, mean.round(10) == value]
        error = own.mean(axis=1).std() / np.sqrt(len(own))
        assert abs(own.mean() - value) < 4 * error
