"""Special functions against mpmath, derivatives included, over their whole domain."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

from jaxglmm import special

from .digits import ORDERS, derivatives, exact_derivative, exactly

REAL = np.array([0.0, 1e-8, 0.1, 0.7, 1.0, 5.0, 20.0, 36.0, 40.0, 300.0, 700.0])
BOTH = np.concatenate([-REAL[::-1], REAL[1:]])


def test_softplus_and_its_derivatives():
    value, first, second = derivatives(special.softplus, 2)
    np.testing.assert_allclose(
        value(BOTH), exactly(lambda x: mp.log1p(mp.exp(x)), BOTH), rtol=1e-15
    )
    np.testing.assert_allclose(first(BOTH), exactly(lambda x: 1 / (1 + mp.exp(-x)), BOTH), 1e-15)
    curvature = exactly(lambda x: mp.exp(-x) / (1 + mp.exp(-x)) ** 2, BOTH)
    np.testing.assert_allclose(second(BOTH), curvature, rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("side", [1, -1])
def test_softpluses_and_their_derivatives(side):
    """Both tails of all derivatives keep their relative accuracy."""
    found = derivatives(lambda x: special.softpluses(side * x)[0 if side > 0 else 1], 3)
    p, q = (lambda x: 1 / (1 + mp.exp(-x))), (lambda x: 1 / (1 + mp.exp(x)))
    truths = (
        lambda x: mp.log1p(mp.exp(x)),
        p,
        lambda x: p(x) * q(x),
        lambda x: p(x) * q(x) * (q(x) - p(x)),
    )
    for f, truth in zip(found, truths, strict=True):
        value, far = f(BOTH), np.abs(BOTH) >= 0.1
        np.testing.assert_allclose(value[far], exactly(truth, BOTH[far]), rtol=1e-14, atol=1e-307)
        # The third has its zero at 0.
        np.testing.assert_allclose(value, exactly(truth, BOTH), rtol=1e-14, atol=1e-16)


def test_log1m_exp():
    x = -np.concatenate([[1e-300, 1e-16], REAL[1:], [745.0]])
    truth = exactly(lambda v: mp.log(-mp.expm1(v)) if v > -1 else mp.log1p(-mp.exp(v)), x)
    # Below 1e-307 numbers are subnormal: XLA flushes them to zero.
    np.testing.assert_allclose(special.log1m_exp(x), truth, rtol=2e-15, atol=1e-307)
    slope_of = derivatives(special.log1m_exp, 1)[1]
    slope = exactly(lambda v: -mp.exp(v) / -mp.expm1(v), x[1:])
    np.testing.assert_allclose(slope_of(x[1:]), slope, rtol=1e-13, atol=1e-307)


@ORDERS
def test_log_softplus_and_its_derivatives(order):
    x = np.array([-1e3, -700.0, -31.0, -30.0, -29.9, -12.0, -3.0, -0.1, 0.0, 0.1, 3.0, 30.0, 700.0])
    truth = exact_derivative(lambda v: mp.log(mp.log1p(mp.exp(v))), order)(x)
    value = derivatives(special.log_softplus, order)[order](x)
    np.testing.assert_allclose(value, truth, rtol=1e-12, atol=1e-14)


@ORDERS
def test_log1m_exp_neg_exp_and_its_derivatives(order):
    x = np.array([-800.0, -40.0, -4.1, -4.0, -3.9, -2.0, -0.5, 0.0, 0.5, 2.0, 3.5])
    truth = exact_derivative(lambda v: mp.log(-mp.expm1(-mp.exp(v))), order)(x)
    value = derivatives(special.log1m_exp_neg_exp, order)[order](x)
    np.testing.assert_allclose(value, truth, rtol=2e-13 * 10**order, atol=1e-14 * 10**order)


@ORDERS
def test_log_normal_cdf_and_its_derivatives(order):
    def exact(v):
        tail = mp.erfc(abs(v) / mp.sqrt(2)) / 2
        return mp.log(tail) if v < 0 else mp.log1p(-tail)

    x = np.array(
        [-1e8, -1e3, -38.0, -20.0, -8.01, -8.0, -7.99, -5.0, -1.0, -0.1, 0.0, 0.1, 1.0, 8.0]
    )
    with mp.workdps(120):
        truth = exact_derivative(exact, order)(x)
    value = derivatives(special.log_normal_cdf, order)[order](x)
    # Down to the switch at -8, the second derivative cancels terms of the size of x^2, the next
    # one of |x|^3, ...; beyond it nothing does.
    np.testing.assert_allclose(value[:5], truth[:5], rtol=1e-14)
    np.testing.assert_allclose(value, truth, rtol=1e-13, atol=1e-14 * 8.0**order)
