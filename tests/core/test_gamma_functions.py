"""Gamma functions against mpmath, derivatives included, over their whole domain."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from jaxglmm.gamma_functions import (
    log_binomial_coefficient,
    log_factorial,
    log_gamma,
    log_gamma_density_constant,
    log_rising,
    log_rising_centred,
    log_rising_exp,
)

from .digits import ORDERS, derivatives, exact_derivative, exactly

POSITIVE = np.array([1e-8, 1e-3, 0.1, 0.5, 1.0, 1.5, 2.0, 3.7, 20.0, 1e3, 1e6, 1e10])


# Near its zeros at 1 and 2 the error is that of terms of size ten.
@pytest.mark.parametrize(("order", "atol"), [(0, 2e-14), (1, 1e-14), (2, 1e-14), (3, 1e-13)])
def test_log_gamma_and_its_derivatives(order, atol):
    x = POSITIVE if order < 3 else POSITIVE[1:]
    truth = mp.loggamma if order == 0 else lambda v: mp.psi(order - 1, v)
    value = derivatives(log_gamma, order)[order](x)
    np.testing.assert_allclose(value, exactly(truth, x), rtol=5e-14, atol=atol)


def test_log_gamma_of_very_large_arguments():
    x = np.array([1e15, 1e17, 9e17, 1.1e18, 1e25, 1e300])
    np.testing.assert_allclose(log_gamma(x), exactly(mp.loggamma, x), rtol=1e-14)


@pytest.mark.single
def test_log_gamma_in_single_precision():
    x = np.array([0.01, 0.5, 3.0, 50.0, 1e3, 5e4, 1e5, 1e6, 1e8], np.float32)
    value = log_gamma(x)
    assert value.dtype == np.float32
    np.testing.assert_allclose(value, exactly(mp.loggamma, x), rtol=3e-6, atol=1e-5)


@pytest.mark.parametrize("n", [0.0, 1.0, 2.0, 7.0, 150.0, 1e5])
def test_log_rising(n):
    def truth(x):
        return mp.loggamma(x + n) - mp.loggamma(x)

    # n log(x) is the size of the terms; the error is relative to it.
    size = n * (1 + np.abs(np.log(POSITIVE + n)))
    error = log_rising(POSITIVE, np.full_like(POSITIVE, n)) - exactly(truth, POSITIVE)
    assert np.all(np.abs(error) <= 1e-14 * (1 + size))
    slope = jax.jit(jax.vmap(jax.grad(log_rising), (0, None)))(POSITIVE, n)
    with mp.workdps(80):
        expected = exactly(lambda x: mp.psi(0, x + n) - mp.psi(0, x), POSITIVE)
    np.testing.assert_allclose(slope, expected, rtol=1e-8, atol=1e-13)


@pytest.mark.parametrize("n", [0.0, 1.0, 7.0, 1e5, 1e9, 1e12])
def test_log_rising_centred(n):
    """Moderate where n is large, and so is its error; derivatives are those of the difference."""
    x = np.array([1e-3, 0.4, 3.0, 50.0, 1e4])
    with mp.workdps(60):
        power = n * mp.log(n) - n if n else mp.mpf(0)
        truth = exactly(lambda v: mp.loggamma(v + n) - mp.loggamma(v) - power, x)
        by_x = exactly(lambda v: mp.psi(0, v + n) - mp.psi(0, v), x)
        by_n = exactly(lambda v: mp.psi(0, v + n) - mp.log(n), x) if n else None
    N = np.full_like(x, n)
    size = 1.0 + np.abs(truth) + (x + 8.0) * np.log1p(n / (x + 8.0))
    assert np.all(np.abs(log_rising_centred(x, N) - truth) <= 1e-14 * size)
    slopes = jax.jit(jax.vmap(jax.grad(log_rising_centred, (0, 1))))(x, N)
    np.testing.assert_allclose(slopes[0], by_x, rtol=1e-12, atol=1e-13)
    if by_n is not None:
        np.testing.assert_allclose(slopes[1], by_n, rtol=1e-12, atol=1e-14 * (1.0 + np.log(n)))


def test_log_gamma_density_constant():
    nu = POSITIVE
    truth = exactly(lambda v: v * mp.log(v) - v - mp.loggamma(v), nu)
    value, slope = derivatives(log_gamma_density_constant, 1)
    np.testing.assert_allclose(value(nu), truth, rtol=1e-13, atol=2e-14)
    truth = exactly(lambda v: mp.log(v) - mp.psi(0, v), nu)
    np.testing.assert_allclose(slope(nu), truth, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("among", [[], [0.5, 254.5, 256.0, 1e6]])
def test_log_factorial_and_its_slope(among):
    """Whole numbers alone, which a table knows, and beside others."""
    x = np.array([0.0, 1.0, 2.0, 17.0, 100.0, 255.0, *among])
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(log_factorial)))(x)
    together, once = (
        jax.jit(log_factorial)(x),
        exactly(lambda v: mp.loggamma(v + 1), x),
    )
    np.testing.assert_allclose(together, once, rtol=1e-14, atol=1e-15)
    np.testing.assert_array_equal(value, together)
    np.testing.assert_allclose(slope, exactly(lambda v: mp.psi(0, v + 1), x), rtol=1e-13)
    assert np.isnan(log_factorial(np.array([np.nan]))[0])


@pytest.mark.parametrize(("n", "y"), [(1, 0), (1, 1), (6, 2), (50, 25), (1e6, 3), (1e6, 5e5)])
def test_log_binomial_coefficient(n, y):
    truth = exactly(lambda a, b: mp.log(mp.binomial(a, b)), n, y)
    # A difference of log-gammas: exact relative to the largest.
    atol = 1e-15 * exactly(mp.loggamma, n + 1) + 5e-14
    np.testing.assert_allclose(log_binomial_coefficient(1.0 * n, 1.0 * y), truth, atol=atol)


@pytest.mark.parametrize("n", [0.0, 1.0, 2.0, 20.0])
@ORDERS
def test_log_rising_exp_and_its_derivatives(order, n):
    """In log x; at large x it is n log x, so that derivatives beyond the first vanish."""
    x = np.array([-800.0, -30.0, -3.0, 1.0, 5.0, 25.0, 40.0])

    def exact(v):
        return (v if n else 0) + mp.fsum(mp.log(mp.exp(v) + k) for k in range(1, int(n)))

    truth = exact_derivative(exact, order)(x)
    value = derivatives(lambda v: log_rising_exp(v, jnp.full_like(v, n)), order)[order](x)
    size = 1.0 + n * (1.0 + (order == 0) * np.abs(x))
    np.testing.assert_array_less(np.abs(value - truth), 3e-15 * 10**order * size)


@pytest.mark.parametrize("m", [0, 1, 2, 3])
@pytest.mark.parametrize("n", [0.5, 3.0, 150.0])
def test_slopes_of_log_rising(m, n):
    """In relative precision also at large x."""
    x = POSITIVE[1:]
    value = derivatives(lambda v: log_rising(v, jnp.full_like(v, n)), m + 1)[m + 1](x)
    with mp.workdps(100):
        truth = exactly(lambda v: mp.psi(m, v + n) - mp.psi(m, v), x)
    np.testing.assert_allclose(value, truth, rtol=1e-13)


def test_rises_differentiate_in_both_arguments():
    """Also where only one of them is differentiated, or both."""
    x, n = 1.7, 3.0

    def both(t):
        return log_rising(x + t, n + 2 * t)

    by_x, by_n = (
        jax.grad(log_rising, 0)(x, n),
        jax.grad(log_rising, 1)(x, n),
    )
    np.testing.assert_allclose(by_x, exactly(lambda v: mp.psi(0, v + n) - mp.psi(0, v), x), 1e-13)
    np.testing.assert_allclose(by_n, exactly(lambda v: mp.psi(0, v + n), x), 1e-13)
    np.testing.assert_allclose(jax.grad(both)(0.0), by_x + 2 * by_n, rtol=1e-13)
    second = jax.grad(jax.grad(both))(0.0)
    truth = exactly(lambda v: 9 * mp.psi(1, v + n) - mp.psi(1, v), x)
    np.testing.assert_allclose(second, truth, rtol=1e-13)
