"""The Laplace log-likelihood against closed forms and quadrature."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import integrate, special, stats

from jaxglmm.factor import choose
from jaxglmm.likelihood import log_base
from jaxglmm.marginal import criterion
from jaxglmm.params import unflatten
from jaxglmm.rows import arrange

from .compiled import log_probs
from .zoo import make_case


@jax.jit
def log_likelihood(problem, psi):
    rows = arrange(problem)
    return criterion.marginal(rows, choose(rows), unflatten(psi, rows)) + log_base(rows)


def normal_log_likelihood(problem, psi):
    """The multivariate normal density of a gaussian-identity model, term by term."""
    p = problem.X.shape[1]
    theta, covariance = psi[p:-1], np.diag(np.exp(2 * psi[-1]) / problem.weights)
    for group in problem.groupings:
        indicator = np.eye(group.num_levels)[group.codes]
        Z = np.einsum("nl,nq->nlq", indicator, group.Z).reshape(problem.num_obs, -1)
        for term in group.terms:
            L = np.asarray(term.covariance.factor(theta[: term.covariance.num_theta], ()))
            theta = theta[term.covariance.num_theta :]
            covariance = covariance + Z @ np.kron(np.eye(group.num_levels), L @ L.T) @ Z.T
    mean = problem.X @ psi[:p] + problem.offset
    return stats.multivariate_normal(mean, covariance).logpdf(problem.y)


@pytest.mark.parametrize("structure", ["us", "diag"])
@pytest.mark.parametrize(("q", "num_factors"), [(1, 1), (2, 1), (5, 1), (2, 2)])
def test_exact_for_the_normal_law(q, num_factors, structure):
    case = make_case("gaussian", q=q, num_factors=num_factors, structure=structure, weights=True)
    rng = np.random.default_rng(1)
    problem = case.problem.replace(offset=rng.normal(size=case.problem.num_obs))
    for _ in range(4):
        psi = case.psi + rng.normal(0, 0.5, case.psi.shape)
        expected = normal_log_likelihood(problem, psi)
        np.testing.assert_allclose(log_likelihood(problem, psi), expected, rtol=1e-11)


def test_exact_at_the_edges():
    case = make_case("gaussian", q=2)
    psi = case.psi.copy()
    for theta in ([0, 0, 0], [1, -2, 0], [0, 1, 0], [-1, 0.5, 3], [1e-9, 0, 1e3]):
        psi[2:5] = theta
        expected = normal_log_likelihood(case.problem, psi)
        np.testing.assert_allclose(log_likelihood(case.problem, psi), expected, rtol=1e-9)


def integral(problem, psi):
    """The marginal likelihood of a random-intercept model by quadrature, level by level."""
    law, total = problem.family, 0.0
    for level in range(problem.groupings[0].num_levels):
        mine = np.flatnonzero(problem.groupings[0].codes == level)
        fixed, y, n = problem.X[mine] @ psi[:-1], problem.y[mine], problem.trials[mine]

        def density(u, fixed=fixed, y=y, n=n):
            eta = fixed + psi[-1] * u
            if law.name == "binomial":
                log = stats.binom.logpmf(y, n, special.expit(eta))
            else:
                log = stats.poisson.logpmf(y, np.exp(eta))
            return np.exp(np.sum(log)) * stats.norm.pdf(u)

        total += np.log(integrate.quad(density, -9, 9, epsabs=0, epsrel=1e-10, limit=200)[0])
    return total


@pytest.mark.parametrize("family", ["binomial", "poisson"])
def test_close_to_the_integral_and_closer_with_more_rows(family):
    """The error of a level is O(1 / rows): sixteen times the rows, less than half of it."""
    errors = []
    for size in (4, 64):
        case = make_case(family, num_levels=4, size=size, seed=2)
        psi = np.append(case.psi[:2], 0.8)
        error = float(log_likelihood(case.problem, psi)) - integral(case.problem, psi)
        errors.append(abs(error) / 4)
    assert 1e-6 < errors[0] < 0.05
    assert errors[1] < 0.5 * errors[0]


def test_even_in_the_sign_of_a_column():
    case = make_case("binomial", q=3, spread=0.8)
    psi = case.psi + 0.1
    flipped = psi.copy()
    flipped[[3, 4, 6]] *= np.array([1.0, -1.0, -1.0])  # L[1, 0] stays, column 1 turns
    assert log_likelihood(case.problem, psi) != log_likelihood(case.problem, 1.1 * psi)
    np.testing.assert_allclose(
        log_likelihood(case.problem, flipped), log_likelihood(case.problem, psi), rtol=1e-12
    )


@pytest.mark.parametrize("family", ["binomial", "gamma", "beta"])
def test_without_variance_it_is_the_likelihood_of_the_law(family):
    case = make_case(family)
    problem, psi = case.problem, case.psi.copy()
    psi[2] = 0.0
    law = problem.family
    weight = problem.trials if law.weight_role == "trials" else problem.weights
    terms = log_probs(law, problem.y, problem.X @ psi[:2], psi[3:], weight)
    np.testing.assert_allclose(log_likelihood(problem, psi), np.sum(terms), rtol=1e-11)
