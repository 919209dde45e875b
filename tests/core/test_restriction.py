"""Parameters held at values or equal to others, in the core: maxima and their derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxglmm.covariance import REGISTRY
from jaxglmm.design import Grouping, Problem, Term, make_problem
from jaxglmm.engine import log_likelihood, maximise
from jaxglmm.families import NegativeBinomial2
from jaxglmm.params import flatten
from jaxglmm.restriction import HELD, Restriction, Share, all_free, joined

NUM_LEVELS, SIZE = 12, 6


def make(method: str = "laplace") -> Problem:
    rng = np.random.default_rng(5)
    codes = np.repeat(np.arange(NUM_LEVELS, dtype=np.int32), SIZE)
    X = np.column_stack([np.ones(len(codes)), rng.normal(size=(len(codes), 2))])
    eta = (
        X @ [0.8, 0.3, -0.2]
        + (X[:, :2] @ rng.normal(0, 0.5, (2, NUM_LEVELS)))[np.arange(len(codes)), codes]
    )
    y = rng.poisson(rng.gamma(3.0, np.exp(eta) / 3.0)).astype(float)
    terms = (Term(REGISTRY["diag"](2)),)
    factor = Grouping(codes, X[:, :2], NUM_LEVELS, terms)
    return make_problem(y, X, NegativeBinomial2(), (factor,), method=method)


def shares(values: jax.Array) -> Restriction:
    """beta_1 held, the deviations equal, the dispersion held."""
    return Restriction(
        beta=Share(jnp.zeros(3).at[1].set(values[0]), (0, HELD, 1)),
        theta=Share(np.zeros(2), (0, 0)),
        phi=Share(values[1:], (HELD,)),
    )


@pytest.mark.parametrize("method", ["laplace", pytest.param("reml", marks=pytest.mark.slow)])
def test_maxima_and_derivatives(method: str) -> None:
    """In the values, against differences: of the log-likelihood, the estimates and the modes."""
    problem, at = make(method), jnp.asarray([0.4, 0.9])

    def fit(values: jax.Array) -> jax.Array:
        est = maximise(problem.replace(restriction=shares(values)))
        whole = [est.log_likelihood[None], flatten(est.params), est.u[0].ravel()[:3]]
        return jnp.concatenate(whole)

    run, h = jax.jit(fit), 1e-4
    slopes = jax.jit(jax.jacfwd(fit))(at)
    for k, e in enumerate(np.eye(2)):
        numeric = (run(at + h * e) - run(at - h * e)) / (2 * h)
        np.testing.assert_allclose(slopes[:, k], numeric, rtol=1e-6, atol=1e-7)


def test_the_gradient_vanishes_along_what_is_free() -> None:
    problem, values = make(), jnp.asarray([0.4, 0.9])
    restriction = shares(values)
    est = jax.jit(maximise)(problem.replace(restriction=restriction))
    assert est.params.beta[1] == 0.4 and est.params.phi[0] == 0.9
    assert est.params.theta[0] == est.params.theta[1] > 0
    assert est.hessian.shape == (3, 3) and est.status == 0
    whole = joined(restriction.beta, restriction.theta, restriction.phi)
    slope = flatten(jax.jit(jax.grad(log_likelihood))(est.params, problem))
    np.testing.assert_allclose(whole.pull(slope), 0.0, atol=1e-7)
    assert np.min(np.abs(slope[jnp.asarray([1, 5])])) > 0.1


def test_shares() -> None:
    share = Share(np.array([0.0, 2.0, 0.0, 0.0]), (0, HELD, 1, 0))
    full = share.expand(np.array([5.0, 7.0]))
    np.testing.assert_array_equal(full, [5, 2, 7, 5])
    np.testing.assert_array_equal(share.collapse(full), [5, 7])
    V = share.spread(np.array([[1.0, 0.5], [0.5, 3.0]]))
    np.testing.assert_array_equal(V[0], [1, 0, 0.5, 1])
    np.testing.assert_array_equal(V[1], 0)
    both = joined(share, all_free(1), xp=np)
    assert both.index == (0, HELD, 1, 0, 2) and not both.trivial and all_free(3).trivial
