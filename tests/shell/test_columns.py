"""Collinear, badly scaled and many columns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import jaxglmm as jg
from jaxglmm.inference.basis import change_basis

from .awkward import COUNTS, MIXED, G, X, beta, checked, plain, table
from .reference import Model


def test_collinear_columns() -> None:
    fit = checked("y ~ x + twice + (1 | g)", table(twice=2.0 * X + 1.0), "poisson")
    assert fit.status == "rank_deficient" and fit.converged
    assert fit.data_info.dropped_columns == ("twice",)
    assert "twice" in fit.status_message and "twice" in str(fit.summary())
    assert list(fit.fixed_effects()["term"]) == ["Intercept", "x"]
    assert fit.df_residual == 24 - 2 and fit.num_params == 3
    np.testing.assert_allclose(fit.log_likelihood, plain().log_likelihood, rtol=1e-10)


@pytest.mark.parametrize("scale", [1e6, 1e-6])
def test_the_unit_of_a_predictor_does_not_matter(scale: float) -> None:
    fit = checked(MIXED, table(x=scale * X), "poisson")
    assert fit.status == plain().status
    np.testing.assert_allclose(fit.log_likelihood, plain().log_likelihood, rtol=0, atol=1e-6)
    np.testing.assert_allclose(beta(fit) * [1, scale], beta(plain()), rtol=1e-5)
    se = fit.fixed_effects()["std_error"] * [1, scale]
    np.testing.assert_allclose(se, plain().fixed_effects()["std_error"], rtol=1e-4)


@pytest.mark.parametrize("shift", [1e3, -1e4, 1e6])
def test_the_origin_of_a_predictor_does_not_matter(shift: float, tmp_path: Path) -> None:
    """A time stamp is nearly a multiple of the intercept: nothing but the intercept may change.

    What is left of x in single rows is rounded at `shift` * 2e-16, and beta_0 multiplies that.
    """
    fit, known = checked(MIXED, table(x=X + shift), "poisson"), plain()
    assert fit.status == known.status
    assert fit.optimizer.iterations <= known.optimizer.iterations + 1
    accuracy = 1e-9 * abs(shift) / 1e3
    np.testing.assert_allclose(fit.log_likelihood, known.log_likelihood, atol=accuracy)
    back = np.array([[1.0, shift], [0.0, 1.0]])  # the intercept where x was zero
    np.testing.assert_allclose(back @ beta(fit), beta(known), rtol=10 * accuracy)
    for kind in ("joint", "conditional"):
        moved = fit.vcov(kind).to_numpy()
        np.testing.assert_allclose(moved[1, 1], known.vcov(kind).iloc[1, 1], rtol=1e-6)
        np.testing.assert_allclose(moved[0, 0], shift**2 * moved[1, 1], rtol=0.1)
    np.testing.assert_allclose(fit.fitted(), known.fitted(), rtol=10 * accuracy)
    ours, theirs = (f.random_effects(uncertainty="joint") for f in (fit, known))
    np.testing.assert_allclose(ours["std_error"], theirs["std_error"], rtol=1e-5)
    fit.save(tmp_path / "fit")
    np.testing.assert_array_equal(jg.load(tmp_path / "fit").vcov(), fit.vcov())


def test_a_start_where_predictors_lie_far_from_zero() -> None:
    """Parameters given by the caller refer to the columns of the caller."""
    far = checked(MIXED, table(x=X + 1e4), "poisson")
    again = jg.glmm(MIXED, table(x=X + 1e4), family="poisson", start=far.estimate.params)
    near = jg.glmm(MIXED, table(), family="poisson", start=plain().estimate.params)
    assert again.optimizer.iterations == near.optimizer.iterations
    np.testing.assert_allclose(again.log_likelihood, far.log_likelihood, rtol=1e-10)


def test_an_unknown_error_is_not_smeared_over_what_is_known() -> None:
    """A flat theta (NaN) leaves beta its errors; a flat coefficient takes those it mixes with."""
    problem, _ = jg.build(MIXED, table(x=X + 1e4), family="poisson")
    moved, basis = change_basis(problem)
    assert basis is not None
    np.testing.assert_allclose(moved.X @ basis.A[:2, :2], problem.X, rtol=1e-12)
    V = np.diag([1.0, 2.0, np.nan])
    out = basis.covariance_outward(V)
    expected = basis.T[:2, :2] @ V[:2, :2] @ basis.T[:2, :2].T
    np.testing.assert_allclose(out[:2, :2], expected, rtol=1e-12)
    assert np.isnan(out[2]).all() and np.isnan(out[:, 2]).all()
    lost = basis.covariance_outward(np.diag([1.0, np.nan, 1.0]))
    assert np.isnan(lost[:2]).all() and lost[2, 2] == 1.0


def test_separation_far_from_zero_is_named() -> None:
    y = (X > 0).astype(float)
    fit = checked(MIXED, table(x=X + 1e4, y=y), "binomial")
    assert fit.status == "separated"


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
