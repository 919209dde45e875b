"""Parameters held at a value, and parameters that are one and the same.

The figures are those of glmmTMB 1.1.5, by its argument `map` and by `start`; the call is given
beside each case, with `s` for Salamanders and `d` for sleepstudy.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

import jaxglmm as jg

NBINOM2 = ("count ~ mined + cover + (1 | site)", "Salamanders", {"family": "nbinom2"})
POISSON = ("count ~ mined + cover + (1 | site)", "Salamanders", {"family": "poisson"})
CROSSED = ("count ~ mined + cover + DOP + (1 | site) + (1 | spp)", *POISSON[1:])
SLEEP = ("Reaction ~ Days + (Days | Subject)", "sleepstudy", {})

# model, fixed, shared, log-likelihood, number of parameters, then estimate and error of some
CASES: dict[str, tuple[tuple[str, str, dict[str, Any]], dict[str, float], Any, Any, Any]] = {
    # s$mined <- relevel(s$mined, "yes")
    # glmmTMB(count ~ mined + cover + (1|site), s, family = nbinom2,
    #         start = list(theta = log(0.5), betad = log(2)),
    #         map = list(theta = factor(NA), betad = factor(NA)))
    "sd_and_size": (
        NBINOM2,
        {"sd(site, Intercept)": 0.5, "size": 2.0},
        (),
        (-908.64791309, 3),
        {"Intercept": (-1.535167077, 0.217282455), "cover": (-0.120434553, 0.152652517)},
    ),
    # glmmTMB(count ~ mined + cover + (1|site), ziformula = ~mined, s, family = poisson,
    #         start = list(betazi = c(-1, 0.5), beta = c(0, 0, 0.1)),
    #         map = list(betazi = factor(c(1, NA)), beta = factor(c(1, 2, NA))))
    "two_formulas": (
        (*POISSON[:2], {**POISSON[2], "zero_inflation": "~ mined"}),
        {"cover": 0.1, "zi_mined[T.no]": 0.5},
        (),
        (-966.35041956, 4),
        {"Intercept": (-1.085997961, 0.229125252), "zi_Intercept": (-0.990386218, 0.122451962)},
    ),
    # glmmTMB(count ~ mined + cover + DOP + (1|site) + (1|spp), s, family = poisson,
    #         start = list(beta = c(0, 0, 0, 0), theta = c(0, 0)),
    #         map = list(theta = factor(c(1, 1)), beta = factor(c(1, 2, 3, 3))))
    "shared": (
        CROSSED,
        {},
        [("cover", "DOP"), ("sd(site, Intercept)", "sd(spp, Intercept)")],
        (-988.08136299, 4),
        {"cover": (-0.02587365, 0.0406181024), "DOP": (-0.02587365, 0.0406181024)},
    ),
    # glmmTMB(Reaction ~ Days + (Days|Subject), d,
    #         start = list(theta = c(log(25), log(5), 0.3 / sqrt(1 - 0.3^2))),
    #         map = list(theta = factor(c(1, 2, NA))))
    "correlation": (
        SLEEP,
        {"corr(Subject, Intercept, Days)": 0.3},
        (),
        (-876.19829414, 5),
        {"Intercept": (251.4050955, 6.483564831), "Days": (10.4672866, 1.472892456)},
    ),
    # glmmTMB(Reaction ~ Days + (Days|Subject), d, REML = TRUE,
    #         start = list(theta = c(log(25), log(5), 0)), map = list(theta = factor(c(1, NA, 2))))
    "reml": (
        (*SLEEP[:2], {"method": "reml"}),
        {"sd(Subject, Days)": 5.0},
        (),
        (-872.14271506, 5),
        {"Intercept": (251.405105, None), "Days": (10.467286, None)},
    ),
}


def fit_anew(name: str) -> jg.GLMM:
    (formula, data, arguments), fixed, shared, *_ = CASES[name]
    control = jg.Control(fixed=fixed, shared=shared)
    return jg.glmm(formula, jg.datasets.load(data), control=control, **arguments)


@functools.cache
def fit(name: str) -> jg.GLMM:
    return fit_anew(name)


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_glmmtmb(name: str) -> None:
    (log_likelihood, num_params), expected = CASES[name][3:]
    found = fit(name)
    assert found.status == "converged"
    assert found.log_likelihood == pytest.approx(log_likelihood, abs=1e-7)
    assert found.num_params == num_params
    table = found.fixed_effects()
    prefix = np.where(table["component"] == "cond", "", table["component"] + "_")
    table = table.set_index(prefix + table["term"])
    for term, (estimate, error) in expected.items():
        assert table.loc[term, "estimate"] == pytest.approx(estimate, rel=1e-4)
        if error is not None:  # glmmTMB's differences of gradients are right to four digits
            assert table.loc[term, "std_error"] == pytest.approx(error, rel=2e-4)


def test_tables_show_what_is_held() -> None:
    found = fit("two_formulas")
    table = found.fixed_effects().set_index(["component", "term"])
    for place, value in ((("cond", "cover"), 0.1), (("zi", "mined[T.no]"), 0.5)):
        assert table.loc[place, "estimate"] == value
        shown = table.loc[place, ["std_error", "statistic", "p_value", "conf_low", "conf_high"]]
        assert shown.isna().all()
    assert found.df_residual == found.num_obs - 2
    assert found.aic == pytest.approx(-2 * found.log_likelihood + 2 * 4)
    assert "Held:" in str(found.summary()) and "cover = 0.1, zi_mined[T.no] = 0.5" in str(
        found.summary()
    )
    for kind in ("joint", "conditional"):
        V = found.vcov(kind)
        assert (V.loc["cover"] == 0).all() and (V["cover"] == 0).all() and V.iloc[0, 0] > 0
    numbers = fit("sd_and_size").covariance_parameters()
    assert list(numbers["estimate"]) == pytest.approx([0.5, 2.0], rel=1e-14)
    assert numbers[["std_error", "conf_low", "conf_high"]].isna().all(axis=None)


def test_equal_parameters_have_one_error() -> None:
    found = fit("shared")
    table = found.covariance_parameters()
    assert table["estimate"].nunique() == 1 and table["std_error"].nunique() == 1
    assert found.vcov().loc["cover"].equals(found.vcov().loc["DOP"])
    assert "cover = DOP" in str(found.summary())
    assert found.df_residual == found.num_obs - 3


def test_a_file_keeps_what_is_held(tmp_path: Path) -> None:
    for name in ("correlation", "shared"):
        fit(name).save(tmp_path / name)
        again = jg.load(tmp_path / name)
        assert again.held == fit(name).held and again.shared == fit(name).shared
        assert again.covariance_parameters().equals(fit(name).covariance_parameters())
        assert again.df_residual == fit(name).df_residual


def test_other_values_need_no_other_program(compiled: list[str]) -> None:
    (formula, data, arguments), *_ = CASES["sd_and_size"]
    fit_anew("sd_and_size")
    compiled.clear()
    fixed = {"sd(site,Intercept)": 0.0, "size": 1e9}  # a variance of zero, and Poisson's law
    found = jg.glmm(formula, jg.datasets.load(data), control=jg.Control(fixed=fixed), **arguments)
    assert compiled == []
    # What is held at its bound is no boundary of the likelihood.
    assert found.status == "converged" and not found.is_singular
    assert np.all(found.random_effects()["estimate"] == 0)


def test_a_law_without_random_effects() -> None:
    """The likelihood of nbinom2 at a known size, by scipy."""
    data = jg.datasets.load("Salamanders")
    control = jg.Control(fixed={"size": 2.0})
    found = jg.glmm("count ~ mined", data, "nbinom2", control=control)
    mu = found.fitted()
    expected = stats.nbinom(2.0, 2.0 / (2.0 + mu)).logpmf(data["count"]).sum()
    assert found.log_likelihood == pytest.approx(expected, rel=1e-12)
    means = data.groupby("mined", observed=True)["count"].mean()  # those of each group
    np.testing.assert_allclose(np.sort(np.unique(mu.round(9))), np.sort(means), rtol=1e-6)


def refused(formula: str, words: tuple[str, ...], **control: Any) -> None:
    data = jg.datasets.load("sleepstudy").assign(twice=lambda d: 2 * d["Days"])
    with pytest.raises(jg.InputError) as caught:
        jg.build(formula, data, control=jg.Control(**control))
    assert all(word in str(caught.value) for word in words), caught.value


SLOPES = "Reaction ~ Days + (Days | Subject)"
THREE = "Reaction ~ Days + (Days + w | Subject)"
REFUSED: list[tuple[str, dict[str, Any], tuple[str, ...]]] = [
    (SLOPES, {"fixed": {"Day": 1}}, ("'Day'", "Did you mean 'Days'?", "'sigma'")),
    (SLOPES, {"fixed": {"sd(subject, Days)": 1}}, ("Did you mean 'sd(Subject, Days)'?",)),
    (SLOPES, {"fixed": {"sd(Subject, Days)": -1}}, ("'sd(Subject, Days)'", "-1", "above 0")),
    (SLOPES, {"fixed": {"corr(Subject, Days, Intercept)": 2}}, ("2", "between -1 and 1")),
    (SLOPES, {"fixed": {"sigma": 0}}, ("'sigma'", "range", "gaussian")),
    (SLOPES + " + twice", {"fixed": {"twice": 0}}, ("'twice'", "dropped")),
    (SLOPES, {"fixed": {"Days": 0}, "shared": [("Days", "Intercept")]}, ("'Days'", "twice")),
    (SLOPES, {"shared": [("Days", "sigma")]}, ("'Days'", "'sigma'", "one parameter")),
    (THREE, {"fixed": {"corr(Subject, w, Days)": 0}}, ("'us'", "diag(", "covariance=")),
    (
        "Reaction ~ diag(1 | fDays) + cs(0 + Days + w | Subject)",
        {"shared": [("sd(fDays, Intercept)", "sd(Subject, Days)")]},
        ("cannot share", "one structure"),
    ),
    ("Reaction ~ rr(0 + fDays | Subject, d=1)", {"fixed": {"sd(Subject, fDays[0])": 1}}, ("'rr'",)),
]


@pytest.mark.parametrize(("formula", "control", "words"), REFUSED)
def test_refusals(formula: str, control: dict[str, Any], words: tuple[str, ...]) -> None:
    refused(formula, words, **control)


def test_structures_move_to_common_coordinates() -> None:
    formula = "Reaction ~ (1 | fDays) + cs(0 + Days + w | Subject)"
    group = ("sd(fDays, Intercept)", "sd(Subject, Days)", "sd(Subject, w)")
    data = jg.datasets.load("sleepstudy")
    problem, _ = jg.build(formula, data, control=jg.Control(shared=[group]))
    assert problem.restriction is not None
    assert problem.restriction.theta.index == (0, 0, 1, 0)  # the correlation stands before


@pytest.mark.parametrize(
    "control", [{"fixed": [1]}, {"fixed": {"x": "a"}}, {"fixed": {1: 2.0}}, {"shared": [("x",)]}]
)
def test_controls_that_are_none(control: dict[str, Any]) -> None:
    with pytest.raises(jg.InputError, match="Control"):
        jg.Control(**control)


def test_a_control_can_be_hashed() -> None:
    one, two = jg.Control(fixed={"x": 1}), jg.Control(fixed={"x": 1.0})
    assert one == two and hash(one) == hash(two) and one != jg.Control()


@pytest.mark.parametrize("held", [{}, {"sd(g, Intercept)": 0.3}, {"Intercept": -2.0}])
def test_a_law_at_its_limit_beside_what_is_held(held: dict[str, float]) -> None:
    """Counts of zero and one have no size, whatever else is held at a value."""
    data = {"y": np.tile([1.0] + 9 * [0.0], 10), "g": np.repeat(np.arange(10), 10)}
    fit = jg.glmm("y ~ 1 + (1 | g)", data, "nbinom2", control=jg.Control(fixed=held))
    assert fit.status == "converged_boundary" and "poisson" in str(fit.summary())
