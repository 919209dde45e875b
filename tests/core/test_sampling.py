"""Draws that laws are made of, in every range of their parameters, against scipy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import gammaln

from jaxglmm.families import sampling

NUM = 100_000
RATES = (1e-3, 0.7, 29.9, 30.1, 80.0, 5e3, 9.9e4, 1.1e5, 3e7)
SUCCESSES = (
    *((n, p) for n in (1.0, 6.0, 70.0) for p in (1e-3, 0.3, 0.5, 0.97)),
    *((1e3, 0.0299), (1e3, 0.0301), (200.0, 0.6), (1e5, 0.5), (1e9, 1e-4), (1e6, 0.4)),
)
SHAPES = (0.02, 0.5, 0.999, 1.0, 3.0, 200.0, 1e9)


def check(drawn: np.ndarray, law: stats.rv_discrete) -> None:
    """Random ranks between P(Y < y) and P(Y <= y) are uniform; 1e-4 is rarer than these tests."""
    drawn = np.asarray(drawn)
    assert np.all(drawn == np.floor(drawn))
    below, upto = law.cdf(drawn - 1), law.cdf(drawn)
    ranks = below + np.random.default_rng(0).uniform(size=drawn.size) * (upto - below)
    assert stats.kstest(ranks, "uniform").pvalue > 1e-4


@pytest.fixture(scope="module")
def poisson():
    return jax.jit(sampling.poisson)


@pytest.fixture(scope="module")
def binomial():
    return jax.jit(sampling.binomial)


@pytest.mark.parametrize("rate", RATES)
def test_poisson(rate, poisson):
    check(poisson(jax.random.key(3), jnp.full(NUM, rate)), stats.poisson(rate))


@pytest.mark.parametrize(("trials", "p"), SUCCESSES)
def test_binomial(trials, p, binomial):
    found = binomial(jax.random.key(5), jnp.full(NUM, trials), jnp.full(NUM, p))
    assert np.all((found >= 0) & (found <= trials))
    check(found, stats.binom(trials, p))


def test_a_draw_does_not_depend_on_its_neighbours_laws(poisson, binomial):
    """Those found by steps, by rejection and by expansion are drawn side by side."""
    key, size = jax.random.key(1), 3000
    rates = np.resize([0.5, 100.0, 1e6], size)
    both = poisson(key, jnp.asarray(rates))
    for rate in (0.5, 100.0, 1e6):
        alone = poisson(key, jnp.full(size, rate))
        np.testing.assert_array_equal(both[rates == rate], alone[rates == rate])
    p = np.resize([0.01, 0.4], size)
    both = binomial(key, jnp.full(size, 500.0), jnp.asarray(p))
    for one in (0.01, 0.4):
        alone = binomial(key, jnp.full(size, 500.0), jnp.full(size, one))
        np.testing.assert_array_equal(both[p == one], alone[p == one])


def test_ends_and_what_is_no_parameter(poisson, binomial):
    key = jax.random.key(0)
    np.testing.assert_array_equal(poisson(key, jnp.array([0.0, np.nan])), [0.0, np.nan])
    trials = jnp.array([0.0, 9.0, 9.0, 9.0, 9.0, np.nan])
    p = jnp.array([0.4, 0.0, 1.0, np.nan, 1.5, 0.5])
    expected = [0.0, 0.0, 9.0, np.nan, np.nan, np.nan]
    np.testing.assert_array_equal(binomial(key, trials, p), expected)
    found = jax.jit(sampling.log_gamma_variable)(key, jnp.array([np.nan, -1.0, 1e300]))
    assert np.all(np.isnan(found[:2])) and np.isfinite(found[2])


@pytest.mark.parametrize("shape", SHAPES)
def test_gamma(shape):
    """Ranks from logarithms, P(X <= x) = x^a / Gamma(a + 1), where a variable is no number."""
    found = np.asarray(
        jax.jit(sampling.log_gamma_variable)(jax.random.key(7), jnp.full(NUM, shape))
    )
    tiny = found < -700.0
    known = stats.gamma(shape).cdf(np.exp(found))
    ranks = np.where(tiny, np.exp(shape * np.where(tiny, found, 0.0) - gammaln(shape + 1.0)), known)
    assert stats.kstest(ranks, "uniform").pvalue > 1e-4
