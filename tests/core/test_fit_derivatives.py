"""The fit as a differentiable function of the data, against differences of refits."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxglmm.ascent import maximise_rows
from jaxglmm.params import flatten
from jaxglmm.rows import arrange

from .zoo import derivative, make_case

SLOW = pytest.mark.slow
CASES = [
    pytest.param("gaussian", 2, id="gaussian-2"),
    pytest.param("binomial", 1, id="binomial-1"),
    pytest.param("gamma", 1, id="gamma-1"),
    pytest.param("poisson", 2, id="poisson-2", marks=SLOW),
    pytest.param("inverse_gaussian", 1, id="inverse_gaussian-1", marks=SLOW),
    pytest.param("nbinom2", 1, id="nbinom2-1", marks=SLOW),
    pytest.param("beta", 1, id="beta-1", marks=SLOW),
]


def setup(family, q):
    """The outputs of a fit as a function of (y, X, weights, offset), a point and a direction."""
    problem = make_case(family, num_levels=12, size=10, q=q, spread=0.8, weights=True).problem

    def solve(data):
        y, X, weights, offset = data
        changed = problem.replace(y=y, X=X, weights=weights, offset=offset)
        estimate = maximise_rows(arrange(changed))
        return flatten(estimate.params), estimate.log_likelihood, estimate.u[0]

    data = tuple(map(jnp.asarray, (problem.y, problem.X, problem.weights, problem.offset)))
    rng = np.random.default_rng(4)
    # Relative in the responses, so that they stay where the law lives.
    y = data[0]
    units = (0.2 * y * (1 - y) if problem.family.support == "unit_open" else 0.2 * y, 0.2, 0.2, 0.2)
    direction = tuple(
        u * jnp.asarray(rng.uniform(-1, 1, x.shape)) for u, x in zip(units, data, strict=True)
    )
    return solve, data, direction


def along(data, direction, t):
    return jax.tree.map(lambda x, d: x + t * d, data, direction)


@pytest.mark.parametrize(("family", "q"), CASES)
def test_derivatives_in_the_data(family, q):
    solve, data, direction = setup(family, q)
    run = jax.jit(solve)
    forward = jax.jit(lambda d: jax.jvp(solve, (data,), (d,))[1])
    # One array at a time, so that an error in a small one is not hidden by the others.
    for i in range(4):
        only = tuple(d if j == i else jnp.zeros_like(d) for j, d in enumerate(direction))
        for k, tangent in enumerate(forward(only)):
            expected = derivative(lambda t, k=k, o=only: run(along(data, o, t))[k], 1e-2)
            scale = np.max(np.abs(expected))
            np.testing.assert_allclose(tangent, expected, rtol=1e-5, atol=1e-5 * scale)


@pytest.mark.parametrize(("family", "q"), CASES[:1] + CASES[2:])
def test_reverse_is_the_transpose_of_forward(family, q):
    solve, data, direction = setup(family, q)

    @jax.jit
    def both(direction, cotangent):
        forward = jax.jvp(solve, (data,), (direction,))[1]
        (reverse,) = jax.vjp(solve, data)[1](cotangent)
        return forward, reverse

    rng = np.random.default_rng(5)
    shapes = jax.eval_shape(solve, data)
    cotangent = jax.tree.map(lambda s: jnp.asarray(rng.normal(size=s.shape)), shapes)
    forward, reverse = both(direction, cotangent)
    left = sum(jnp.vdot(a, b) for a, b in zip(cotangent, forward, strict=True))
    right = sum(jnp.vdot(a, b) for a, b in zip(reverse, direction, strict=True))
    np.testing.assert_allclose(left, right, rtol=1e-9)
