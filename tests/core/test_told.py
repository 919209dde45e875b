"""Columns of X that the rows tell nothing of: all else is as without them."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxglmm as jg
from jaxglmm.ascent.told import told_of
from jaxglmm.rows import arrange

from .zoo import make_case

CASES = [
    ("gaussian", "laplace"),
    ("gaussian", "reml"),
    ("poisson", "reml"),
    ("poisson", "approximate_laplace"),
]


def problems(family: str, method: str) -> tuple[jg.Problem, jg.Problem]:
    """One with a third column, which depends on two others where the rows have a weight."""
    plain = make_case(family, size=10, spread=0.8, weights=True).problem.replace(method=method)
    plain = plain.replace(weights=np.where(np.arange(len(plain.y)) % 3 == 0, 0.0, plain.weights))
    rng = np.random.default_rng(1)
    third = (
        plain.X[:, 0] - 2.0 * plain.X[:, 1] + (plain.weights == 0) * rng.normal(size=plain.y.shape)
    )
    X = np.column_stack([plain.X[:, :2], third, plain.X[:, 2:]])
    return plain, plain.replace(X=X, predictors=(0,) * X.shape[1])


@pytest.mark.parametrize(("family", "method"), CASES)
def test_the_fit_is_that_without_them(family: str, method: str) -> None:
    one, both = map(fit, problems(family, method))
    p = one.params.beta.shape[0]
    others = np.delete(np.arange(p + 1), 2)
    assert jg.status.NAMES[int(both.status)] == "rank_deficient"
    np.testing.assert_allclose(both.log_likelihood, one.log_likelihood, rtol=1e-10)
    np.testing.assert_allclose(both.params.theta, one.params.theta, rtol=1e-6)
    assert np.all(np.asarray(both.hessian[2]) == 0.0)
    kept = np.delete(np.arange(both.hessian.shape[0]), 2)
    scale = np.abs(np.diagonal(one.hessian)) ** 0.5
    apart = (both.hessian[np.ix_(kept, kept)] - one.hessian) / np.outer(scale, scale)
    assert np.max(np.abs(apart)) < 1e-5
    if family != "gaussian":  # which has y from where least squares are: any of many coefficients
        np.testing.assert_allclose(both.params.beta[others], one.params.beta, rtol=1e-6, atol=1e-8)
        assert both.params.beta[2] == 0.0


def fit(problem: jg.Problem) -> jg.Estimate:
    return jax.jit(jg.maximise)(problem)


@pytest.mark.parametrize(("family", "method"), CASES)
def test_derivatives_are_those_without_them(family: str, method: str) -> None:
    def slopes(problem: jg.Problem) -> jax.Array:
        def value(offset: jax.Array) -> jax.Array:
            found = jg.maximise(problem.replace(offset=offset))
            return found.log_likelihood + found.params.theta.sum()

        return jax.jit(jax.grad(value))(jnp.asarray(problem.offset))

    one, both = map(slopes, problems(family, method))
    np.testing.assert_allclose(both, one, rtol=1e-5, atol=1e-7)


def test_what_is_told() -> None:
    """Of three columns that depend on each other the first two; padding is not asked of."""
    _, both = problems("poisson", "reml")
    rows = arrange(both)
    expected = np.arange(both.X.shape[1]) != 2
    np.testing.assert_array_equal(told_of(rows), expected)
    unfree = dataclasses.replace(rows, free=jnp.asarray(expected), X=rows.X.at[2].set(0.0))
    assert np.all(told_of(unfree))
    assert np.all(told_of(dataclasses.replace(rows, method="laplace")))
