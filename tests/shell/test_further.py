"""Formulas for the dispersion and for zeros: tables, predictions, and models that must agree."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import special, stats

import jaxglmm as jg


@functools.cache
def table() -> pd.DataFrame:
    """Positive `y`, counts `k` with added zeros, `z`: y with zeros; groups g and h."""
    rng = np.random.default_rng(2)
    n = 240
    d = pd.DataFrame({"x": rng.normal(size=n), "g": np.resize(np.arange(12), n)})
    d["h"] = rng.integers(0, 6, n)
    d["f"] = pd.Categorical(np.resize(["a", "b"], n))
    d["le"] = rng.normal(scale=0.2, size=n)
    effects = rng.normal(scale=0.4, size=(2, 12))[:, d["g"]]
    mean = np.exp(1.0 + 0.4 * d["x"] + effects[0])
    d["y"] = rng.gamma(4.0, mean / 4.0)
    empty = rng.random(n) < special.expit(-1.0 + 0.5 * d["x"] + effects[1])
    d["k"] = np.where(empty, 0, rng.poisson(mean))
    d["z"] = np.where(empty, 0.0, d["y"])
    d["p"] = special.expit(rng.normal(scale=0.5, size=n) + effects[0])
    d["pz"] = np.where(empty, 0.0, d["p"])
    return d


CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "zip": (
        "k ~ x + f + (1 | g)",
        {"family": "poisson", "zero_inflation": "~ x + (1 | g) + (1 | h)"},
    ),
    "both": (
        "z ~ x + (1 | g)",
        {"family": "gamma", "dispersion": "~ f", "zero_inflation": "~ x + offset(le)"},
    ),
    "tied": (
        "k ~ x + (1 | same | g)",
        {"family": "poisson", "zero_inflation": "~ x + (1 | same | g)"},
    ),
}


@functools.cache
def fit(name: str) -> jg.GLMM:
    formula, arguments = CALLS[name]
    return jg.glmm(formula, table(), **arguments)


@pytest.mark.parametrize("name", CALLS)
def test_converged(name: str) -> None:
    assert fit(name).converged, fit(name).status_message
    assert f"'{CALLS[name][0]}'" in repr(fit(name))


def test_fixed_effects_by_component() -> None:
    fixed = fit("both").fixed_effects()
    assert list(fixed["component"]) == ["cond"] * 2 + ["disp"] * 2 + ["zi"] * 2
    assert list(fixed["term"]) == ["Intercept", "x", "Intercept", "f[T.b]", "Intercept", "x"]
    names = ["Intercept", "x", "disp_Intercept", "disp_f[T.b]", "zi_Intercept", "zi_x"]
    for kind in ("joint", "conditional"):
        assert list(fit("both").vcov(kind).index) == names
    assert fit("both").df_residual == 240 - 2
    assert fit("both").num_params == 6 + 1
    assert fit("both").family_parameters == {}


def test_random_effects_by_component() -> None:
    parameters = fit("zip").covariance_parameters()
    columns = ["component", "group", "name1", "type"]
    assert parameters[columns].to_numpy().tolist() == [
        ["cond", "g", "Intercept", "sd"],
        ["zi", "g", "Intercept", "sd"],
        ["zi", "h", "Intercept", "sd"],
    ]
    effects = fit("zip").random_effects()
    sizes = effects.groupby(["component", "group"]).size().to_dict()
    assert sizes == {("cond", "g"): 12, ("zi", "g"): 12, ("zi", "h"): 6}
    for _, part in effects.groupby(["component", "group"]):
        assert sorted(part["rank"]) == list(range(1, len(part) + 1))
        assert list(part.sort_values("rank")["estimate"]) == sorted(part["estimate"])[::-1]


def test_an_id_ties_effects_of_two_formulas() -> None:
    parameters = fit("tied").covariance_parameters()
    columns = ["component", "group", "name1", "name2", "type"]
    rows = parameters[columns].astype(object).where(parameters[columns].notna(), None)
    assert rows.to_numpy().tolist() == [
        ["cond", "g", "Intercept", None, "sd"],
        ["zi", "g", "Intercept", None, "sd"],
        ["cond", "g", "zi_Intercept", "Intercept", "corr"],
    ]
    apart = jg.glmm("k ~ x + (1 | g)", table(), "poisson", zero_inflation="~ x + (1 | g)")
    assert fit("tied").log_likelihood > apart.log_likelihood
    assert fit("tied").num_params == apart.num_params + 1
    assert set(fit("tied").random_effects()["component"]) == {"cond", "zi"}


def test_a_term_of_one_formula_moves_to_the_others_of_its_id() -> None:
    """Columns stay with their names when another term of the group stands between."""
    data = table().assign(i=np.resize(np.arange(24), 240))
    problem, labels = jg.build(
        "k ~ x + (1 | s | i) + (0 + x | i)", data, "poisson", zero_inflation="~ 1 + (1 | s | i)"
    )
    (grouping,) = problem.groupings
    assert labels.columns == (("Intercept", "Intercept", "x"),)
    assert labels.column_components == (("cond", "zi", "cond"),)
    assert [term.predictors for term in grouping.terms] == [(0, 1), (0,)]
    np.testing.assert_array_equal(grouping.Z[:, 2], data["x"])


@pytest.mark.parametrize(
    ("response", "family", "parameter"),
    [
        ("y", "gaussian", "sigma"),
        pytest.param("y", "gamma", "phi", marks=pytest.mark.slow),
        pytest.param("p", "beta", "phi", marks=pytest.mark.slow),
        pytest.param("k", "nbinom2", "size", marks=pytest.mark.slow),
    ],
)
def test_a_constant_dispersion_is_the_plain_model(
    response: str, family: str, parameter: str
) -> None:
    formula = f"{response} ~ x + (1 | g)"
    plain = jg.glmm(formula, table(), family)
    own = jg.glmm(formula, table(), family, dispersion="~ 1")
    np.testing.assert_allclose(own.log_likelihood, plain.log_likelihood, rtol=1e-12)
    assert (own.aic, own.df_residual) == (pytest.approx(plain.aic), plain.df_residual)
    ours, theirs = own.fixed_effects(), plain.fixed_effects()
    cond = ours[ours["component"] == "cond"]
    for column in ("estimate", "std_error", "df"):
        np.testing.assert_allclose(cond[column], theirs[column], rtol=1e-6)
    disp = ours[ours["component"] == "disp"].iloc[0]
    value = plain.family_parameters[parameter]
    row = plain.covariance_parameters().set_index("name1").loc[parameter]
    np.testing.assert_allclose(disp["estimate"], np.log(value), rtol=1e-6)
    np.testing.assert_allclose(disp["std_error"], row["std_error"] / value, rtol=1e-5)
    np.testing.assert_allclose(own.fitted(), plain.fitted(), rtol=1e-7)


def test_a_hurdle_is_two_models() -> None:
    """Zeros or not, and how much: nothing of the one enters the other."""
    data = table().assign(zero=(table()["z"] == 0).astype(int))
    one = jg.glmm("z ~ x + (1 | g)", data, "gamma", zero_inflation="~ x + (1 | g)")
    zero = jg.glmm("zero ~ x + (1 | g)", data, "binomial")
    size = jg.glmm("z ~ x + (1 | g)", data, "gamma", subset=data["z"] > 0)
    total = zero.log_likelihood + size.log_likelihood
    np.testing.assert_allclose(one.log_likelihood, total, rtol=1e-12)
    table_ = one.fixed_effects().set_index("component")
    for component, part in (("cond", size), ("zi", zero)):
        for column in ("estimate", "std_error"):
            expected = part.fixed_effects()[column]
            np.testing.assert_allclose(table_.loc[component, column], expected, rtol=1e-5)
    assert one.family_parameters == pytest.approx(size.family_parameters, rel=1e-6)


def test_a_dispersion_by_group_is_two_models() -> None:
    whole = jg.glmm("y ~ f * x", table(), "gaussian", dispersion="~ 0 + f")
    parts = [jg.glmm("y ~ x", table(), subset=table()["f"] == level) for level in "ab"]
    total = sum(part.log_likelihood for part in parts)
    np.testing.assert_allclose(whole.log_likelihood, total, rtol=1e-12)
    disp = whole.fixed_effects().query("component == 'disp'")
    sigmas = [part.family_parameters["sigma"] for part in parts]
    np.testing.assert_allclose(np.exp(disp["estimate"]), sigmas, rtol=1e-7)


def test_predictions() -> None:
    one, data = fit("both"), table()
    beta = one.fixed_effects()["estimate"].to_numpy()
    effects = one.random_effects().set_index("level")["estimate"].loc[data["g"]].to_numpy()
    for kind, random in (("population", 0.0), ("conditional", effects)):
        eta = beta[0] + beta[1] * data["x"] + random
        logit = beta[4] + beta[5] * data["x"] + data["le"]
        mean = np.exp(eta) * special.expit(-logit)
        np.testing.assert_allclose(one.predict(kind=kind, scale="link"), eta, rtol=1e-12)
        np.testing.assert_allclose(one.fitted(kind=kind), mean, rtol=1e-12)
        some = data.iloc[5:15]
        np.testing.assert_allclose(one.predict(some, kind=kind), mean[5:15], rtol=1e-12)
        np.testing.assert_allclose(one.predict(some, kind=kind, scale="link"), eta[5:15])


def test_predictions_with_random_effects_of_both_formulas() -> None:
    one, data = fit("zip"), table()
    np.testing.assert_allclose(one.predict(data), one.fitted(), rtol=1e-13)
    zi = one.random_effects().query("component == 'zi'").set_index(["group", "level"])["estimate"]
    beta = one.fixed_effects().query("component == 'zi'")["estimate"].to_numpy()
    random = zi.loc["g"].loc[data["g"]].to_numpy() + zi.loc["h"].loc[data["h"]].to_numpy()
    thinned = special.expit(-(beta[0] + beta[1] * data["x"] + random))
    mu = np.exp(one.predict(scale="link"))
    np.testing.assert_allclose(one.fitted(), thinned * mu, rtol=1e-12)


def test_summary_prints_the_parts() -> None:
    text = " ".join(str(fit("zip").summary()).split())
    for line in (
        "Zero inflation: ~ x + (1 | g) + (1 | h)",
        "Fixed effects, conditional model",
        "Fixed effects, zero-inflation model (logit link)",
        "Random effects (zero-inflation model)",
    ):
        assert line in text
    text = " ".join(str(fit("both").summary()).split())
    assert "Dispersion: ~ f" in text
    assert "Fixed effects, dispersion model (log link)" in text
    assert "Correlations of random effects" in str(fit("tied").summary())


@pytest.mark.parametrize("name", CALLS)
def test_a_saved_fit_is_the_same(name: str, tmp_path: Path) -> None:
    one = fit(name)
    one.save(tmp_path / "fit")
    two = jg.load(tmp_path / "fit")
    for call in ("fixed_effects", "covariance_parameters", "random_effects", "vcov"):
        pd.testing.assert_frame_equal(getattr(one, call)(), getattr(two, call)())
    np.testing.assert_array_equal(one.fitted(), two.fitted())
    assert str(one.summary()) == str(two.summary())


def structures(**arguments: Any) -> list[tuple[Any, str]]:
    """The predictor and structure of every term of k ~ x + (x | g), zeros ~ (x | g) + (1 | h)."""
    problem, _ = jg.build(
        "k ~ x + (x | g)", table(), "poisson", zero_inflation="~ (x | g) + (1 | h)", **arguments
    )
    return [
        (term.predictor, type(term.covariance).__name__)
        for grouping in problem.groupings
        for term in grouping.terms
    ]


def test_structures_of_further_formulas() -> None:
    plain = [(0, "Unstructured"), (1, "Unstructured"), (1, "Unstructured")]
    main, zeros = [(0, "Diagonal"), *plain[1:]], [plain[0], (1, "Diagonal"), plain[2]]
    assert structures() == plain
    assert structures(covariance={"g": "diag"}) == main
    assert structures(covariance={"zi": {"g": "diag"}}) == zeros
    assert structures(covariance={"g": "diag", "zi": {"g": "diag"}}) == [*main[:1], *zeros[1:]]
    assert structures(covariance={"zi": {"g": np.eye(2)}})[1][1] == "Pattern"


@pytest.mark.parametrize(
    ("covariance", "message"),
    [
        ({"h": "diag"}, r"'h', which is none of the main formula's \(g\).*{'zi': {...}}"),
        ({"zi": {"i": "diag"}}, r"covariance\['zi'\] names the group 'i'.*\(g, h\)"),
        ({"disp": {"g": "diag"}}, r"covariance\['disp'\] is a dict.*those are 'cond', 'zi'"),
        ({"zi": {"g": "unknown"}}, r"covariance\['zi'\]\['g'\]='unknown'"),
        ({"zi": {"g": np.eye(3)}}, r"covariance\['zi'\]\['g'\] has shape \(3, 3\)"),
    ],
)
def test_structures_of_no_formula_are_refused(covariance: Any, message: str) -> None:
    with pytest.raises(jg.InputError, match=message):
        structures(covariance=covariance)


def test_no_zero_inflation_is_the_plain_model() -> None:
    plain, empty = (
        jg.glmm("k ~ x", table(), "poisson", zero_inflation=text) for text in (None, "~ 0")
    )
    assert plain.log_likelihood == empty.log_likelihood


def test_weights_beside_a_dispersion_formula() -> None:
    """They divide sigma^2 as they do elsewhere, or multiply on request; rows of weight zero are
    out, wherever their predictors are."""
    data = table().assign(w=np.resize([0.0, 2.0, 1.0, 0.5], 240))
    counts = (data["w"] > 0).to_numpy()
    away = data.assign(x=data["x"].where(counts, 1e6))
    for weights in ("prior", "likelihood"):
        one = jg.glmm(
            "y ~ x", away, weights="w", dispersion="~ x", control=jg.Control(weights=weights)
        )
        beta, rows = one.fixed_effects()["estimate"].to_numpy(), data[counts]
        sigma = np.exp(beta[2] + beta[3] * rows["x"])
        power = 1.0 if weights == "prior" else rows["w"]
        sigma = sigma / np.sqrt(rows["w"]) if weights == "prior" else sigma
        density = stats.norm.logpdf(rows["y"], beta[0] + beta[1] * rows["x"], sigma)
        np.testing.assert_allclose(one.log_likelihood, np.sum(power * density), rtol=1e-12)
        assert one.converged


def test_columns_of_each_formula_are_dropped_on_their_own() -> None:
    one = jg.glmm("y ~ x", table(), dispersion="~ x + I(2 * x)")
    assert one.data_info.dropped_columns == ("disp_I(2 * x)",)
    assert one.status == "rank_deficient"


def test_rows_without_a_value_in_any_formula_are_dropped() -> None:
    data = table().assign(le=table()["le"].where(table().index > 2))
    assert jg.glmm("y ~ x", data, dispersion="~ le").num_obs == 237


def test_zero_inflation_without_zeros() -> None:
    """The share of zeros runs to none: a status, no wild number under "converged"."""
    one = jg.glmm("y ~ x", table().assign(y=table()["k"] + 1), "poisson", zero_inflation="~ 1")
    assert not one.converged
    assert one.status == "separated"
