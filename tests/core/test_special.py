"""Special functions against mpmath, derivatives included, over their whole domain."""

from __future__ import annotations

import jax
import mpmath as mp
import numpy as np
import pytest

from jaxglmm import special

mp.mp.dps = 60
REAL = np.array([0.0, 1e-8, 0.1, 0.7, 1.0, 5.0, 20.0, 36.0, 40.0, 300.0, 700.0])
BOTH = np.concatenate([-REAL[::-1], REAL[1:]])
POSITIVE = np.array([1e-8, 1e-3, 0.1, 0.5, 1.0, 1.5, 2.0, 3.7, 20.0, 1e3, 1e6, 1e10])


def exactly(f, *arguments):
    """An mpmath function over arrays, rounded once."""
    return np.vectorize(lambda *xs: float(f(*(mp.mpf(float(x)) for x in xs))))(
        *map(np.asarray, arguments)
    )


def derivatives(f, order):
    """[f, f', ..., f^(order)] over an array."""
    functions = [f]
    for _ in range(order):
        functions.append(jax.grad(functions[-1]))
    return [jax.jit(jax.vmap(g)) for g in functions]


def test_softplus_and_its_derivatives():
    value, first, second = derivatives(special.softplus, 2)
    np.testing.assert_allclose(
        value(BOTH), exactly(lambda x: mp.log1p(mp.exp(x)), BOTH), rtol=1e-15
    )
    np.testing.assert_allclose(first(BOTH), exactly(lambda x: 1 / (1 + mp.exp(-x)), BOTH), 1e-15)
    curvature = exactly(lambda x: mp.exp(-x) / (1 + mp.exp(-x)) ** 2, BOTH)
    np.testing.assert_allclose(second(BOTH), curvature, rtol=1e-14, atol=1e-16)


def test_log1m_exp():
    x = -np.concatenate([[1e-300, 1e-16], REAL[1:], [745.0]])
    truth = exactly(lambda v: mp.log(-mp.expm1(v)) if v > -1 else mp.log1p(-mp.exp(v)), x)
    # Below 1e-307 numbers are subnormal: XLA flushes them to zero.
    np.testing.assert_allclose(special.log1m_exp(x), truth, rtol=2e-15, atol=1e-307)
    slope_of = derivatives(special.log1m_exp, 1)[1]
    slope = exactly(lambda v: -mp.exp(v) / -mp.expm1(v), x[1:])
    np.testing.assert_allclose(slope_of(x[1:]), slope, rtol=1e-13, atol=1e-307)


# Near its zeros at 1 and 2 the error is that of terms of size ten.
@pytest.mark.parametrize(("order", "atol"), [(0, 2e-14), (1, 1e-14), (2, 1e-14), (3, 1e-13)])
def test_log_gamma_and_its_derivatives(order, atol):
    x = POSITIVE if order < 3 else POSITIVE[1:]
    truth = mp.loggamma if order == 0 else lambda v: mp.psi(order - 1, v)
    value = derivatives(special.log_gamma, order)[order](x)
    np.testing.assert_allclose(value, exactly(truth, x), rtol=5e-14, atol=atol)


def test_log_gamma_of_very_large_arguments():
    x = np.array([1e15, 1e17, 9e17, 1.1e18, 1e25, 1e300])
    np.testing.assert_allclose(special.log_gamma(x), exactly(mp.loggamma, x), rtol=1e-14)


@pytest.mark.single
def test_log_gamma_in_single_precision():
    x = np.array([0.01, 0.5, 3.0, 50.0, 1e3, 5e4, 1e5, 1e6, 1e8], np.float32)
    value = special.log_gamma(x)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, exactly(mp.loggamma, x), rtol=3e-6, atol=1e-5)


@pytest.mark.parametrize("n", [0.0, 1.0, 2.0, 7.0, 150.0, 1e5])
def test_log_rising(n):
    def truth(x):
        return mp.loggamma(x + n) - mp.loggamma(x)

    # n log(x) is the size of the terms; the error is relative to it.
    size = n * (1 + np.abs(np.log(POSITIVE + n)))
    error = special.log_rising(POSITIVE, np.full_like(POSITIVE, n)) - exactly(truth, POSITIVE)
    assert np.all(np.abs(error) <= 1e-14 * (1 + size))
    slope = jax.jit(jax.vmap(jax.grad(special.log_rising), (0, None)))(POSITIVE, n)
    with mp.workdps(80):
        expected = exactly(lambda x: mp.psi(0, x + n) - mp.psi(0, x), POSITIVE)
    np.testing.assert_allclose(slope, expected, rtol=1e-8, atol=1e-13)


def test_log_gamma_density_constant():
    nu = POSITIVE
    truth = exactly(lambda v: v * mp.log(v) - v - mp.loggamma(v), nu)
    value, slope = derivatives(special.log_gamma_density_constant, 1)
    np.testing.assert_allclose(value(nu), truth, rtol=1e-13, atol=2e-14)
    truth = exactly(lambda v: mp.log(v) - mp.psi(0, v), nu)
    np.testing.assert_allclose(slope(nu), truth, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(("n", "y"), [(1, 0), (1, 1), (6, 2), (50, 25), (1e6, 3), (1e6, 5e5)])
def test_log_binomial_coefficient(n, y):
    truth = exactly(lambda a, b: mp.log(mp.binomial(a, b)), n, y)
    # A difference of log-gammas: exact relative to the largest.
    atol = 1e-15 * exactly(mp.loggamma, n + 1) + 5e-14
    np.testing.assert_allclose(special.log_binomial_coefficient(1.0 * n, 1.0 * y), truth, atol=atol)
