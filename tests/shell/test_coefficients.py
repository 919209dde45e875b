"""Tables, covariances and tests of coefficients."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import linalg, stats

import jaxglmm as jg
from jaxglmm.frontend.freedom import freedom_of
from jaxglmm.inference.freedom import ClusterRobust

from . import reference

SLEEP = "Reaction ~ Days + (Days | Subject)"
FAR = "Reaction ~ I(Days + 2000) + (1 | Subject)"
CBPP = "incidence / size ~ period + (1 | herd)"


@functools.cache
def sleep(formula: str = SLEEP, method: str = "reml") -> jg.GLMM:
    return jg.glmm(formula, jg.datasets.load("sleepstudy"), method=method)


@functools.cache
def cbpp() -> jg.GLMM:
    return jg.glmm(CBPP, jg.datasets.load("cbpp"), "binomial")


@functools.cache
def seeds() -> jg.GLMM:
    return jg.glmm("cbind(r, n - r) ~ root * seed", jg.datasets.load("seeds"), "binomial")


@functools.cache
def unbalanced() -> jg.GLMM:
    """sleepstudy[-c(1:7, 25, 33:38, 52, 61:63, 90, 111:115, 140, 171), ] in R, every third subject
    of another sex."""
    data = jg.datasets.load("sleepstudy")
    gone = np.r_[1:8, 25, 33:39, 52, 61:64, 90, 111:116, 140, 171] - 1
    subject = np.arange(180) // 10
    data["sex"] = np.where(subject % 3 == 2, "f", "m")
    rest = data.drop(index=data.index[gone])
    return jg.glmm("Reaction ~ Days * sex + (Days | Subject)", rest, method="reml")


# ----- one coefficient ---------------------------------------------------------------------------


def test_residual_degrees_of_freedom_are_those_of_the_t_law() -> None:
    found = cbpp().fixed_effects(df="residual", level=0.9)
    df = 56 - 4
    t = found["estimate"] / found["std_error"]
    np.testing.assert_allclose(found["p_value"], 2 * stats.t.sf(abs(t), df), rtol=1e-9)
    width = stats.t.ppf(0.95, df) * found["std_error"]
    np.testing.assert_allclose(found["conf_high"] - found["estimate"], width, rtol=1e-9)
    terms = cbpp().anova("marginal")
    one = terms[terms["num_df"] == 1].iloc[0]
    assert one["statistic"] == pytest.approx(t[0] ** 2)
    assert one["p_value"] == pytest.approx(found["p_value"][0])


def test_kenward_roger_goes_with_its_own_covariance() -> None:
    fit = unbalanced()
    found = fit.fixed_effects(df="kenward_roger")
    own = fit.vcov("kenward_roger").to_numpy()
    np.testing.assert_allclose(found["std_error"], np.sqrt(np.diag(own)))
    assert np.all(found["std_error"] > np.sqrt(np.diag(fit.vcov("conditional"))))
    with pytest.raises(jg.InputError, match="covariance matrix of its own"):
        fit.fixed_effects(df="kenward_roger", vcov="joint")


def test_an_unbalanced_design() -> None:
    """lmerTest 3.1-3 and pbkrtest 0.5.2, whose fit is within 1e-5 of the maximum: summary(m),
    KRmodcomp(m, small), SATmodcomp(m, small), Anova(m, type = 2, test = "F") of car."""
    fit = unbalanced()
    found = fit.fixed_effects(df="satterthwaite")
    np.testing.assert_allclose(
        found["std_error"], [14.217045528, 2.592659129, 17.309160094, 3.157883411], rtol=5e-5
    )
    np.testing.assert_allclose(
        found["df"], [16.00363518, 15.02792921, 15.65047610, 14.73746134], rtol=1e-4
    )
    found = fit.fixed_effects(df="kenward_roger")
    np.testing.assert_allclose(
        found["std_error"], [14.342654273, 2.605736091, 17.454028791, 3.172610186], rtol=5e-5
    )
    np.testing.assert_allclose(
        found["df"], [15.46568047, 16.21227356, 15.12154421, 15.89774824], rtol=1e-5
    )
    together = fit.coef_test(df="kenward_roger").iloc[0]
    expected = [14.81888, 3, 16.62055, 5.9344e-05]  # F scaled by 0.9417
    np.testing.assert_allclose(together, expected, rtol=5e-4)
    together = fit.coef_test(df="satterthwaite").iloc[0]
    np.testing.assert_allclose(together, [15.865422, 3, 15.16091, 6.0818e-05], rtol=5e-4)
    found = fit.anova("II", df="kenward_roger")
    np.testing.assert_allclose(found["statistic"], [46.27876, 0.00717, 0.92762], rtol=7e-4)
    np.testing.assert_allclose(found["den_df"], [15.570376, 15.457092, 15.897748], rtol=1e-5)


def test_satterthwaite_of_another_law_is_large_where_groups_hardly_matter() -> None:
    """The intercept's degrees of freedom are about those of herds, contrasts within them have many
    more."""
    df = cbpp().fixed_effects(df="satterthwaite")["df"]
    assert 10 < df[0] < 40 and np.all(df[1:] > 1000)
    adjusted = cbpp().fixed_effects(df="kenward_roger")
    np.testing.assert_allclose(adjusted["df"], df, rtol=0.1)
    assert np.all(adjusted["std_error"] >= np.sqrt(np.diag(cbpp().vcov("conditional"))))


@pytest.mark.slow
def test_kenward_roger_of_pseudo_likelihood() -> None:
    """For the normal law it is REML; elsewhere the weights are those of the working responses."""
    found, expected = (sleep(SLEEP, m).fixed_effects(df="kenward_roger") for m in ("rempl", "reml"))
    for column in ("std_error", "df"):
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-5)
    data = jg.datasets.load("cbpp")
    fit = jg.glmm(CBPP, data, "binomial", link="probit", method="rempl")
    problem = fit.problem
    eta = fit.fitted(scale="link")
    mu, slope = stats.norm.cdf(eta), stats.norm.pdf(eta)
    variance = mu * (1 - mu) / (problem.trials * slope**2)
    sd = fit.covariance_parameters()["estimate"][0]
    codes = problem.groupings[0].codes
    V = np.diag(variance) + sd**2 * (codes[:, None] == codes)
    Phi = np.linalg.inv(problem.X.T @ np.linalg.solve(V, problem.X))
    np.testing.assert_allclose(fit.adjusted_covariance.conditional, Phi, rtol=1e-6)


def test_what_is_refused() -> None:
    with pytest.raises(jg.InputError, match="choose one of 'none', 'residual'"):
        sleep().fixed_effects(df="satterthwait")
    with pytest.raises(jg.InputError, match="method='reml'"):
        sleep(FAR, "laplace").fixed_effects(df="kenward_roger")
    with pytest.raises(jg.InputError, match="'CR2' is defined for family 'gaussian'"):
        cbpp().vcov({"cluster": "herd", "type": "CR2"})
    with pytest.raises(jg.InputError, match="type.*did you mean|choose one of 'CR0'"):
        cbpp().vcov({"cluster": "herd", "type": "CR3"})
    with pytest.raises(jg.InputError, match="'barn' is no grouping factor or column"):
        cbpp().vcov({"cluster": "barn"})
    with pytest.raises(jg.InputError, match="lie in several clusters"):
        cbpp().vcov({"cluster": "period"})
    with pytest.raises(jg.InputError, match="has 3 entries"):
        cbpp().vcov({"cluster": [1, 2, 3]})
    with pytest.raises(jg.InputError, match="write {'cluster': 'g'}"):
        cbpp().vcov({"clusters": "herd"})
    for ask in (cbpp().vcov, lambda kind: cbpp().fixed_effects(vcov=kind)):
        with pytest.raises(jg.InputError, match="vcov: a ndarray is no kind .* 'joint'"):
            ask(np.eye(4))
    with pytest.raises(jg.InputError, match="vcov: 'bootstrap' is not known"):
        cbpp().vcov("bootstrap")
    with pytest.raises(jg.InputError, match="'satterthwaite' with vcov='robust' is defined for"):
        cbpp().fixed_effects(df="satterthwaite", vcov="robust")
    with pytest.raises(jg.InputError, match="not defined for vcov='kenward_roger'"):
        sleep().fixed_effects(df="satterthwaite", vcov="kenward_roger")


# ----- exponentials ------------------------------------------------------------------------------


def test_exponentials_are_named_by_family_and_link() -> None:
    plain, found = cbpp().fixed_effects(), cbpp().fixed_effects(exponentiate=True)
    assert [*found.columns[len(plain.columns) :]] == [
        "odds_ratio",
        "odds_ratio_low",
        "odds_ratio_high",
    ]
    np.testing.assert_allclose(np.log(found["odds_ratio_high"]), plain["conf_high"])
    linear = sleep().fixed_effects(exponentiate=True)
    assert [*linear.columns[-3:]] == ["exp", "exp_low", "exp_high"]


# ----- robust covariances ------------------------------------------------------------------------


def test_robust_covariance_of_a_linear_model() -> None:
    """clubSandwich 0.5: sqrt(diag(vcovCR(m, type =))); clusters are those of the random effects."""
    fit = unbalanced()
    errors = {
        "CR0": [11.261062075, 2.237996840, 14.965513495, 2.843154119],
        "CR1": [11.587537279, 2.302879750, 15.399386342, 2.925581453],
        "CR2": [12.477001233, 2.455724885, 16.200302537, 3.062657085],
    }
    for kind, expected in errors.items():
        found = np.sqrt(np.diag(fit.vcov({"cluster": "Subject", "type": kind})))
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    degrees = {"CR0": [4.65, 4.89, 9.70, 10.20], "CR2": [4.61, 4.87, 9.16, 9.70]}  # coef_test
    for kind, expected in degrees.items():
        own = {"cluster": "Subject", "type": kind}
        found = fit.fixed_effects(df="satterthwaite", vcov=own)
        np.testing.assert_allclose(found["df"], expected, atol=0.0051)
        terms = fit.anova("II", df="satterthwaite", vcov=own)
        assert terms["den_df"].iloc[-1] == pytest.approx(found["df"].iloc[-1])
    np.testing.assert_array_equal(fit.vcov("robust"), fit.vcov({"cluster": "Subject"}))
    by_array = fit.vcov({"cluster": fit.labels.table["Subject"]})
    np.testing.assert_array_equal(by_array, fit.vcov("robust"))


def test_robust_test_of_several_coefficients_is_hotellings() -> None:
    """All clusters have the same design: n differences of four means, exactly F(3, n - 3)."""
    rng, n = np.random.default_rng(3), 12
    data = pd.DataFrame({"g": np.repeat(np.arange(n), 4), "c": np.tile(list("wxyz"), n)})
    own = rng.normal(size=n)
    data["y"] = rng.normal(size=4 * n) + own[data["g"]] * (1 + (data["c"] == "x"))
    fit = jg.glmm("y ~ c + (1 | g)", data, method="reml")
    Y = data["y"].to_numpy().reshape(n, 4)
    D = Y[:, 1:] - Y[:, :1]
    T2 = n * D.mean(0) @ np.linalg.solve(np.cov(D.T), D.mean(0))
    F = (n - 3) / (3 * (n - 1)) * T2
    clusters = {"cluster": "g", "type": "CR2"}
    means = fit.emmeans("c", df="satterthwaite", vcov=clusters)
    for found in (
        fit.anova("II", df="satterthwaite", vcov=clusters),
        fit.coef_test(df="satterthwaite", vcov=clusters),
        means.joint_tests(),
    ):
        row = found.iloc[0][["statistic", "num_df", "den_df", "p_value"]].astype(float)
        np.testing.assert_allclose(row, [F, 3, n - 3, stats.f.sf(F, 3, n - 3)], rtol=1e-6)


def test_robust_test_of_several_coefficients() -> None:
    """The variances of the entries of L C L', from the covariances of all responses at once."""
    fit = unbalanced()
    for kind in ("CR0", "CR2"):
        freedom = freedom_of(fit, "satterthwaite", {"cluster": "Subject", "type": kind})
        assert isinstance(freedom, ClusterRobust)
        L = np.array([[0.0, 1, 0, 0], [0, 0, 2, 1], [0, 0, -1, 3]])
        w, a = freedom.shares, freedom.spreads
        S = -np.einsum("ra,iba,bc,jcd,td->ijrt", L, w, freedom.conditional, w, L, optimize=True)
        for i in range(len(a)):
            S[i, i] += L @ a[i] @ L.T
        root = np.linalg.inv(np.linalg.cholesky(np.einsum("iirt->rt", S)))
        S = root @ S @ root.T
        variances = np.einsum("ijss,ijtt->", S, S) + np.einsum("ijst,ijts->", S, S)
        nu = 3 * 4 / variances
        found = freedom.together(L)
        np.testing.assert_allclose(found, [nu - 2, (nu - 2) / nu], rtol=1e-8)
        far = freedom.together(L * [[1e-6], [1], [1e6]])
        np.testing.assert_allclose(far, found, rtol=1e-6)
        assert freedom.together(L[:1]).df == pytest.approx(freedom.each(L)[0], rel=1e-12)


def test_more_coefficients_than_clusters() -> None:
    """Their robust covariance has no inverse: no test, instead of one of fewer rows."""
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"g": np.repeat(np.arange(3), 8), "c": np.tile(list("wxyz"), 6)})
    data["y"] = rng.normal(size=24) + rng.normal(size=3)[data["g"]]
    fit = jg.glmm("y ~ c + (1 | g)", data, method="reml")
    for kind in ("CR0", "CR2"):
        clusters = {"cluster": "g", "type": kind}
        for asked in ({"test": "chisq"}, {"df": "satterthwaite"}):
            found = fit.anova("II", vcov=clusters, **asked).iloc[0]
            assert found["num_df"] == 3 and np.isnan([found["statistic"], found["p_value"]]).all()
        means = fit.emmeans("c", df="satterthwaite", vcov=clusters)
        assert np.isnan(means.joint_tests()["p_value"]).all()
        pair = fit.coef_test(np.eye(4)[1:3], df="satterthwaite", vcov=clusters).iloc[0]
        twice = fit.coef_test(np.eye(4)[[1, 1]], df="satterthwaite", vcov=clusters).iloc[0]
        assert pair["num_df"] == 2 and twice["num_df"] == 1 and np.isfinite(twice["p_value"])


def test_robust_covariance_of_another_law() -> None:
    """H^-1 S H^-1 by differences of each herd's own log-likelihood."""
    fit = cbpp()
    problem, data = fit.problem, fit.data
    codes = data.groupings[0].codes
    whole = reference.Model(
        "binomial", problem.y, problem.X, np.ones((56, 1)), codes, problem.trials, np.zeros(56)
    )
    x = np.append(fit.estimate.params.beta, fit.covariance_parameters()["estimate"][0])
    h = np.full(5, 1e-3)
    scores = []
    for herd in range(15):
        own = codes == herd
        part = reference.Model(
            "binomial",
            problem.y[own],
            problem.X[own],
            np.ones((own.sum(), 1)),
            np.zeros(own.sum(), int),
            problem.trials[own],
            np.zeros(own.sum()),
        )
        scores.append(reference.gradient(part.log_likelihood, x, h))
    bread = np.linalg.inv(-reference.hessian(whole.log_likelihood, x, h))
    expected = bread @ np.array(scores).T @ np.array(scores) @ bread
    np.testing.assert_allclose(fit.vcov("robust"), expected[:4, :4], rtol=1e-5)
    table = fit.fixed_effects(vcov={"cluster": "herd", "type": "CR1"})
    np.testing.assert_allclose(
        table["std_error"], np.sqrt(15 / 14 * np.diag(expected)[:4]), rtol=1e-5
    )


# ----- terms -------------------------------------------------------------------------------------


def test_type_two_of_crowders_seeds() -> None:
    """Crowder (1978), table 3: car::Anova of the logistic model of root and seed."""
    found = seeds().anova("II", "chisq")
    assert [*found["term"]] == ["root", "seed", "root:seed"]
    np.testing.assert_allclose(found["statistic"], [53.3974, 3.0426, 6.4477], rtol=2e-5)
    np.testing.assert_array_equal(found["num_df"], 1)
    assert np.isinf(found["den_df"]).all()


def test_type_one_goes_by_the_order_of_the_formula() -> None:
    """Each term after those before it: together they are Wald's statistic of all coefficients."""
    found = seeds().anova("I", "chisq")
    assert [*found["term"]] == ["Intercept", "root", "seed", "root:seed"]
    whole = seeds().coef_test(np.eye(4), test="chisq")["statistic"][0]
    np.testing.assert_allclose(found["statistic"].sum(), whole, rtol=1e-9)
    last = seeds().anova("II", "chisq").iloc[-1]
    np.testing.assert_allclose(found["statistic"].iloc[-1], last["statistic"], rtol=1e-12)
    other = seeds().update(". ~ seed * root").anova("I", "chisq")
    information = np.linalg.inv(seeds().vcov())
    score = information @ seeds().fixed_effects()["estimate"]
    for table, pair in ((found, [0, 1]), (other, [0, 2])):
        # The intercept and the first term where all other coefficients are zero.
        expected = score[pair] @ np.linalg.solve(information[np.ix_(pair, pair)], score[pair])
        np.testing.assert_allclose(table["statistic"][:2].sum(), expected, rtol=1e-6)


def test_type_three_is_the_same_in_every_coding() -> None:
    data = jg.datasets.load("seeds")
    formula = "cbind(r, n - r) ~ root * seed"
    coded = jg.glmm(formula, data, "binomial", contrasts="sum")
    of_coded = coded.anova("marginal", "chisq")
    called = jg.glmm("cbind(r, n - r) ~ C(root) * factor(seed)", data, "binomial")
    plain, wrapped = ["root", "seed"], ["C(root)", "factor(seed)"]
    for fit, (a, b) in ((seeds(), plain), (coded, plain), (called, wrapped)):
        found = fit.anova("III", "chisq")
        assert [*found["term"]] == ["Intercept", a, b, f"{a}:{b}"]
        np.testing.assert_allclose(found["statistic"], of_coded["statistic"], rtol=1e-6)
    apart = seeds().anova("marginal", "chisq")["statistic"]
    assert abs(apart[1] - of_coded["statistic"][1]) > 1


def test_type_three_with_what_transforms_learned_from_more_rows() -> None:
    """The knots of the fit are those of all rows that have the predictor."""
    table = jg.datasets.load("sleepstudy").assign(half=lambda t: np.where(t.Days % 2, "u", "v"))
    table.loc[table.index[[0, 40, 90]], "Reaction"] = np.nan
    formula = "Reaction ~ half + bs(Days, df=4) + (1 | Subject)"
    found = jg.glmm(formula, table).anova("III", test="chisq")
    coded = jg.glmm(formula, table, contrasts="sum").anova("marginal", test="chisq")
    np.testing.assert_allclose(found["statistic"], coded["statistic"], rtol=1e-6)


def test_anova_refuses() -> None:
    with pytest.raises(jg.InputError, match="type='IV' is not known"):
        seeds().anova("IV")
    with pytest.raises(jg.InputError, match="a chi-squared test has no df"):
        seeds().anova("II", "chisq", df="residual")
    data = pd.DataFrame({"a": list("xxyyxxyy"), "b": list("uvuuuvuu"), "y": np.arange(8.0) ** 1.5})
    empty = jg.glmm("y ~ a * b", data)
    assert empty.status == "rank_deficient"
    with pytest.raises(jg.InputError, match="Use 'II' or 'marginal'"):
        empty.anova("III")
    assert len(empty.anova("II")) == 2


# ----- linear hypotheses -------------------------------------------------------------------------


def test_hypotheses_by_rows_and_by_name() -> None:
    fit = cbpp()
    every = fit.anova("marginal").iloc[1]
    found = fit.coef_test().iloc[0]
    np.testing.assert_allclose(found, every[["statistic", "num_df", "den_df", "p_value"]].tolist())
    row = {"period[T.2]": 1.0, "period[T.3]": -1.0}
    named = fit.coef_test(row, 0.2).iloc[0]
    np.testing.assert_allclose(fit.coef_test([0, 1, -1, 0], 0.2).iloc[0], named)
    beta, V = fit.fixed_effects()["estimate"], fit.vcov().to_numpy()
    variance = V[1, 1] + V[2, 2] - 2 * V[1, 2]
    assert named["statistic"] == pytest.approx((beta[1] - beta[2] - 0.2) ** 2 / variance)
    twice = fit.coef_test([row, {name: 2 * v for name, v in row.items()}], [0.2, 0.4]).iloc[0]
    np.testing.assert_allclose(twice, named, rtol=1e-9)


def test_one_sided_hypotheses() -> None:
    fit, row = cbpp(), {"period[T.2]": 1.0}
    both = fit.coef_test(row, -0.5).iloc[0]
    less, greater = (fit.coef_test(row, -0.5, alternative=a).iloc[0] for a in ("less", "greater"))
    estimate, error = fit.fixed_effects()[["estimate", "std_error"]].loc[1]
    assert less["statistic"] == pytest.approx((estimate + 0.5) / error)
    assert less["statistic"] == greater["statistic"] and less["den_df"] == both["den_df"]
    assert less["p_value"] == pytest.approx(both["p_value"] / 2)
    assert greater["p_value"] == pytest.approx(1 - both["p_value"] / 2)
    z = fit.coef_test(row, -0.5, test="chisq", alternative="less").iloc[0]
    assert z["p_value"] == pytest.approx(stats.norm.cdf(less["statistic"]))
    random = fit.coef_test(row, 0.0, np.eye(15)[:1], alternative="less").iloc[0]
    twice = fit.coef_test(row, 0.0, np.eye(15)[:1]).iloc[0]
    assert random["p_value"] == pytest.approx(twice["p_value"] / 2)


@pytest.mark.parametrize("formula, method", [(SLEEP, "reml"), (FAR, "laplace")])
def test_fixed_and_random_effects_together(formula: str, method: str) -> None:
    """Henderson's equations in full. The second fit runs in another basis of its fixed effects."""
    fit = sleep(formula, method)
    grouping, X = fit.problem.groupings[0], np.asarray(fit.problem.X)
    q, levels = grouping.num_columns, grouping.num_levels
    columns = np.broadcast_to(grouping.Z, (180, q))
    Z = (np.eye(levels)[grouping.codes][:, :, None] * columns[:, None, :]).reshape(180, -1)
    table = fit.covariance_parameters()
    sd = table["estimate"][:q].to_numpy()
    G = np.diag(sd) @ np.eye(q) @ np.diag(sd)
    if q == 2:
        G[0, 1] = G[1, 0] = table["estimate"][2] * sd.prod()
    s2 = fit.family_parameters["sigma"] ** 2
    both = np.hstack([X, Z])
    prior = linalg.block_diag(np.zeros((2, 2)), np.kron(np.eye(levels), np.linalg.inv(G)))
    C = np.linalg.inv(both.T @ both / s2 + prior)
    h, k = np.array([1.0, 3.0]), np.zeros(levels * q)
    k[[0, q]] = 1.0, -0.5
    row = np.concatenate([h, k])
    modes = fit.random_effects()["estimate"].to_numpy()
    apart = row @ np.concatenate([fit.fixed_effects()["estimate"], modes]) - 4.0
    found = fit.coef_test(h, 4.0, k).iloc[0]
    assert found["statistic"] == pytest.approx(apart**2 / (row @ C @ row), rel=1e-6)
    assert found["den_df"] == fit.df_residual


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"H": [[1.0, 2.0]]}, "H has shape \\(1, 2\\), but needs 4 columns"),
        ({"H": {"age": 1}}, "'age' is no fixed effect of this fit"),
        ({"H": np.eye(4)[[1, 1]], "c": [0, 1]}, "contradict each other"),
        ({"H": np.eye(4), "c": [0, 1]}, "one for each of 4 rows"),
        ({"K": np.eye(4)}, "K has shape \\(4, 4\\), but needs 15 columns"),
        ({"H": np.eye(4)[:2], "K": np.eye(15)[:1]}, "H has 2 rows and K has 1"),
        ({"K": np.eye(15)[:1], "df": "satterthwaite"}, "take variances as known"),
        ({"H": [["a"] * 4]}, "expected numbers"),
        ({"alternative": "less"}, "a one-sided test has one row, but H has 3"),
        ({"alternative": "one-sided"}, "alternative="),
    ],
)
def test_hypotheses_that_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(jg.InputError, match=message):
        cbpp().coef_test(**arguments)
