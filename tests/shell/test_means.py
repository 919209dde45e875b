"""Marginal means of a fit: grids, weights, scales, what is not estimable, what is refused."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxglmm as jg


@functools.cache
def table() -> pd.DataFrame:
    rng = np.random.default_rng(3)
    n = 90
    data = pd.DataFrame(
        {
            "a": rng.choice(list("xyz"), n, p=[0.5, 0.3, 0.2]),
            "b": rng.choice(["p", "q"], n, p=[0.7, 0.3]),
            "dose": rng.choice([1, 2, 4], n),
            "w": rng.normal(size=n),
            "e": rng.uniform(1, 3, n),
            "late": rng.integers(0, 2, n),
            "g": rng.integers(0, 9, n),
        }
    )
    eta = 0.4 + 0.5 * (data.a == "y") + 0.3 * data.w + 0.4 * rng.normal(size=9)[data.g]
    data["y"] = rng.poisson(np.exp(eta) * data.e)
    return data


FORMULA = "y ~ a * b + w + C(dose) + late + offset(log(e)) + (1 | g)"


@functools.cache
def counts() -> Any:
    return jg.glmm(FORMULA, table(), family="poisson")


def by_hand(**columns: Any) -> np.ndarray:
    """Linear predictors of new rows, random effects at zero."""
    new = pd.DataFrame(columns)
    return counts().predict(new, kind="population", scale="link")


def centre() -> dict[str, float]:
    return {"w": table().w.mean(), "e": table().e.mean()}


def test_a_mean_averages_the_grid() -> None:
    """Levels of all factors, both values of `late`, the three of C(dose); covariates at means."""
    for level, mean in zip("xyz", counts().emmeans("a")["estimate"], strict=True):
        grid = pd.MultiIndex.from_product([[level], ["p", "q"], [1, 2, 4], [0, 1]]).to_frame()
        grid.columns = ["a", "b", "dose", "late"]
        cells = by_hand(**{name: grid[name].to_numpy() for name in grid}, **repeated(len(grid)))
        assert mean == pytest.approx(cells.mean(), rel=1e-12)


def repeated(number: int) -> dict[str, np.ndarray]:
    return {name: np.full(number, value) for name, value in centre().items()}


@pytest.mark.parametrize("weights", ["proportional", "outer", "cells", "flat"])
def test_weights_are_frequencies(weights: str) -> None:
    """Of b within a, the other variables fixed."""
    fixed = {"dose": [2], "late": [1]}
    found = counts().emmeans("a", at=fixed, weights=weights)
    rows = table()[(table().dose == 2)]
    cells = counts().emmeans(["b", "a"], at=fixed)
    margin = pd.crosstab(rows.a, rows.b)
    share = margin if weights == "cells" else (margin > 0).astype(float)
    if weights in ("proportional", "outer"):
        share = margin * 0.0 + margin.sum(axis=0)
    values = cells.pivot(index="a", columns="b", values="estimate")
    expected = (values * share).sum(axis=1) / share.sum(axis=1)
    np.testing.assert_allclose(found["estimate"], expected, rtol=1e-10)


def test_means_are_these_linear_functions() -> None:
    """Rows of emmeans' `linfct`: averages of the grid's rows of X."""
    fit = deficient()
    L = fit.emmeans("a", at={"b": ["p", "q"]}).estimates.linear.L
    np.testing.assert_allclose(L[1], [1, 1, 0, 0.5, 0.5, 0], rtol=1e-15)


def test_order_labels_and_by() -> None:
    found = counts().emmeans("~ a | b")
    assert list(found["a"]) == ["x", "y", "z"] * 2 and list(found["b"]) == ["p"] * 3 + ["q"] * 3
    assert isinstance(found, pd.DataFrame) and type(found[found["b"] == "p"]) is pd.DataFrame
    pairs = found.contrast()
    assert list(pairs["contrast"]) == ["x - y", "x - z", "y - z"] * 2
    within = found.contrast(by=[])
    assert len(within) == 15 and within["contrast"][0] == "x p - y p"
    dose = counts().emmeans("dose", scale="response").contrast("trt.vs.ctrl", ref="4")
    assert list(dose["contrast"]) == ["dose1 / dose4", "dose2 / dose4"]


def test_ratios_and_differences_of_means() -> None:
    """Logarithms' differences are ratios; regrid() gives differences of the means themselves."""
    link, response = (counts().emmeans("a", scale=s) for s in ("link", "response"))
    ratios = response.contrast(adjust="none")
    np.testing.assert_allclose(ratios["estimate"], np.exp(link.contrast()["estimate"]), rtol=1e-12)
    plain = response.contrast(ratios=False)
    np.testing.assert_allclose(plain["estimate"], link.contrast()["estimate"], rtol=1e-12)
    again, mean = response.regrid(), response["estimate"].to_numpy()
    np.testing.assert_allclose(again["std_error"], response["std_error"], rtol=1e-12)
    assert again.contrast()["estimate"][0] == pytest.approx(mean[0] - mean[1], rel=1e-12)
    np.testing.assert_allclose(response["estimate"], np.exp(link["estimate"]), rtol=1e-12)


def test_a_custom_contrast_and_its_joint_test() -> None:
    means = counts().emmeans("a")
    values = means["estimate"].to_numpy()
    made = means.contrast({"x against others": [1, -0.5, -0.5], "y - z": [0, 1, -1]})
    assert made["estimate"][0] == pytest.approx(values[0] - values[1:].mean(), rel=1e-10)
    as_matrix = means.contrast(np.array([[1, -0.5, -0.5], [0, 1, -1]]))
    np.testing.assert_allclose(as_matrix["estimate"], made["estimate"], rtol=1e-14)
    tests = [made.joint_tests(), means.joint_tests(), means.contrast().joint_tests()]
    assert [t["num_df"][0] for t in tests] == [2, 2, 2]
    np.testing.assert_allclose([t["statistic"][0] for t in tests], tests[0]["statistic"][0])


def test_contrasts_of_contrasts_are_the_interaction() -> None:
    means = counts().emmeans(["a", "b"])
    made = means.contrast("consec", interaction=True)
    beta = counts().fixed_effects().set_index("term")["estimate"]
    own = [beta["a[T.y]:b[T.q]"], beta["a[T.z]:b[T.q]"]]
    np.testing.assert_allclose(made["estimate"], [own[0], own[1] - own[0]], rtol=1e-9)
    joint = means.joint_tests().set_index("term")
    assert list(joint.index) == ["a", "b", "a:b"] and list(joint["num_df"]) == [2, 1, 2]
    assert made.joint_tests()["statistic"][0] == pytest.approx(joint["statistic"]["a:b"])


def test_offsets() -> None:
    """The formula's at the covariate's mean; a number instead of it."""
    usual, none = (counts().emmeans("a", offset=o)["estimate"] for o in (None, 0.0))
    np.testing.assert_allclose(usual - none, np.log(table().e.mean()), rtol=1e-10)
    data = table()
    given = np.log(data.e.to_numpy())
    fit = jg.glmm("y ~ a + (1 | g)", data, family="poisson", offset=given)
    usual, none = (fit.emmeans("a", offset=o)["estimate"] for o in (None, 0.0))
    np.testing.assert_allclose(usual - none, given.mean(), rtol=1e-10)


def test_slopes() -> None:
    """A linear term's is its coefficient; that of the mean is the mean times it."""
    beta = counts().fixed_effects().set_index("term").loc["w"]
    link = counts().emtrends("a", "w")
    np.testing.assert_allclose(link["estimate"], beta["estimate"], rtol=1e-9)
    np.testing.assert_allclose(link["std_error"], beta["std_error"], rtol=1e-7)
    at = {"b": "p", "dose": 1, "late": 0, "w": 0.5}
    response = counts().emtrends("a", "w", at=at, scale="response")
    means = counts().emmeans("a", at=at, scale="response")["estimate"]
    np.testing.assert_allclose(response["estimate"], means * beta["estimate"], rtol=1e-6)
    steps = {sign: counts().emmeans("a", at=at | {"w": 0.5 + sign * 1e-4}) for sign in (-1, 1)}
    both = np.exp([steps[1]["estimate"], steps[-1]["estimate"]])
    np.testing.assert_allclose(response["estimate"], (both[0] - both[1]) / 2e-4, rtol=1e-6)


def test_bias_adjustment() -> None:
    """exp(eta) (1 + sigma^2 / 2) for a logarithm, with the variance of the random intercept."""
    plain, adjusted, given = (
        counts().emmeans("a", scale="response", bias_adjust=b)["estimate"]
        for b in (False, True, 0.7)
    )
    sd = counts().covariance_parameters()["estimate"][0]
    np.testing.assert_allclose(adjusted / plain, 1 + sd**2 / 2, rtol=1e-9)
    np.testing.assert_allclose(given / plain, 1 + 0.7**2 / 2, rtol=1e-12)


def test_degrees_of_freedom_widen_limits() -> None:
    none, residual, few = (counts().emmeans("a", df=df) for df in ("none", "residual", 5))
    assert list(residual["df"]) == [counts().df_residual] * 3 and np.isinf(none["df"]).all()
    width = [(t["conf_high"] - t["conf_low"]).iloc[0] for t in (none, residual, few)]
    assert width[0] < width[1] < width[2]
    conditional = counts().emmeans("a", vcov="conditional")
    assert (conditional["std_error"] != none["std_error"]).any()


def test_one_sided_tests_against_a_control() -> None:
    """Dunnett's, by SciPy, of a balanced one-way layout; limits hold where p is 1 - level."""
    rng = np.random.default_rng(6)
    data = pd.DataFrame({"a": np.repeat(list("wxyz"), 8)})
    data["y"] = rng.normal(size=32) + 0.6 * (data["a"] != "w")
    control, *others = (part["y"].to_numpy() for _, part in data.groupby("a"))
    means = jg.glmm("y ~ a", data, method="reml").emmeans("a", df="residual")
    for alternative in ("greater", "less"):
        ours = means.contrast("trt.vs.ctrl", alternative=alternative)
        theirs = stats.dunnett(*others, control=control, alternative=alternative, rng=rng)
        np.testing.assert_allclose(ours["p_value"], theirs.pvalue, atol=2e-4)
        limits = theirs.confidence_interval(0.95)
        np.testing.assert_allclose(ours["conf_low"], limits.low, rtol=2e-3)
        np.testing.assert_allclose(ours["conf_high"], limits.high, rtol=2e-3)
        assert f"one-sided tests and limits: {alternative} than zero" in ours.notes
        assert "p-values and limits of 3 together: multivariate t" in ours.notes


def test_one_sided_limits_end_where_the_means_end() -> None:
    """A limit of level 0.95 is one of a two-sided interval of level 0.9."""
    for scale, ends in (("link", (-np.inf, np.inf)), ("response", (0.0, np.inf))):
        both = counts().emmeans("a", scale=scale, level=0.9)
        less, greater = (
            counts().emmeans("a", scale=scale, alternative=side) for side in ("less", "greater")
        )
        np.testing.assert_allclose(less["conf_high"], both["conf_high"], rtol=1e-12)
        np.testing.assert_allclose(greater["conf_low"], both["conf_low"], rtol=1e-12)
        assert (less["conf_low"] == ends[0]).all() and (greater["conf_high"] == ends[1]).all()
        np.testing.assert_allclose(less["p_value"] + greater["p_value"], 1.0, rtol=1e-12)
    two, one = (counts().emmeans("a", alternative=side) for side in ("two-sided", "less"))
    assert list(one.cld()["letters"]) == list(two.cld()["letters"])
    back = one.contrast(alternative="two-sided")
    pd.testing.assert_frame_equal(back.table(), two.contrast().table())


def test_one_sided_limits_of_a_falling_link() -> None:
    """1 / mu is less than its upper limit where mu is greater than its lower one."""
    data = table().assign(y=np.random.default_rng(9).gamma(9.0, 1.0 + (table().a == "x")))
    fit = jg.glmm("y ~ a", data, family="gamma", link="inverse")
    both = fit.emmeans("a", scale="response", level=0.9)
    less = fit.emmeans("a", scale="response", alternative="less")
    np.testing.assert_allclose(less["conf_low"], both["conf_low"], rtol=1e-12)
    assert np.isinf(less["conf_high"]).all()


@functools.cache
def deficient() -> Any:
    """No rows with a = z and b = q."""
    data = table()
    kept = data[(data.a != "z") | (data.b != "q")]
    return jg.glmm("y ~ a * b + (1 | g)", kept, family="poisson")


def test_means_that_the_data_do_not_determine_are_nan() -> None:
    fit = deficient()
    assert fit.status == "rank_deficient"
    cells = fit.emmeans(["a", "b"])
    lost = (cells["a"] == "z") & (cells["b"] == "q")
    np.testing.assert_array_equal(cells["estimate"].isna(), lost)
    np.testing.assert_array_equal(fit.emmeans("a")["estimate"].isna(), [False, False, True])
    kept = fit.emmeans("a", at={"b": "p"})
    assert kept["estimate"].notna().all()
    assert list(fit.emmeans("a").cld()["letters"])[2] == ""
    joint = fit.emmeans(["a", "b"]).joint_tests().set_index("term")
    assert joint["num_df"]["a:b"] == 1
    assert "columns were dropped" in repr(cells)


@pytest.mark.slow
def test_zero_inflation() -> None:
    """The response's mean is (1 - pi) mu, its error by the delta method."""
    data = table().assign(y=table().y * (table().late + (table().w > 0) > 0))
    fit = jg.glmm("y ~ a + (1 | g)", data, family="poisson", zero_inflation="~ b")
    mean = fit.emmeans(["a", "b"], component="response")
    mu = fit.emmeans("a", scale="response")["estimate"].to_numpy()
    pi = fit.emmeans("b", component="zi", scale="response")["estimate"].to_numpy()
    np.testing.assert_allclose(mean["estimate"], np.outer(1 - pi, mu).ravel(), rtol=1e-10)
    half = 1e-5 * np.eye(4)
    V = fit.vcov().to_numpy()
    beta = np.asarray(fit.estimate.params.beta)

    def value(beta: np.ndarray) -> float:
        return float(np.exp(beta[0]) / (1 + np.exp(beta[3])))

    gradient = np.append([(value(beta + h) - value(beta - h)) / 2e-5 for h in pad(half)], 0.0)
    assert mean["std_error"][0] == pytest.approx(np.sqrt(gradient @ V @ gradient), rel=1e-6)


def pad(steps: np.ndarray) -> np.ndarray:
    return np.column_stack([steps, np.zeros(len(steps))])


def test_a_saved_fit_has_the_same_means(tmp_path: Path) -> None:
    counts().save(tmp_path / "fit")
    again = jg.load(tmp_path / "fit").emmeans("a:b", scale="response")
    pd.testing.assert_frame_equal(again.table(), counts().emmeans("a:b", scale="response").table())


REFUSED = [
    (lambda f: f.emmeans("A"), "Did you mean 'a'?"),
    (lambda f: f.emmeans("g"), "is no variable of the fixed part"),
    (lambda f: f.emmeans("a", at={"b": ["r"]}), "levels 'p', 'q', but was given 'r'"),
    (lambda f: f.emmeans("dose", at={"dose": 3}), "levels '1', '2', '4'"),
    (lambda f: f.emmeans("a", at={"w": "high"}), "'w' is a covariate"),
    (lambda f: f.emmeans("a", at={"z": 1}), "at: 'z'"),
    (lambda f: f.emmeans("a", scale="probability"), "scale="),
    (lambda f: f.emmeans("a", weights="equals"), "weights='equals'"),
    (lambda f: f.emmeans("a", weights=[1, 2]), "expected 12 numbers"),
    (lambda f: f.emmeans("a", adjust="tuckey"), "Did you mean 'tukey'?"),
    (lambda f: f.emmeans("a", component="zi"), "component='zi'"),
    (lambda f: f.emmeans("a", mode="prob"), "ordinal"),
    (lambda f: f.emmeans("a", df="kr"), "df="),
    (lambda f: f.emmeans("a", df=-2), "df: -2"),
    (lambda f: f.emmeans("a", bias_adjust=True), "scale='response'"),
    (lambda f: f.emmeans("pairwise ~ a"), "before the '~'"),
    (lambda f: f.emmeans("a", component="response", df="satterthwaite"), "delta method"),
    (lambda f: f.emmeans("a").contrast([1, -1]), "2 coefficients, but there are 3 means"),
    (lambda f: f.emmeans("a").contrast({"x - y": {"x": 1, "y": -1}}), "one for each of 3 means"),
    (lambda f: f.emmeans("a").contrast("pairs"), "method='pairs'"),
    (lambda f: f.emmeans("a").contrast("trt.vs.ctrl", ref="q"), "ref: 'q'"),
    (lambda f: f.emmeans("a").contrast(by="b"), "by: 'b'"),
    (lambda f: f.emmeans("a").contrast().cld(), "letters are for means"),
    (lambda f: f.emtrends("b", "a"), "'a' is a factor"),
    (lambda f: f.emmeans("a", alternative="one-sided"), "alternative="),
    (lambda f: f.emmeans("a").contrast(alternative=">"), "alternative="),
]


@pytest.mark.parametrize(("ask", "says"), REFUSED)
def test_bad_questions_say_what_to_do(ask: Any, says: str) -> None:
    with pytest.raises(jg.InputError) as error:
        ask(counts())
    assert says in str(error.value)


def test_marginaleffects_agrees() -> None:
    """Average predictions over a balanced grid are emmeans' after regrid()."""
    effects = pytest.importorskip("marginaleffects")
    fit = counts()
    model = fit.to_marginaleffects()
    grid = effects.datagrid(model=model, a=["x", "y", "z"], b="p", dose="1", late=0)
    found = effects.predictions(model, newdata=grid)
    at = {"b": "p", "dose": 1, "late": 0}
    ours = fit.emmeans("a", at=at, scale="response").regrid()
    for name in ("estimate", "std_error", "conf_low"):
        np.testing.assert_allclose(found[name].to_numpy(), ours[name], rtol=1e-5)
