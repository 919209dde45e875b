"""Legal data that fits badly: the status says so, and no number lies."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import jaxglmm as jg

from .reference import Model

# One shape for most of this file: 24 rows, six groups of four, so that programs are shared.
G = np.repeat(np.arange(6), 4)
X = np.tile([-1.5, -0.5, 0.5, 1.5], 6) + 0.1 * G
COUNTS = np.random.default_rng(8).poisson(np.exp(0.6 + 0.3 * X + 0.5 * np.sin(3 * G)))
FIXED, MIXED = "y ~ x", "y ~ x + (1 | g)"


def table(**columns: Any) -> dict[str, Any]:
    return {"x": X, "g": G, "y": COUNTS.astype(float), **columns}


def checked(formula: str, data: Any, family: str = "gaussian", **arguments: Any) -> jg.GLMM:
    """A fit whose tables all come, without NaN estimates under a converged status."""
    fit = jg.glmm(formula, data, family=family, **arguments)
    tables = fit.fixed_effects(), fit.covariance_parameters(), fit.random_effects()
    fit.vcov("conditional"), fit.random_effects(uncertainty="joint")
    assert fit.status in str(fit.summary()) or fit.converged
    assert len(fit.status_message) > 20
    if fit.converged:
        offset = arguments.get("offset")
        assert np.isfinite(fit.predict(data, offset=offset)).all()
        assert np.isfinite([fit.log_likelihood, fit.aic, fit.bic]).all()
        for one in tables:
            assert np.isfinite(one["estimate"]).all()
        assert np.isfinite(fit.fitted()).all()
        assert np.isfinite(list(fit.family_parameters.values())).all()
    return fit


def beta(fit: jg.GLMM) -> np.ndarray:
    return fit.fixed_effects()["estimate"].to_numpy()


@pytest.fixture(scope="module")
def plain() -> jg.GLMM:
    """The ordinary fit that changed data are compared with."""
    return checked(MIXED, table(), "poisson")


# ----- no finite maximum ---------------------------------------------------------------------


@pytest.mark.parametrize("formula", [FIXED, MIXED])
def test_complete_separation(formula: str) -> None:
    fit = checked(formula, table(y=(X > 0.0).astype(float)), "binomial")
    assert fit.status == "separated" and not fit.converged
    assert -1e-4 < fit.log_likelihood <= 0.0


@pytest.mark.parametrize("formula", ["y ~ f", "y ~ f + (1 | g)"])
def test_a_level_without_successes(formula: str) -> None:
    y, f = (np.arange(24) % 3 == 0).astype(float), np.tile(["a", "b"], 12)
    y[f == "b"] = 0.0
    fit = checked(formula, table(y=y, f=f), "binomial")
    assert fit.status == "separated" and not fit.converged


@pytest.mark.parametrize("formula", [FIXED, MIXED])
@pytest.mark.parametrize("family", ["poisson", "nbinom2"])
def test_all_zero_counts(family: str, formula: str) -> None:
    fit = checked(formula, table(y=np.zeros(24)), family)
    assert fit.status == "separated" and not fit.converged
    assert -1e-4 < fit.log_likelihood <= 0.0


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_all_failures_or_all_successes(share: float) -> None:
    fit = checked(MIXED, table(y=np.full(24, share)), "binomial")
    assert fit.status == "separated" and not fit.converged


# ----- responses without variation -----------------------------------------------------------

# A density without bound, or a variance of zero.
CONSTANT = {
    "gaussian": (3.0, {"nonfinite"}),
    "gamma": (3.0, {"nonfinite"}),
    "inverse_gaussian": (3.0, {"nonfinite"}),
    "beta": (0.3, {"nonfinite"}),
    "poisson": (3.0, {"converged_boundary"}),
    "nbinom2": (3.0, {"converged_boundary"}),
}


def test_every_family_is_tried_with_a_constant_response() -> None:
    assert set(CONSTANT) | {"binomial"} == set(jg.families.REGISTRY)


@pytest.mark.parametrize("formula", [FIXED, MIXED])
@pytest.mark.parametrize("family", CONSTANT)
def test_constant_response(family: str, formula: str) -> None:
    value, expected = CONSTANT[family]
    fit = checked(formula, table(y=np.full(24, value)), family)
    if family == "poisson" and formula == FIXED:
        expected = {"converged"}
    assert fit.status in expected
    if fit.converged:
        np.testing.assert_allclose(fit.fitted(), value, rtol=1e-5)


def test_constant_share_of_trials() -> None:
    fit = checked("y / n ~ x + (1 | g)", table(y=np.full(24, 2), n=np.full(24, 4)), "binomial")
    assert fit.status == "converged_boundary" and fit.is_singular
    np.testing.assert_allclose(fit.fitted(), 0.5, rtol=1e-5)


def test_a_perfect_fit() -> None:
    fit = checked(FIXED, table(y=1.0 + 2.0 * X))
    assert fit.status == "nonfinite" and not fit.converged


def test_as_many_columns_as_rows() -> None:
    data = {"y": [1.0, 3.0, 2.0], "f": ["a", "b", "c"]}
    assert checked("y ~ f", data).status == "nonfinite"
    counts = checked("y ~ f", data, "poisson")
    assert counts.converged
    np.testing.assert_allclose(counts.fitted(), data["y"], rtol=1e-6)


# ----- variances on the boundary, groups of all sizes ----------------------------------------


@pytest.mark.parametrize("family", ["poisson", "gaussian", "nbinom2"])
def test_zero_variance(family: str) -> None:
    y = np.tile([0.0, 4.0, 1.0, 9.0], 6)
    fit = checked(MIXED, table(y=y, x=np.tile([0.0, 1, 2, 3], 6)), family)
    assert fit.status == "converged_boundary" and fit.is_singular
    alone = checked(FIXED, table(y=y, x=np.tile([0.0, 1, 2, 3], 6)), family)
    np.testing.assert_allclose(fit.log_likelihood, alone.log_likelihood, rtol=1e-8)
    np.testing.assert_allclose(beta(fit), beta(alone), rtol=1e-4)
    np.testing.assert_allclose(fit.random_effects()["estimate"], 0.0, atol=1e-5)


def test_a_group_per_row_of_counts() -> None:
    fit = checked("y ~ x + (1 | g)", table(g=np.arange(24)), "poisson")
    assert fit.converged
    assert len(fit.random_effects()) == 24 and fit.data_info.groups == {"g": 24}
    model = Model(
        family="poisson",
        y=COUNTS.astype(float),
        X=np.stack([np.ones(24), X], 1),
        Z=np.ones((24, 1)),
        codes=np.arange(24),
        weight=np.ones(24),
        offset=np.zeros(24),
    )
    sd = fit.covariance_parameters()["estimate"].to_numpy()
    ours = model.log_likelihood(np.concatenate([beta(fit), np.maximum(sd, 1e-9)]))
    np.testing.assert_allclose(fit.log_likelihood, ours, rtol=1e-9)


def test_a_gaussian_group_per_row_has_one_variance_too_many() -> None:
    data = table(g=np.arange(24), y=2.0 + X + np.random.default_rng(2).normal(size=24))
    fit, alone = checked(MIXED, data), checked(FIXED, data)
    assert fit.status != "converged"
    np.testing.assert_allclose(fit.log_likelihood, alone.log_likelihood, rtol=1e-7)
    np.testing.assert_allclose(beta(fit), beta(alone), rtol=1e-5)
    # Only the sum of the variances is determined, so neither has an error.
    assert np.isnan(fit.covariance_parameters()["std_error"]).any()
    np.testing.assert_allclose(
        fit.fixed_effects()["std_error"], alone.fixed_effects()["std_error"], rtol=1e-3
    )


def test_two_groups() -> None:
    fit = checked(MIXED, table(g=np.repeat(["left", "right"], 12)), "poisson")
    assert fit.converged and len(fit.random_effects()) == 2


def test_groups_of_one_row_among_large_ones() -> None:
    codes = np.array([0] * 9 + [1] + [2] * 7 + [3] + [4] * 5 + [5])
    fit = checked(MIXED, table(g=codes), "poisson")
    model = Model(
        family="poisson",
        y=COUNTS.astype(float),
        X=np.stack([np.ones(24), X], 1),
        Z=np.ones((24, 1)),
        codes=codes,
        weight=np.ones(24),
        offset=np.zeros(24),
    )
    sd = fit.covariance_parameters()["estimate"].to_numpy()
    assert fit.converged
    ours = model.log_likelihood(np.concatenate([beta(fit), np.maximum(sd, 1e-9)]))
    np.testing.assert_allclose(fit.log_likelihood, ours, rtol=1e-9)


# ----- columns -------------------------------------------------------------------------------


def test_collinear_columns(plain: jg.GLMM) -> None:
    fit = checked("y ~ x + twice + (1 | g)", table(twice=2.0 * X + 1.0), "poisson")
    assert fit.status == "rank_deficient" and fit.converged
    assert fit.data_info.dropped_columns == ("twice",)
    assert "twice" in fit.status_message and "twice" in str(fit.summary())
    assert list(fit.fixed_effects()["term"]) == ["Intercept", "x"]
    assert fit.df_residual == 24 - 2 and fit.num_params == 3
    np.testing.assert_allclose(fit.log_likelihood, plain.log_likelihood, rtol=1e-10)


@pytest.mark.parametrize("scale", [1e6, 1e-6])
def test_the_unit_of_a_predictor_does_not_matter(plain: jg.GLMM, scale: float) -> None:
    fit = checked(MIXED, table(x=scale * X), "poisson")
    assert fit.status == plain.status
    np.testing.assert_allclose(fit.log_likelihood, plain.log_likelihood, rtol=0, atol=1e-6)
    np.testing.assert_allclose(beta(fit) * [1, scale], beta(plain), rtol=1e-5)
    se = fit.fixed_effects()["std_error"] * [1, scale]
    np.testing.assert_allclose(se, plain.fixed_effects()["std_error"], rtol=1e-4)


@pytest.mark.parametrize("shift", [1e3, -1e5])
def test_the_origin_of_a_predictor_does_not_matter(plain: jg.GLMM, shift: float) -> None:
    fit = checked(MIXED, table(x=X + shift), "poisson")
    assert fit.status == plain.status
    np.testing.assert_allclose(fit.log_likelihood, plain.log_likelihood, rtol=0, atol=1e-6)
    np.testing.assert_allclose(beta(fit)[1], beta(plain)[1], rtol=1e-4)


@pytest.mark.parametrize("scale", [1e6, 1e-6])
def test_the_unit_of_a_gaussian_response_does_not_matter(scale: float) -> None:
    y = 2.0 + X + np.random.default_rng(4).normal(size=24) + np.sin(5 * G)
    one, two = checked(MIXED, table(y=y)), checked(MIXED, table(y=scale * y))
    assert one.status == two.status == "converged"
    gap = two.log_likelihood + 24 * np.log(scale) - one.log_likelihood
    np.testing.assert_allclose(gap, 0.0, atol=1e-6)
    np.testing.assert_allclose(beta(two) / scale, beta(one), rtol=1e-5)


@pytest.mark.parametrize("num_columns", [9, 12])
def test_many_columns_are_least_squares(num_columns: int) -> None:
    """Nine columns are padded to ten."""
    rng = np.random.default_rng(6)
    columns = {f"x{k}": rng.normal(size=60) for k in range(1, num_columns)}
    y = rng.normal(size=60)
    design = np.stack([np.ones(60), *columns.values()], 1)
    fit = checked("y ~ " + " + ".join(columns), {"y": y, **columns})
    found, rss, *_ = np.linalg.lstsq(design, y)
    np.testing.assert_allclose(beta(fit), found, rtol=1e-7, atol=1e-9)
    covariance = rss[0] / 60 * np.linalg.inv(design.T @ design)
    unit = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    for kind in ("joint", "conditional"):
        np.testing.assert_allclose(fit.vcov(kind) / unit, covariance / unit, atol=1e-5)
    assert fit.num_params == num_columns + 1 and fit.df_residual == 60 - num_columns


def test_padded_columns_with_random_effects() -> None:
    rng = np.random.default_rng(6)
    columns = {f"x{k}": rng.normal(size=60) for k in range(1, 9)}
    codes = np.arange(60) % 7
    y = rng.poisson(np.exp(0.5 + np.sin(codes)))
    formula = "y ~ " + " + ".join(columns) + " + (1 | g)"
    fit = checked(formula, {"y": y, "g": codes, **columns}, "poisson")
    model = Model(
        family="poisson",
        y=y.astype(float),
        X=np.stack([np.ones(60), *columns.values()], 1),
        Z=np.ones((60, 1)),
        codes=codes,
        weight=np.ones(60),
        offset=np.zeros(60),
    )
    x = np.append(beta(fit), fit.covariance_parameters()["estimate"])
    np.testing.assert_allclose(fit.log_likelihood, model.log_likelihood(x), rtol=1e-10)
    np.testing.assert_allclose(fit.vcov("conditional"), model.conditional_vcov(x), rtol=1e-6)
    assert fit.num_params == 10


def test_only_an_intercept_or_only_random_effects() -> None:
    one = checked("y ~ 1", table(), "poisson")
    np.testing.assert_allclose(beta(one), np.log(COUNTS.mean()), rtol=1e-8)
    mixed = checked("y ~ 0 + (1 | g)", table(), "poisson")
    assert mixed.converged and mixed.num_params == 1


def test_no_column_at_all() -> None:
    none = checked("y ~ 0", table(), "poisson")
    np.testing.assert_allclose(none.log_likelihood, stats.poisson(1).logpmf(COUNTS).sum())
    assert none.num_params == 0 and len(none.fixed_effects()) == 0


# ----- offsets, weights, categories ----------------------------------------------------------


@pytest.mark.parametrize("offset", [25.0, -25.0])
def test_a_huge_offset_moves_the_intercept(plain: jg.GLMM, offset: float) -> None:
    fit = checked(MIXED, table(), "poisson", offset=np.full(24, offset))
    assert fit.status == plain.status
    np.testing.assert_allclose(fit.log_likelihood, plain.log_likelihood, rtol=0, atol=1e-7)
    np.testing.assert_allclose(beta(fit) + [offset, 0], beta(plain), rtol=1e-6)


def test_offsets_of_many_sizes(plain: jg.GLMM) -> None:
    """Exposures from e^-8 to e^8: the counts they make, and the rates they are made of."""
    offset = np.linspace(-8, 8, 24)
    y = np.floor(np.exp(0.5 + offset) + 0.5)
    fit = checked(MIXED, table(y=y), "poisson", offset=offset)
    assert fit.converged
    np.testing.assert_allclose(beta(fit)[0], 0.5, atol=0.1)


def test_rows_of_weight_zero_are_as_if_left_out() -> None:
    weights = np.ones(24)
    weights[[2, 7, 20]] = 0.0
    y = COUNTS.astype(float)
    y[2] = 1e6  # whatever stands there
    whole = checked(MIXED, table(y=y), "poisson", weights=weights)
    part = checked(MIXED, table(y=y), "poisson", subset=weights > 0)
    assert whole.num_obs == part.num_obs == 21
    assert (whole.df_residual, whole.num_params) == (part.df_residual, part.num_params)
    np.testing.assert_allclose(whole.log_likelihood, part.log_likelihood, rtol=1e-10)
    np.testing.assert_allclose(beta(whole), beta(part), rtol=1e-7)
    np.testing.assert_allclose(whole.bic, part.bic, rtol=1e-10)
    assert whole.fitted().shape == (24,) and part.fitted().shape == (21,)


def test_integer_weights_repeat_rows(plain: jg.GLMM) -> None:
    weights = np.where(np.arange(24) % 5 == 0, 3, 1)
    data = pd.DataFrame(table())
    weighted = checked(MIXED, data, "poisson", weights=weights)
    repeated = checked(MIXED, data.loc[data.index.repeat(weights)], "poisson")
    np.testing.assert_allclose(weighted.log_likelihood, repeated.log_likelihood, rtol=1e-10)
    np.testing.assert_allclose(beta(weighted), beta(repeated), rtol=1e-6)


def test_trials_of_zero_carry_nothing() -> None:
    n = np.where(np.arange(24) % 6 == 0, 0, 4)
    y = np.minimum(COUNTS, n)
    whole = checked("y / n ~ x + (1 | g)", table(y=y, n=n), "binomial")
    part = checked("y / n ~ x + (1 | g)", table(y=y, n=n), "binomial", subset=n > 0)
    np.testing.assert_allclose(whole.log_likelihood, part.log_likelihood, rtol=1e-10)
    np.testing.assert_allclose(beta(whole), beta(part), rtol=1e-6)


def test_categories_that_no_row_has(plain: jg.GLMM) -> None:
    f = pd.Categorical(np.tile(["b", "a", "c", "a"], 6), categories=["none", "b", "a", "x", "c"])
    g = pd.Categorical(G.astype(str), categories=["9", *map(str, range(8))])
    formula = "y ~ f + (1 | g)"
    fit = checked(formula, table(f=f, g=g), "poisson")
    used = table(f=f.remove_unused_categories(), g=g.remove_unused_categories())
    again = checked(formula, used, "poisson")
    assert fit.status in ("converged", "converged_boundary")
    assert list(fit.fixed_effects()["term"]) == ["Intercept", "f[T.a]", "f[T.c]"]
    assert list(fit.random_effects()["level"]) == list("012345")
    np.testing.assert_allclose(fit.log_likelihood, again.log_likelihood, rtol=1e-12)


def test_large_counts() -> None:
    y = np.round(1e6 * np.exp(0.3 * X + 0.2 * np.sin(3 * G)))
    fit = checked(MIXED, table(y=y), "poisson")
    assert fit.converged
    np.testing.assert_allclose(beta(fit)[1], 0.3, atol=1e-3)


def test_the_order_of_the_rows_does_not_matter(plain: jg.GLMM) -> None:
    order = np.random.default_rng(0).permutation(24)
    shuffled = {name: np.asarray(values)[order] for name, values in table().items()}
    fit = checked(MIXED, shuffled, "poisson")
    np.testing.assert_allclose(fit.log_likelihood, plain.log_likelihood, rtol=1e-12)
    np.testing.assert_allclose(fit.fitted(), plain.fitted()[order], rtol=1e-7)


def test_a_start_leads_to_the_same_maximum(plain: jg.GLMM) -> None:
    fit = checked(MIXED, table(), "poisson", start={"beta": [3, -1], "theta": [2], "phi": []})
    np.testing.assert_allclose(fit.log_likelihood, plain.log_likelihood, rtol=1e-9)
    again = checked(MIXED, table(), "poisson", start=plain.estimate.params)
    assert again.optimizer.iterations <= plain.optimizer.iterations
    np.testing.assert_allclose(beta(again), beta(plain), rtol=1e-6)


def test_the_iteration_limit_is_a_status() -> None:
    data = table(g=np.arange(24) % 6)
    fit = checked(
        MIXED,
        data,
        "poisson",
        control=jg.Control(max_iterations=1),
        start={"beta": [5, -3], "theta": [4], "phi": []},
    )
    assert fit.status == "max_iterations" and not fit.converged
    assert "max_iterations" in fit.status_message
