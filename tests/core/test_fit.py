"""The maximum: it is one, it is near the truth, and it is the same from everywhere."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxglmm import families, status
from jaxglmm.factor import choose
from jaxglmm.marginal import laplace
from jaxglmm.marginal.hessian import hessian
from jaxglmm.mode import find_mode, zeros
from jaxglmm.params import flatten, unflatten
from jaxglmm.rows import arrange

from .compiled import tower
from .location_scale import make_location_scale
from .zoo import Case, fit, make_case, slow


def large(family: str, **options) -> Case:
    return make_case(family, num_levels=60, size=15, spread=0.6, **options)


def gradient_at(problem, psi, start):
    rows = arrange(problem)
    factor = choose(rows)
    u = find_mode(rows, factor, unflatten(psi, rows), start)
    return laplace.value_and_gradient(rows, factor, psi, u)[1]


def check_maximum(problem, estimate):
    """Gradient zero, Hessian negative definite, by other code than the optimiser's."""
    psi = np.asarray(flatten(estimate.params))
    assert estimate.status == status.CONVERGED
    gradient = np.asarray(jax.jit(gradient_at)(problem, psi, estimate.u))
    # What a Newton step would still gain, in log-likelihood.
    assert abs(gradient @ np.linalg.solve(estimate.hessian, gradient)) < 1e-12
    assert np.all(np.linalg.eigvalsh(estimate.hessian) < 0)
    assert not estimate.flat and abs(estimate.decrement) < 1e-10


# These take long to compile.
DEAR = (
    "ordered_beta",
    "zero_one_beta",
    "betabinomial",
    "truncated_nbinom1",
    "truncated_nbinom2",
    "skew_normal",
    "compois",
    "tweedie",
    "nbinom1",
    "genpois",
    "student_t",
)


@pytest.mark.parametrize("family", [slow(f) if f in DEAR else f for f in families.REGISTRY])
def test_recovers_the_truth_at_a_maximum(family):
    case = large(family)
    estimate = fit(case.problem)
    check_maximum(case.problem, estimate)
    se = np.sqrt(np.diagonal(np.linalg.inv(-estimate.hessian)))
    z = (np.asarray(flatten(estimate.params)) - case.psi) / se
    # Four standard errors; theta of 60 levels is known to a tenth.
    assert np.all(np.abs(z) < 4.0), z
    assert np.all(se[:3] < 0.2)
    b = estimate.params.theta * estimate.u[0][0]
    assert np.corrcoef(b, case.b[0][0])[0, 1] > 0.75


@pytest.mark.parametrize("family", ["gaussian", "nbinom2"])
def test_the_hessian_is_that_at_the_estimate(family):
    """Not that of the last but one step: standard errors and derivatives of the fit rest on it.

    It is computed up to 1e-6 standard errors from the estimate (the last step is taken unseen),
    and changes by its own order over one standard error.
    """
    problem = make_case(family, num_levels=10, size=8, spread=0.8).problem
    estimate, rows = fit(problem), arrange(problem)
    psi, factor = flatten(estimate.params), choose(rows)
    u = jax.jit(find_mode)(rows, factor, estimate.params, zeros(rows))
    expected = np.asarray(jax.jit(hessian)(rows, factor, psi, u).hessian)
    scale = np.sqrt(np.abs(np.diagonal(expected)))
    unit = np.outer(scale, scale)
    np.testing.assert_allclose(estimate.hessian / unit, expected / unit, rtol=0, atol=1e-5)


def test_recovers_correlated_effects():
    case = large("poisson", q=2)
    estimate = fit(case.problem)
    check_maximum(case.problem, estimate)
    se = np.sqrt(np.diagonal(np.linalg.inv(-estimate.hessian)))
    assert np.all(np.abs(np.asarray(flatten(estimate.params)) - case.psi) < 4 * se)


def test_recovers_two_factors():
    case = make_case("poisson", num_levels=12, size=25, num_factors=2, spread=0.7)
    estimate = fit(case.problem)
    check_maximum(case.problem, estimate)
    se = np.sqrt(np.diagonal(np.linalg.inv(-estimate.hessian)))
    assert np.all(np.abs(np.asarray(flatten(estimate.params)) - case.psi) < 4 * se)


def test_recovers_two_linear_predictors():
    problem, psi = make_location_scale(num_levels=60, size=20)
    estimate = fit(problem)
    check_maximum(problem, estimate)
    se = np.sqrt(np.diagonal(np.linalg.inv(-estimate.hessian)))
    assert np.all(np.abs(np.asarray(flatten(estimate.params)) - psi) < 4 * se)


@pytest.mark.parametrize("family", ["gaussian", "binomial", "gamma", "nbinom2"])
def test_without_random_effects(family):
    """The maximum of a generalised linear model, whose score is known."""
    case = large(family)
    problem = case.problem.replace(groupings=())
    estimate = fit(problem)
    check_maximum(problem, estimate)
    law = problem.family
    weight = problem.trials if law.weight_role == "trials" else problem.weights
    eta = problem.X @ np.asarray(estimate.params.beta)
    score = tower(law, problem.y, eta, estimate.params.phi, weight, 1)[1]
    np.testing.assert_allclose(problem.X.T @ score, 0.0, atol=1e-5)


@pytest.mark.parametrize("family", ["poisson", "gaussian"])
def test_the_same_from_other_starts(family):
    case = large(family)
    estimate = fit(case.problem)
    psi = np.asarray(flatten(estimate.params))
    num_phi = case.problem.family.num_phi
    starts = [case.psi, psi + 0.3, psi * 0.5, np.concatenate([[0, 0, 3.0], np.ones(num_phi)])]
    starts.append(np.concatenate([psi[:2], -psi[2:3], psi[3:]]))
    rows = arrange(case.problem)
    for start in starts:
        again = fit(case.problem, unflatten(jnp.asarray(start), rows))
        assert again.status == status.CONVERGED
        np.testing.assert_allclose(flatten(again.params), psi, rtol=1e-6)
        np.testing.assert_allclose(again.log_likelihood, estimate.log_likelihood, rtol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("family", families.REGISTRY)
def test_small_data_sets_end_with_an_honest_status(family, seed):
    case = make_case(family, num_levels=10, size=6, q=1, spread=0.4, seed=seed)
    estimate = fit(case.problem)
    assert np.all(np.isfinite(flatten(estimate.params)))
    if estimate.status == status.NONFINITE:
        check_pole(case.problem, estimate)
    else:
        assert estimate.status in (status.CONVERGED, status.CONVERGED_BOUNDARY)


def check_pole(problem, estimate):
    """-log det H / 2 has no upper bound where the joint density is flat about its mode."""
    rows, (u,) = arrange(problem), estimate.u

    def joint(u):
        return laplace.joint(rows, estimate.params, (u,))

    def along(v):
        return jax.jvp(jax.grad(joint), (u,), (v,))[1]

    # One column: the levels are apart, and H is diagonal.
    assert u.shape[0] == 1 and np.min(-along(jnp.ones_like(u))) < 1e-2
