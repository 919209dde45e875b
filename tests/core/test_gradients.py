"""Gradient and Hessian of the Laplace log-likelihood: by hand, by autodiff, by differences."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from jaxglmm import families
from jaxglmm.factor import choose
from jaxglmm.marginal import criterion, laplace
from jaxglmm.marginal.hessian import hessian
from jaxglmm.mode import find_mode, zeros
from jaxglmm.params import unflatten
from jaxglmm.rows import arrange

from .location_scale import make_location_scale
from .zoo import derivative, law_pairs, make_case, slow

QUICK = ("poisson",)


@jax.jit
def by_hand(rows, psi):
    """Value and adjoint gradient at the mode."""
    factor = choose(rows)
    u = find_mode(rows, factor, unflatten(psi, rows), zeros(rows))
    return laplace.value_and_gradient(rows, factor, psi, u)


@jax.jit
def hessian_by_hand(rows, psi):
    factor = choose(rows)
    u = find_mode(rows, factor, unflatten(psi, rows), zeros(rows))
    return hessian(rows, factor, psi, u).hessian


def marginal(rows, psi):
    return criterion.marginal(rows, choose(rows), unflatten(psi, rows))


marginal_value = jax.jit(marginal)
by_autodiff = jax.jit(lambda r, x: (jax.grad(marginal, 1)(r, x), jax.hessian(marginal, 1)(r, x)))


def differences(f, psi, h=5e-4):
    """df/dpsi, the parameters along the first axis."""
    return np.array([derivative(lambda t, e=e: f(psi + t * e), h) for e in np.eye(psi.size)])


def near(a, b, rtol):
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * np.max(np.abs(b)))


def off_optimum(problem, psi):
    """Rows and a point where no derivative is zero."""
    return arrange(problem), psi + np.random.default_rng(5).uniform(-0.05, 0.05, psi.shape)


def check_gradient(problem, psi):
    rows, psi = off_optimum(problem, psi)
    gradient = np.asarray(by_hand(rows, psi)[1])
    assert np.linalg.norm(gradient) > 0.01
    near(gradient, differences(lambda x: np.asarray(by_hand(rows, x)[0]), psi), 1e-6)


def check_hessian(problem, psi):
    rows, psi = off_optimum(problem, psi)
    matrix = np.asarray(hessian_by_hand(rows, psi))
    np.testing.assert_array_equal(matrix, matrix.T)
    near(matrix, differences(lambda x: np.asarray(by_hand(rows, x)[1]), psi), 1e-5)


def check_autodiff(problem, psi):
    """Through the implicit derivative of the mode: no differences, so to rounding."""
    rows, psi = off_optimum(problem, psi)
    value, gradient = by_hand(rows, psi)
    np.testing.assert_allclose(value, marginal_value(rows, psi), rtol=1e-13)
    autodiff = by_autodiff(rows, psi)
    near(gradient, autodiff[0], 1e-8)
    near(hessian_by_hand(rows, psi), autodiff[1], 1e-7)


CHECKS = {"gradient": check_gradient, "hessian": check_hessian, "autodiff": check_autodiff}


@pytest.mark.parametrize(("family", "link"), law_pairs(quick=True))
def test_gradient_of_every_law_with_every_link(family, link):
    case = make_case(family, link, weights=True)
    check_gradient(case.problem, case.psi)


@pytest.mark.slow
@pytest.mark.parametrize(("family", "link"), law_pairs())
def test_hessian_of_every_law_with_every_link(family, link):
    case = make_case(family, link, weights=True)
    check_hessian(case.problem, case.psi)


@pytest.mark.parametrize("family", families.REGISTRY)
def test_hessian_of_every_law(family):
    case = make_case(family, weights=True)
    check_hessian(case.problem, case.psi)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
@pytest.mark.parametrize("q", [1, 2])
@pytest.mark.parametrize("family", [f if f in QUICK else slow(f) for f in families.REGISTRY])
def test_one_and_two_columns(family, q, check):
    case = make_case(family, q=q, spread=0.5)
    check(case.problem, case.psi)


@pytest.mark.parametrize("check", [check_gradient, check_hessian])
def test_independent_columns(check):
    case = make_case("poisson", q=2, structure="diag", spread=0.5)
    check(case.problem, case.psi)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_two_factors(check):
    case = make_case("poisson", num_levels=4, size=8, num_factors=2, spread=0.5)
    check(case.problem, case.psi)


@pytest.mark.parametrize("check", [check_gradient, check_hessian, slow(check_autodiff)])
def test_two_linear_predictors(check):
    problem, psi = make_location_scale()
    check(problem, psi)


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_no_random_effects(check):
    case = make_case("gamma")
    check(case.problem.replace(groupings=()), np.delete(case.psi, 2))


def test_two_linear_predictors_are_the_law_they_say():
    """With a constant deviation and none at random, location-scale is gaussian."""
    problem, psi = make_location_scale()
    group = problem.groupings[0]
    one = dataclasses.replace(group, Z=group.Z[:, :2], terms=group.terms[:1])
    gaussian = problem.replace(
        X=problem.X[:, :2], groupings=(one,), family=families.get("gaussian"), predictors=(0, 0)
    )
    psi[-1] = 0.0
    value = marginal_value(arrange(problem), psi)
    expected = marginal_value(arrange(gaussian), psi[[0, 1, 3, 4, 5, 2]])
    np.testing.assert_allclose(value, expected, rtol=1e-12)
