"""Tables about a fit, shares of variance, design matrices and the call made again."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import special

import jaxglmm as jg
from jaxglmm.frontend.tidy import COLUMNS
from jaxglmm.frontend.update import updated

from . import models


def test_icc_of_each_group_and_in_all() -> None:
    fit = models.fit("cbpp")
    table, sd = fit.icc(), fit.covariance_parameters()["estimate"][0]
    assert list(table["group"]) == ["herd", "total"] and (table["reason"] == "").all()
    expected = sd**2 / (sd**2 + np.pi**2 / 3)
    np.testing.assert_allclose(table["icc_adjusted"], expected, rtol=1e-12)
    size = 56 / 15
    np.testing.assert_allclose(table["design_effect"][0], 1 + (size - 1) * expected, rtol=1e-12)
    assert (table["icc_unadjusted"] < table["icc_adjusted"]).all()


@pytest.mark.parametrize(
    ("name", "why"), [("epil", "'nbinom2' law"), ("gamma", "'gamma' law"), ("lm", "random effects")]
)
def test_icc_is_not_defined_everywhere(name: str, why: str) -> None:
    table = models.fit(name).icc()
    assert table["icc_adjusted"].isna().all()
    assert table["reason"].str.startswith("not defined").all() and why in table["reason"][0]


def test_r2_says_how_it_was_made() -> None:
    fit = models.fit("epil")
    found = {m: fit.r2(m).iloc[0] for m in ("lognormal", "delta", "trigamma")}
    mu, size = found["delta"]["typical_mean"], fit.family_parameters["size"]
    ratio = 1 / mu + 1 / size
    expected = {"lognormal": np.log1p(ratio), "delta": ratio}
    expected["trigamma"] = special.polygamma(1, 1 / ratio)
    for method, row in found.items():
        np.testing.assert_allclose(row["var_observation"], expected[method], rtol=1e-10)
        whole = row["var_fixed"] + row["var_random"] + row["var_observation"]
        np.testing.assert_allclose(row["r2_marginal"], row["var_fixed"] / whole, rtol=1e-12)
    null = fit.update(". ~ 1 + (1 | subject)")
    b0 = null.fixed_effects()["estimate"][0]
    np.testing.assert_allclose(mu, np.exp(b0), rtol=1e-6)
    sd = null.covariance_parameters()["estimate"][0]
    over = fit.r2(mean="mean")["typical_mean"][0]
    np.testing.assert_allclose(over, np.exp(b0 + 0.5 * sd**2), rtol=1e-6)
    with pytest.raises(jg.InputError, match="method='theoretical'"):
        fit.r2("theoretical")


FORMULAS = [
    ("y ~ a + (1 | g) + offset(log(e))", ". ~ . + c", "y ~ a + c + (1 | g) + offset(log(e))"),
    ("y ~ a + b + (1 | g)", ". ~ . - b - (1|g) + (a | g)", "y ~ a + (a | g)"),
    ("y ~ a + (1 | g/h)", "log(.) ~ . - a", "log(y) ~ 1 + (1 | g/h)"),
    ("y ~ a * b", ". ~ . - a:b", "y ~ a * b - a : b"),
    ("y ~ a + b", "z ~ .:c", "z ~ (a + b) : c"),
    ("s / n ~ a + (1 | g)", "~ 1 + (1 | g)", "s / n ~ 1 + (1 | g)"),
    ("y ~ 0 + a", ". ~ . + a", "y ~ 0 + a"),
    ("y ~ a + offset(e)", ". ~ . - offset( e )", "y ~ a"),
    ("y ~ 1 + a + (1 | g)", ". ~ . - 1", "y ~ a - 1 + (1 | g)"),
    ("y ~ 1 + (1 | g)", ". ~ . - 1", "y ~ - 1 + (1 | g)"),
    ("y ~ a + a * b", ". ~ . - a", "y ~ a * b - a"),
]


@pytest.mark.parametrize(("old", "new", "expected"), FORMULAS)
def test_dots_stand_for_what_was_there(old: str, new: str, expected: str) -> None:
    assert updated(old, new) == expected


def test_update() -> None:
    fit = models.fit("sleep")
    less = fit.update(". ~ . - (Days | Subject) + (Days || Subject)")
    expected = models.fit("sleep_diag").log_likelihood
    np.testing.assert_allclose(less.log_likelihood, expected, rtol=1e-10)
    plain = models.fit("lm")
    again = plain.update(family="gamma", data=models.data("sleep"))
    np.testing.assert_allclose(again.log_likelihood, models.fit("glm_gamma").log_likelihood)
    cbpp = models.fit("cbpp").update(method="agq", quadrature_points=5).update(method="laplace")
    np.testing.assert_allclose(cbpp.log_likelihood, models.fit("cbpp").log_likelihood, rtol=1e-10)
    with pytest.raises(jg.InputError, match="'hours'.*give data="):
        fit.update(". ~ . + hours")
    with pytest.raises(jg.InputError, match=r"no such term.*\(Days \| Subject\)"):
        fit.update(". ~ . - (1 | Subject)")
    weighted = plain.update(weights=np.ones(180))
    with pytest.raises(jg.InputError, match="weights.*belongs to its own data"):
        weighted.update(data=models.data("sleep"))


def test_design_matrices_give_the_linear_predictor() -> None:
    fit = models.fit("sleep")
    X, Z = fit.design_matrix(), fit.design_matrix("random")
    assert list(X.columns) == ["Intercept", "Days"] and Z.shape == (180, 36)
    b = fit.random_effects()["estimate"].to_numpy()
    eta = X.to_numpy() @ fit.fixed_effects()["estimate"].to_numpy() + Z @ b
    np.testing.assert_allclose(eta, fit.fitted(), rtol=1e-12)
    np.testing.assert_array_equal(fit.response, models.data("sleep")["Reaction"])
    np.testing.assert_array_equal(models.fit("cbpp").response, models.data("cbpp")["incidence"])
    assert models.fit("lm").design_matrix("random").shape == (180, 0)


def test_tidy_glance_and_augment() -> None:
    fit = models.fit("sleep")
    table = fit.tidy(("fixed", "ran_pars", "ran_vals"))
    assert list(table.columns) == list(COLUMNS) and len(table) == 2 + 4 + 36
    parameters = table[table["effect"] == "ran_pars"]
    terms = ["sd__Intercept", "sd__Days", "cor__Intercept.Days", "sigma"]
    assert list(parameters["term"]) == terms
    np.testing.assert_allclose(
        parameters["estimate"], fit.covariance_parameters()["estimate"], rtol=1e-14
    )
    one = fit.glance().iloc[0]
    assert (one["nobs"], one["df_residual"]) == (180, 178) and bool(one["converged"])
    np.testing.assert_allclose(one["aic"], fit.aic)
    augmented = models.fit("cbpp").augment()
    data = models.data("cbpp")
    share = data["incidence"] / data["size"]
    np.testing.assert_allclose(augmented[".resid"], share - augmented[".fitted"], rtol=1e-12)
    assert (augmented["herd"].astype(str).to_numpy() == data["herd"].astype(str)).all()
    with pytest.raises(jg.InputError, match="effects='random'"):
        fit.tidy("random")


def test_what_maketables_looks_for() -> None:
    """The attributes of the package's plug-in format (its PLUGIN_EXTRACTOR_FORMAT.md)."""
    fit = models.fit("cbpp")
    table = fit.__maketables_coef_table__
    assert isinstance(table, pd.DataFrame) and table.index.name == "Coefficient"
    assert {"b", "se", "t", "p", "ci95l", "ci95u"} <= set(table.columns)
    assert list(table.index) == list(fit.labels.fixed)
    known = [fit.__maketables_stat__(key) for key in fit.__maketables_default_stat_keys__]
    assert known[:2] == [56, "herd: 15"] and fit.__maketables_stat__("r2") is None
    assert fit.__maketables_depvar__ == "incidence / size"
    sd = fit.__maketables_stat__("sd(herd, Intercept)")
    assert sd == fit.covariance_parameters()["estimate"][0]


def test_maketables_makes_tables() -> None:
    """Of several models, in all forms that need no further program."""
    maketables = pytest.importorskip("maketables")
    fits = [models.fit(name) for name in ("cbpp", "sleep", "epil")]
    keys = ["N", "n_groups", "sd(herd, Intercept)", "sigma", "aic"]
    made = maketables.ETable(fits, model_stats=keys)
    rows = made.df.xs("stats")
    assert list(rows.index) == ["Observations", "Groups", *keys[2:4], "AIC"]
    assert rows.iloc[2, 0] == "0.642" and rows.iloc[2, 1] == "-"
    assert "10.467*** " in str(made.df.loc[("coef", "Days")].iloc[1])
    for form in ("html", "tex", "typst"):
        assert "Subject: 18" in str(made.make(type=form))
