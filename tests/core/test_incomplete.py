"""Tails of the gamma and beta laws and masses in wedges, against mpmath."""

from __future__ import annotations

import jax
import mpmath as mp
import numpy as np
import pytest
from scipy import special

from jaxglmm.tails import beta_tails, gamma_tails, normal_wedge

GAMMA = [
    (1e-12, 1e-2),
    (1e-3, 5e-4),
    (0.3, 1e-8),
    (0.3, 4.0),
    (1.0, 600.0),
    (7.0, 7.0),
    (30.0, 1.0),
    (1e3, 1.1e3),
    (1e6, 995463.0),
    (1e6, 1.003e6),
]
BETA = [
    (1e-6, 20.0, 0.04),
    (4.0, 1e-10, 0.9995),
    (1e-8, 1e-8, 0.3),
    (0.3, 0.2, 0.5),
    (3.0, 1e4, 2e-4),
    (3.0, 1e7, 5e-7),
    (3.0, 1e9, 5e-9),
    (50.0, 3.0, 1e-6),
    (300.0, 200.0, 0.55),
]


def check(law, exact, arguments):
    found = np.array(jax.jit(law)(*(np.array(v) for v in zip(*arguments, strict=True))))
    with mp.workdps(40):
        known = np.array([[float(v) for v in exact(*map(mp.mpf, a))] for a in arguments]).T
    # The exponent, up to 700 in the tails, is rounded in the terms that it is the difference of.
    np.testing.assert_allclose(found, known, rtol=1e-11)


def test_gamma_tails():
    def exact(a, log_x):
        x = mp.exp(log_x)
        whole = mp.gamma(a)
        return mp.gammainc(a, 0, x) / whole, mp.gammainc(a, x) / whole

    check(gamma_tails, exact, [(a, np.log(x)) for a, x in GAMMA])


def test_beta_tails():
    def exact(a, b, logit_x):
        x = 1 / (1 + mp.exp(-logit_x))
        below = mp.betainc(a, b, 0, x, regularized=True)
        return below, mp.betainc(b, a, 0, 1 / (1 + mp.exp(logit_x)), regularized=True)

    check(beta_tails, exact, [(a, b, special.logit(x)) for a, b, x in BETA])


@pytest.mark.parametrize("high", [0.1, 1.0, 30.0])
def test_normal_wedge_is_owens_t(high):
    h = np.array([1.0, 2.5, 6.0, 20.0])
    at = np.full_like(h, high)
    found = np.asarray(normal_wedge(h, np.zeros_like(h), at))
    np.testing.assert_allclose(found, special.owens_t(h, at), rtol=1e-12)
    beyond = np.asarray(normal_wedge(h, at, np.full_like(h, np.inf)))
    with mp.workdps(30):
        exact = [tail(mp.mpf(float(v)), mp.mpf(high)) for v in h]
    np.testing.assert_allclose(beyond, np.array(exact, float) / (2 * np.pi), rtol=1e-10)


def tail(h, low):
    scale = min(1 / h, 1 / (h * h * low))
    places = [low + k * scale for k in (0, 1, 4, 15, 60)]
    first = mp.exp(-h * h * (1 + low * low) / 2)  # apart: the integral's error is an absolute one
    drop = mp.quad(lambda u: mp.exp(-h * h * (u * u - low * low) / 2) / (1 + u * u), places)
    return first * drop
