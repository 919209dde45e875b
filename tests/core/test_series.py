"""The sums of the laws tweedie and compois against mpmath, wherever they are hard."""

from __future__ import annotations

import itertools

import jax
import mpmath as mp
import numpy as np
import pytest

from jaxglmm.families import ConwayMaxwellPoisson, Tweedie
from jaxglmm.families.lattice import lattice, variance

# Windows of each kind: all counts, steps above one, and one with an edge at zero.
MEANS = (1e-8, 0.05, 1.0, 2.5, 12.0, 45.0, 400.0)
RATES = (0.02, 0.1, 0.3, 0.8, 1.0, 1.7, 6.0, 25.0)


def exact_compois(mu, nu):
    """log lambda and log P over the counts that matter, with lambda by bisection."""
    size = int(mu + 60 * np.sqrt(mu / nu + 1) + 60 / nu + 40)
    y = np.arange(size)
    log_factorial = np.array([float(v) for v in np.cumsum(np.log(np.maximum(y, 1)))])

    def log_p(rate):
        g = y * rate - nu * log_factorial
        return g - g.max() - np.log(np.sum(np.exp(g - g.max())))

    low, high = min(np.log(mu), 0.0) - 1.0, max(nu, 1.0) * np.log(mu + 3.0) + 1.0
    for _ in range(120):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if np.exp(log_p(middle)) @ y < mu else (low, middle)
    return y, log_p(low)


@pytest.mark.parametrize("nu", RATES)
def test_compois_by_summation(nu):
    law, phi = ConwayMaxwellPoisson(), np.array([-np.log(nu)])
    density = jax.jit(jax.vmap(law.log_prob, (0, None, None, None)))
    for mu in MEANS:
        y, log_p = exact_compois(mu, nu)
        spread = np.exp(log_p) @ (y - mu) ** 2
        # The sums' own rounding: counts times their logarithms.
        tolerance = 1e-10 + 1e-15 * mu * nu * np.log(mu + 3)
        found = variance(lattice(np.log(mu), nu))
        np.testing.assert_allclose(found, spread, rtol=10 * tolerance)
        near = np.unique(np.clip(np.round(mu + np.sqrt(spread) * np.arange(-3, 5)), 0, len(y) - 1))
        ours = density(near, np.log(mu), phi, 1.0)
        np.testing.assert_allclose(ours, log_p[near.astype(int)], rtol=1e-9, atol=tolerance)


def exact_narrow_variance(mu, nu):
    """Of a law on a few counts about mu, with lambda by bisection in 60 digits."""
    with mp.workdps(60):
        counts = range(max(0, int(mu) - 12), int(mu) + 14)
        own = [-mp.mpf(nu) * mp.loggamma(k + 1) for k in counts]
        shift = [k - mp.mpf(mu) for k in counts]

        def moments(rate):
            terms = [mp.exp(k * rate + u) for k, u in zip(counts, own, strict=True)]
            first, second = (mp.fdot(terms, [d**n for d in shift]) for n in (1, 2))
            return first, second / mp.fsum(terms)

        low, high = mp.mpf(-800), mp.mpf(nu) * mp.log(mu + 3) + 800
        for _ in range(220):
            middle = (low + high) / 2
            low, high = (low, middle) if moments(middle)[0] > 0 else (middle, high)
        return float(moments(low)[1])


@pytest.mark.parametrize("nu", [30.0, 100.0, 300.0])
def test_compois_between_two_counts(nu):
    for mu in (0.3, 1.0, 3.0 + 1e-4, 3.4, 10.5, 12.0):
        # Both sides round the mean of the law, exp(log mu).
        mean = float(np.exp(np.log(mu)))
        found = variance(lattice(np.log(mu), nu))
        np.testing.assert_allclose(found, exact_narrow_variance(mean, nu), rtol=1e-9)


@pytest.mark.parametrize("eta", [-40.0, 12.0, 25.0, 40.0])
@pytest.mark.parametrize("phi", [-2.0, 0.0, 2.0])
def test_compois_far_out_is_finite(eta, phi):
    law = ConwayMaxwellPoisson()
    f = lambda e, p: law.log_prob(3.0, e, p, 1.0)  # noqa: E731
    slope = jax.grad(f)(eta, np.array([phi]))
    assert np.isfinite(f(eta, np.array([phi]))) and np.isfinite(slope)
    # (y - mu) mu / Var y, and Var y is mu at small means, phi mu to first order at large ones.
    expected = 3.0 if eta < 0 else -np.exp(eta - phi)
    np.testing.assert_allclose(slope, expected, rtol=2e-4)


def test_compois_at_one_is_poisson():
    eta, y = np.repeat(np.linspace(-5, 6, 12), 3), np.tile([0.0, 2.0, 30.0], 12)
    law = ConwayMaxwellPoisson()
    f = jax.vmap(lambda y, e: law.log_prob(y, e, np.zeros(1), 1.0))
    expected = y * eta - np.exp(eta) - np.array([float(mp.loggamma(v + 1)) for v in y])
    np.testing.assert_allclose(f(y, eta), expected, rtol=1e-12, atol=1e-13)


def exact_tweedie(y, mu, phi, power):
    """The series in mpmath, over terms to the right of its maximum by far."""
    y, mu, phi, p = (mp.mpf(v) for v in (y, mu, phi, power))
    alpha = (2 - p) / (p - 1)
    log_z = alpha * mp.log(y / (p - 1)) - (1 + alpha) * mp.log(phi) - mp.log(2 - p)
    peak = y ** (2 - p) / (phi * (2 - p))
    width = 12 * mp.sqrt(peak / (1 + alpha)) + 40
    first, last = max(1, int(peak - width)), int(peak + width)
    terms = [j * log_z - mp.loggamma(j + 1) - mp.loggamma(alpha * j)
             for j in range(first, last + 1)]  # fmt: skip
    top = max(terms)
    series = top + mp.log(mp.fsum(mp.exp(t - top) for t in terms))
    mean = y * mu ** (1 - p) / (1 - p) - mu ** (2 - p) / (2 - p)
    return float(mean / phi - mp.log(y) + series)


@pytest.mark.parametrize("power", [1.02, 1.2, 1.5, 1.8, 1.98])
def test_tweedie_series(power):
    law = Tweedie(power=power)
    f = jax.jit(lambda y, p: law.log_prob(y, 0.3, p, 1.0))
    for y, phi in itertools.product((1e-3, 0.4, 3.0, 150.0), (0.01, 0.5, 4.0)):
        expected = exact_tweedie(y, np.exp(0.3), phi, power)
        np.testing.assert_allclose(f(y, np.log([phi])), expected, rtol=1e-9, atol=1e-9)


def test_a_known_power_is_no_parameter():
    known, free = Tweedie(power=1.5), Tweedie()
    assert (known.num_phi, known.phi_names, known.known) == (1, ("phi",), {"power": 1.5})
    both, one = np.array([0.2, 0.0]), np.array([0.2])
    for y in (0.0, 1.3):
        np.testing.assert_allclose(
            known.log_prob(y, 0.4, one, 1.0), free.log_prob(y, 0.4, both, 1.0), rtol=1e-14
        )
