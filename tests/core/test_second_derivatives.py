"""Second derivatives of a fit in the data and in held values, against differences of the first."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxglmm as jg

from . import test_restriction
from .zoo import derivative, make_case, slow

CASES = [
    ("gaussian", "laplace"),
    slow("poisson", "reml"),
    slow("poisson", "laplace"),
    slow("gaussian", "reml"),
    slow("binomial", "agq"),
    slow("gamma", "approximate_laplace"),
    slow("nbinom2", "laplace"),
]


def some(found: jg.Estimate) -> jax.Array:
    """A coefficient, a covariance parameter, the log-likelihood and the size of the effects."""
    u = jnp.sum(found.u[0] ** 2)
    return jnp.stack([found.params.beta[-1], found.params.theta[0], found.log_likelihood, u])


def check(outputs: Callable[[jax.Array], jax.Array]) -> None:
    # The matrix behind first derivatives is known to five digits or more (`Ends.unchanged`).
    expected = derivative(jax.jit(jax.jacfwd(outputs)), 1e-3)
    for how in (jax.jacfwd, jax.jacrev):
        second = jax.jit(how(jax.jacrev(outputs)))(0.0)
        scale = np.max(np.abs(expected))
        np.testing.assert_allclose(second, expected, rtol=1e-3, atol=1e-5 * scale)


@pytest.mark.parametrize(("family", "method"), CASES)
def test_in_the_data(family: str, method: str) -> None:
    """Other columns and another offset, along a curve."""
    points = 5 if method == "agq" else 1
    problem = make_case(family, size=10, spread=0.8).problem
    problem = problem.replace(method=method, quadrature_points=points)

    def outputs(t: jax.Array) -> jax.Array:
        X = jnp.asarray(problem.X)
        offset = jnp.asarray(problem.offset) + 0.2 * jnp.sin(2.0 * t + X[:, 1])
        X = X.at[:, 1].multiply(1.0 + t * X[:, 1])
        return some(jg.maximise(problem.replace(X=X, offset=offset)))

    check(outputs)


@pytest.mark.slow
def test_in_held_values() -> None:
    problem = test_restriction.make()

    def outputs(t: jax.Array) -> jax.Array:
        values = jnp.stack([0.4 + jnp.sin(t), 0.9 + t])
        return some(jg.maximise(problem.replace(restriction=test_restriction.shares(values))))

    check(outputs)
