"""What must not change a fit: order, names, units, rows that do not count, padding."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from jaxglmm.design import make_problem
from jaxglmm.layout import bucket
from jaxglmm.params import flatten

from .zoo import Case, fit, grouping, make_case, slow

FAMILIES = ["poisson", "gaussian"]


def standard(family: str) -> Case:
    return make_case(family, num_levels=30, size=10, q=2, spread=0.7)


def rebuilt(case: Case, take=slice(None), rename=None, x=1.0, z=1.0, **changes):
    """The problem on some rows, levels renamed, second columns of X and Z in other units."""
    old, group = case.problem, case.problem.groupings[0]
    codes = np.asarray(group.codes)[take]
    codes = codes if rename is None else rename[codes]
    Z, X = group.Z[take] * [1.0, z], old.X[take] * [1.0, x]
    fields = {"weights": old.weights[take], "trials": old.trials[take]} | changes
    groups = (grouping(codes, Z, num_levels=group.num_levels),)
    return make_problem(old.y[take], X, old.family, groups, **fields)


def same(a, b, rtol=1e-6):
    assert a.status == b.status
    np.testing.assert_allclose(a.log_likelihood, b.log_likelihood, rtol=0, atol=1e-8)
    np.testing.assert_allclose(flatten(a.params), flatten(b.params), rtol=rtol, atol=1e-7)


@pytest.mark.parametrize("family", FAMILIES)
def test_order_of_rows_and_names_of_levels(family):
    case, rng = standard(family), np.random.default_rng(6)
    base = fit(case.problem)
    same(fit(rebuilt(case, take=rng.permutation(300))), base)
    rename = rng.permutation(30).astype(np.int32)
    renamed = fit(rebuilt(case, rename=rename))
    same(renamed, base)
    np.testing.assert_allclose(renamed.u[0][:, rename], base.u[0], atol=1e-6)


@pytest.mark.parametrize("unit", [1e6, 1e-6])
@pytest.mark.parametrize("family", FAMILIES)
def test_units_of_the_columns(family, unit):
    case = standard(family)
    base = fit(case.problem)
    scaled = fit(rebuilt(case, x=unit, z=unit))
    beta = scaled.params.beta * [1.0, unit]
    theta = scaled.params.theta * [1.0, unit, unit]
    params = dataclasses.replace(scaled.params, beta=beta, theta=theta)
    same(dataclasses.replace(scaled, params=params), base)


@pytest.mark.parametrize("shift", [1e3, -1e3])
def test_units_of_a_gaussian_response(shift):
    case = standard("gaussian")
    base = fit(case.problem)
    moved = fit(case.problem.replace(y=1e4 * (case.problem.y + shift)))
    np.testing.assert_allclose(moved.params.beta / 1e4 - [shift, 0], base.params.beta, rtol=1e-6)
    np.testing.assert_allclose(moved.params.theta / 1e4, base.params.theta, rtol=1e-5, atol=1e-6)
    expected = base.log_likelihood - 300 * np.log(1e4)
    np.testing.assert_allclose(moved.log_likelihood, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_rows_of_weight_zero(family):
    """Whatever they hold: 40 rows repeated with other responses, predictors and levels."""
    case, rng = standard(family), np.random.default_rng(8)
    take = np.concatenate([np.arange(300), rng.integers(0, 300, 40)])
    problem = rebuilt(case, take, weights=np.repeat([1.0, 0.0], [300, 40]))
    problem.y[300:], problem.X[300:, 1] = 7.0, 1e4
    same(fit(problem), fit(case.problem))


@pytest.mark.parametrize("family", FAMILIES)
def test_padding(family):
    case = standard(family)
    base = fit(case.problem)
    wide = fit(case.problem, num_fixed=5)
    np.testing.assert_allclose(wide.params.beta[2:], 0.0, atol=1e-14)
    same(dataclasses.replace(wide, params=unpadded(wide.params)), base)
    group = case.problem.groupings[0]
    levels = bucket(group.num_levels)
    padded = case.problem.replace(
        groupings=(dataclasses.replace(group, num_levels=levels),),
        layout=case.problem.layout.padded(levels),
    )
    assert levels > group.num_levels
    long = fit(padded)
    same(long, base)
    np.testing.assert_array_equal(long.u[0][:, group.num_levels :], 0.0)
    assert (long.iterations, long.passes) == (base.iterations, base.passes)


def unpadded(params):
    return dataclasses.replace(params, beta=params.beta[:2])


@pytest.mark.parametrize("family", ["poisson", slow("binomial"), "gaussian"])
def test_frequency_weights_repeat_rows(family):
    """Weights multiply the log-density, but for "dispersion" laws; there on request."""
    case, rng = standard(family), np.random.default_rng(9)
    times = rng.integers(1, 4, 300)
    multiply = {"weights_multiply": True} if family == "gaussian" else {}
    weighted = fit(rebuilt(case, weights=times.astype(float), **multiply))
    same(weighted, fit(rebuilt(case, np.repeat(np.arange(300), times))))
    assert abs(weighted.log_likelihood - fit(case.problem).log_likelihood) > 1.0


def test_prior_weights_of_a_gaussian_are_precisions():
    """Equal weights only change what sigma is called: sigma^2 / w is what it was."""
    case = standard("gaussian")
    base = fit(case.problem)
    half = fit(rebuilt(case, weights=np.full(300, 0.25)))
    np.testing.assert_allclose(half.params.beta, base.params.beta, rtol=1e-6)
    np.testing.assert_allclose(half.params.phi, base.params.phi - np.log(2), rtol=1e-6)
    np.testing.assert_allclose(half.log_likelihood, base.log_likelihood, atol=1e-8)


def test_an_offset_is_a_known_part_of_the_predictor():
    case = standard("poisson")
    base, x = fit(case.problem), case.problem.X[:, 1]
    moved = fit(case.problem.replace(offset=0.7 + 0.4 * x))
    np.testing.assert_allclose(moved.params.beta + [0.7, 0.4], base.params.beta, rtol=1e-6)
    np.testing.assert_allclose(moved.log_likelihood, base.log_likelihood, atol=1e-8)
