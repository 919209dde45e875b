"""Draws of responses: their law, their keys, and what they do not depend on."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg

from jaxglmm import families
from jaxglmm.covariance import Autoregressive, Diagonal, ReducedRank, Unstructured
from jaxglmm.design import Grouping, Term, make_problem
from jaxglmm.params import Params
from jaxglmm.simulation import draw, draw_key, draws, make_source, simulate

from .structures import covariance_from_natural
from .zoo import LAWS, eta_interval, grouping, slow

NUM_DRAWS = 20_000
SIGMA, N = 0.8, 24
RNG = np.random.default_rng(5)
SAMPLES = jax.jit(draws)


@functools.cache
def gaussian():
    """Two nested factors and a crossed one, of four structures; weights and an offset."""
    X = RNG.normal(size=(N, 2))
    schools, classes = np.arange(N) // 8, np.arange(N) // 4
    pupils = RNG.permutation(np.arange(N) % 5)
    groupings = (
        Grouping(classes, RNG.normal(size=(N, 2)), 6, (Term(Unstructured(2)),)),
        Grouping(
            schools, RNG.normal(size=(N, 4)), 3, (Term(Diagonal(1)), Term(ReducedRank(3, rank=2)))
        ),
        Grouping(pupils, RNG.normal(size=(N, 3)), 5, (Term(Autoregressive(3)),)),
    )
    problem = make_problem(
        np.zeros(N),
        X,
        families.get("gaussian"),
        groupings,
        weights=RNG.uniform(0.5, 2.0, N),
        offset=RNG.normal(size=N),
    )
    loadings = [0.7, 0.4, 0.6, -0.3, 0.5]
    theta = np.array([0.9, -0.4, 0.6, 0.5, *loadings, 0.8, 0.6])
    return problem, Params(np.array([0.5, -1.0]), theta, np.log([SIGMA]))


def relative_factors(problem, params):
    """Lambda of each grouping factor, by its terms; and its Lambda Lambda' from natural values."""
    start, found = 0, []
    for own in problem.groupings:
        factors, covariances = [], []
        for structure in (term.covariance for term in own.terms):
            theta = jnp.asarray(params.theta[start : start + structure.num_theta])
            values = np.asarray(structure.natural(theta, ()))
            factors.append(np.asarray(structure.factor(theta, ())))
            covariances.append(covariance_from_natural(structure, (), values))
            start += structure.num_theta
        found.append((linalg.block_diag(*factors), linalg.block_diag(*covariances)))
    return found


def exact_moments(problem, params):
    """Mean and covariance of the responses."""
    covariance = np.diag(SIGMA**2 / problem.weights)
    for own, (_, block) in zip(problem.groupings, relative_factors(problem, params), strict=True):
        together = own.codes[:, None] == own.codes
        covariance += together * (own.Z @ block @ own.Z.T)
    return problem.X @ params.beta + problem.offset, covariance


def test_moments_are_those_of_the_marginal_law():
    """Within 5.5 standard errors each: 324 of them pass by chance but once in 80,000 times."""
    problem, params = gaussian()
    mean, covariance = exact_moments(problem, params)
    numbers = jnp.arange(NUM_DRAWS)
    y = np.asarray(SAMPLES(make_source(problem), params, None, jnp.asarray(7), numbers))
    variance = np.diag(covariance)
    assert np.all(np.abs(y.mean(0) - mean) < 5.5 * np.sqrt(variance / NUM_DRAWS))
    error = np.sqrt((np.outer(variance, variance) + covariance**2) / NUM_DRAWS)
    assert np.all(np.abs(np.cov(y.T) - covariance) < 5.5 * error)


def test_given_effects_leave_the_noise_alone():
    problem, params = gaussian()
    rng = np.random.default_rng(1)
    u = tuple(rng.normal(size=(g.num_latent, g.num_levels)) for g in problem.groupings)
    source = make_source(problem)
    y = np.asarray(SAMPLES(source, params, u, jnp.asarray(7), jnp.arange(4000)))
    eta = problem.X @ params.beta + problem.offset
    factors = relative_factors(problem, params)
    for own, (L, _), values in zip(problem.groupings, factors, u, strict=True):
        eta += np.sum(own.Z * (L @ values).T[own.codes], axis=1)
    z = (y - eta) * np.sqrt(problem.weights) / SIGMA
    assert np.all(np.abs(z.mean(0)) < 5.0 / np.sqrt(4000))
    assert np.all(np.abs(np.cov(z.T) - np.eye(N)) < 5.5 * np.sqrt((1 + np.eye(N)) / 4000))


def test_a_draw_is_a_function_of_its_key():
    """Alone, among others, and mapped over parameters; levels that pad move none."""
    problem, params = gaussian()
    key = draw_key(7, 1)
    together = SAMPLES(make_source(problem), params, None, jnp.asarray(7), jnp.arange(3))
    wider = tuple(
        Grouping(g.codes, g.Z, g.num_levels + 3, g.terms, g.constants) for g in problem.groupings
    )
    padded = problem.replace(groupings=wider)
    both = jax.tree.map(lambda part: jnp.stack([part, 2.0 * part]), params)
    mapped = jax.jit(jax.vmap(simulate, in_axes=(None, 0, None)))(key, both, padded)
    np.testing.assert_allclose(mapped[0], together[1], rtol=1e-12, atol=1e-12)
    assert np.all(mapped[1] != mapped[0])


def test_rows_of_weight_zero_move_no_other():
    law = families.get("genpois")
    X = np.array([0.5, 1.0, 0.2, 0.7])[:, None]
    params = Params(np.array([1.0]), np.array([0.4]), LAWS["genpois"].phi)
    one = jax.jit(simulate)

    def drawn(X, weights):
        problem = make_problem(
            np.ones(4), X, law, (grouping([0, 0, 1, 1], np.ones((4, 1))),), weights=weights
        )
        return np.asarray(one(draw_key(2, 0), params, problem))

    far = X.copy()
    far[2] = 1e5  # a mean beyond all numbers
    left_out = drawn(far, np.array([1.0, 1.0, 0.0, 1.0]))
    assert np.isfinite(left_out).all()
    np.testing.assert_array_equal(left_out[[0, 1, 3]], drawn(X, np.ones(4))[[0, 1, 3]])


QUICK = ("binomial", "gamma", "nbinom2", "beta", "tweedie", "cumulative")
NAMES = [name if name in QUICK else slow(name) for name in families.REGISTRY]


def law_problem(name, dtype=np.float64):
    law = families.get(name)
    X = np.linspace(*eta_interval(law), 12).astype(dtype)[:, None]
    trials = np.full(12, 6.0, dtype) if law.weight_role == "trials" else None
    own = grouping(np.arange(12) % 3, np.ones((12, 1), dtype))
    problem = make_problem(np.zeros(12, dtype), X, law, (own,), trials=trials)
    return problem, Params(np.ones(1, dtype), np.array([0.1], dtype), LAWS[name].phi.astype(dtype))


INSIDE = {
    "positive": lambda y: y > 0,
    "nonnegative": lambda y: y >= 0,
    "count": lambda y: (y >= 0) & (y == np.floor(y)),
    "positive_count": lambda y: (y >= 1) & (y == np.floor(y)),
    "binomial": lambda y: (y >= 0) & (y <= 6) & (y == np.floor(y)),
    "unit_open": lambda y: (y > 0) & (y < 1),
    "unit_closed": lambda y: (y >= 0) & (y <= 1),
    "ordinal": lambda y: np.isin(y, (0.0, 1.0, 2.0)),
    "real": np.isfinite,
}


@pytest.mark.parametrize("name", NAMES)
def test_every_law_draws_in_its_support(name):
    problem, params = law_problem(name)
    y = np.asarray(SAMPLES(make_source(problem), params, None, jnp.asarray(3), jnp.arange(50)))
    assert np.all(INSIDE[problem.family.support](y))
    assert np.all(y.std(0) > 0)


@pytest.mark.parametrize("name", families.REGISTRY)
def test_precision_is_that_of_the_problem(name):
    problem, params = law_problem(name, np.float32)
    found = jax.eval_shape(draw, draw_key(1, 0), params, make_source(problem))
    assert (found.shape, found.dtype) == ((12,), np.float32)
