"""Estimates by REML and by approximate Laplace."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxglmm import families, status
from jaxglmm.ascent import maximise_rows
from jaxglmm.design import make_problem
from jaxglmm.engine import initial_params, log_likelihood, maximise
from jaxglmm.families import Modelled
from jaxglmm.marginal import laplace
from jaxglmm.params import Params, flatten
from jaxglmm.rows import arrange

from .location_scale import make_location_scale
from .zoo import derivative, fit, grouping, make_case

INSIDE = ("reml", "approximate_laplace")


def gaussian_problem():
    """Rows of a linear mixed model with weights and an offset."""
    case = make_case("gaussian", q=2, num_levels=20, size=6, weights=True, spread=2.0)
    offset = np.random.default_rng(1).normal(size=case.problem.num_obs)
    return case.problem.replace(y=case.problem.y + offset, offset=offset, method="reml")


def exact(problem, psi):
    """REML of the linear mixed model by dense algebra: criterion, beta, (X'V^-1 X)^-1.

    -2 l = log det V + log det X'V^-1 X + r'V^-1 r + (n - p) log 2 pi.
    """
    group, (n, p) = problem.groupings[0], problem.X.shape
    theta, phi = psi[:3], psi[3]
    L = jnp.zeros((2, 2)).at[jnp.tril_indices(2)].set(theta)
    Z = jnp.einsum("nq,nl->nql", group.Z, jax.nn.one_hot(group.codes, group.num_levels))
    ZL = jnp.einsum("nql,qr->nrl", Z, L).reshape(n, -1)
    V = ZL @ ZL.T + jnp.diag(jnp.exp(2 * phi) / problem.weights)
    information = problem.X.T @ jnp.linalg.solve(V, problem.X)
    z = problem.y - problem.offset
    beta = jnp.linalg.solve(information, problem.X.T @ jnp.linalg.solve(V, z))
    r = z - problem.X @ beta
    logdets = jnp.linalg.slogdet(V)[1] + jnp.linalg.slogdet(information)[1]
    total = logdets + r @ jnp.linalg.solve(V, r) + (n - p) * jnp.log(2 * jnp.pi)
    return -0.5 * total, beta, jnp.linalg.inv(information)


def test_reml_of_the_linear_mixed_model_is_exact():
    problem = gaussian_problem()
    psi = np.array([0.9, -0.3, 0.5, -0.4])
    value = log_likelihood(Params(jnp.zeros(2), psi[:3], psi[3:]), problem)
    np.testing.assert_allclose(value, exact(problem, psi)[0], rtol=1e-12)


def test_the_maximum_and_the_covariance_of_all_parameters():
    problem = gaussian_problem()
    estimate = fit(problem)
    assert estimate.status == status.CONVERGED
    psi = jnp.concatenate([estimate.params.theta, estimate.params.phi])
    value, beta, conditional = exact(problem, psi)
    np.testing.assert_allclose(estimate.log_likelihood, value, rtol=1e-12)
    np.testing.assert_allclose(estimate.params.beta, beta, rtol=1e-9)
    np.testing.assert_allclose(jax.grad(lambda x: exact(problem, x)[0])(psi), 0, atol=1e-6)
    N = -jax.hessian(lambda x: exact(problem, x)[0])(psi)
    J = jax.jacobian(lambda x: exact(problem, x)[1])(psi)
    spread = jnp.linalg.inv(N)
    expected = jnp.block([[conditional + J @ spread @ J.T, J @ spread], [spread @ J.T, spread]])
    covariance = np.linalg.inv(-estimate.hessian)
    scale = np.sqrt(np.diagonal(expected))
    np.testing.assert_allclose(
        covariance / np.outer(scale, scale), expected / np.outer(scale, scale), atol=1e-6
    )


def test_reml_of_a_linear_model_divides_by_n_minus_p():
    problem = make_case("gaussian").problem.replace(groupings=(), method="reml")
    estimate = fit(problem)
    (n, p), y = problem.X.shape, problem.y
    beta, (rss,) = np.linalg.lstsq(problem.X, y, rcond=None)[:2]
    np.testing.assert_allclose(estimate.params.beta, beta, rtol=1e-12)
    np.testing.assert_allclose(np.exp(2 * estimate.params.phi[0]), rss / (n - p), rtol=1e-9)


@pytest.mark.parametrize("method", INSIDE)
def test_the_basis_of_X_changes_no_estimate(method):
    case = make_case("binomial", num_levels=12, size=8, spread=0.6)
    T = np.array([[1.0, 3.0], [0.0, 4.0]])
    mine = case.problem.replace(method=method)
    one, other = fit(mine), fit(mine.replace(X=mine.X @ T))
    np.testing.assert_allclose(other.params.theta, one.params.theta, rtol=1e-6)
    np.testing.assert_allclose(T @ other.params.beta, one.params.beta, rtol=1e-6)
    volume = np.log(4.0) if method == "reml" else 0.0
    np.testing.assert_allclose(other.log_likelihood + volume, one.log_likelihood, rtol=1e-12)


@pytest.mark.parametrize("method", INSIDE)
def test_padding_columns_change_nothing(method):
    problem = make_case("binomial", num_levels=12, size=8, spread=0.6).problem
    one = fit(problem.replace(method=method))
    padded = fit(problem.replace(method=method), num_fixed=4)
    np.testing.assert_allclose(padded.log_likelihood, one.log_likelihood, rtol=1e-13)
    np.testing.assert_allclose(padded.params.beta, [*one.params.beta, 0, 0], rtol=1e-8)
    kept = [0, 1, 4]
    np.testing.assert_allclose(padded.hessian[np.ix_(kept, kept)], one.hessian, rtol=1e-6)


def test_approximate_laplace_of_a_linear_mixed_model_is_maximum_likelihood():
    problem = gaussian_problem()
    one, other = (fit(problem.replace(method=m)) for m in ("laplace", "approximate_laplace"))
    np.testing.assert_allclose(other.log_likelihood, one.log_likelihood, rtol=1e-12)
    np.testing.assert_allclose(flatten(other.params), flatten(one.params), rtol=1e-6)


def test_approximate_laplace_is_laplace_at_the_joint_mode():
    problem = make_case("poisson", num_levels=20, size=4, spread=1.0).problem
    problem = problem.replace(method="approximate_laplace")
    estimate = fit(problem)
    assert estimate.status == status.CONVERGED
    value = log_likelihood(estimate.params, problem.replace(method="laplace"))
    np.testing.assert_allclose(estimate.log_likelihood, value, rtol=1e-12)
    rows = arrange(problem).random_only

    def joint(beta):
        params = dataclasses.replace(estimate.params, beta=beta)
        return laplace.joint(rows, params, estimate.u)

    np.testing.assert_allclose(jax.grad(joint)(estimate.params.beta), 0.0, atol=1e-7)
    exact_fit = fit(problem.replace(method="laplace"))
    assert exact_fit.log_likelihood > estimate.log_likelihood + 1e-6


@pytest.mark.parametrize("method", INSIDE)
def test_the_criterion_is_a_function_of_theta_and_phi(method):
    problem = make_case("poisson", num_levels=20, size=4).problem.replace(method=method)
    estimate = fit(problem)
    for beta in (estimate.params.beta, initial_params(problem).beta, np.zeros(2)):
        params = dataclasses.replace(estimate.params, beta=jnp.asarray(beta))
        value, gradient = jax.value_and_grad(log_likelihood)(params, problem)
        np.testing.assert_allclose(value, estimate.log_likelihood, rtol=1e-12)
        np.testing.assert_array_equal(gradient.beta, 0.0)
        np.testing.assert_allclose(gradient.theta, 0.0, atol=1e-6)


def test_a_start_may_be_given():
    problem = make_case("poisson", num_levels=20, size=4).problem.replace(method="reml")
    free = fit(problem)
    given = Params(np.array([0.1, -0.2]), np.array([-1.0]), np.zeros(0))
    np.testing.assert_allclose(flatten(fit(problem, given).params), flatten(free.params), rtol=1e-6)


@pytest.mark.parametrize(
    ("family", "method"),
    [
        ("gaussian", "reml"),
        ("binomial", "reml"),
        ("gamma", INSIDE[1]),
        pytest.param("dispersion", "reml", marks=pytest.mark.slow),
    ],
)
def test_derivatives_in_the_data(family, method):
    if family == "dispersion":
        problem = make_location_scale(num_levels=20, size=10)[0]
        problem = problem.replace(family=Modelled(families.get("gaussian"), dispersion=True))
    else:
        problem = make_case(family, num_levels=10, size=8, spread=0.8, weights=True).problem
    problem = problem.replace(method=method)

    def solve(y, X):
        estimate = maximise(problem.replace(y=y, X=X))
        return flatten(estimate.params), estimate.log_likelihood, estimate.u[0]

    rng = np.random.default_rng(4)
    data = jnp.asarray(problem.y), jnp.asarray(problem.X)
    direction = (
        data[0] * rng.uniform(-0.2, 0.2, data[0].shape),
        rng.uniform(-0.2, 0.2, data[1].shape),
    )
    run = jax.jit(solve)
    tangents = jax.jit(lambda d: jax.jvp(solve, data, d)[1])(direction)
    for k, tangent in enumerate(tangents):
        expected = derivative(
            lambda t, k=k: run(*(x + t * d for x, d in zip(data, direction, strict=True)))[k], 1e-2
        )
        scale = np.max(np.abs(expected))
        np.testing.assert_allclose(tangent, expected, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize("method", INSIDE)
def test_a_variance_of_zero(method):
    rng = np.random.default_rng(3)
    codes = np.repeat(np.arange(10), 6)
    problem = make_case("gaussian", num_levels=10, size=6).problem
    y = rng.normal(size=60)
    y -= np.array([y[codes == c].mean() for c in range(10)])[codes]
    group = grouping(codes, np.ones((60, 1)))
    problem = make_problem(y, problem.X, problem.family, (group,), method=method)
    estimate = fit(problem)
    assert estimate.status == status.CONVERGED_BOUNDARY and estimate.singular


@pytest.mark.parametrize("method", INSIDE)
def test_separation_is_found(method):
    problem = make_case("binomial", num_levels=10, size=6).problem
    y = np.where(problem.X[:, 1] > 0, problem.trials, 0.0)
    assert fit(problem.replace(y=y, method=method)).status == status.SEPARATED


def test_batches():
    """vmap over responses gives the fits one by one."""
    problem = make_case("binomial", num_levels=8, size=6).problem.replace(method="reml")
    rng = np.random.default_rng(6)
    many = rng.binomial(6, 0.5, (3, problem.num_obs)).astype(float)

    def solve(y):
        estimate = maximise_rows(arrange(problem.replace(y=y)))
        return flatten(estimate.params), estimate.log_likelihood

    together = jax.jit(jax.vmap(solve))(many)
    for k, y in enumerate(many):
        estimate = fit(problem.replace(y=y))
        np.testing.assert_allclose(together[1][k], estimate.log_likelihood, rtol=1e-11)
        np.testing.assert_allclose(together[0][k], flatten(estimate.params), atol=1e-5)
