"""Thresholds and the mass between them, in both tails."""

from __future__ import annotations

import jax
import mpmath as mp
import numpy as np
import pytest

from jaxglmm import links
from jaxglmm.families import Cumulative
from jaxglmm.families.thresholds import free_size, to_phi, to_thresholds

UNIT = ("logit", "probit", "cloglog", "loglog", "cauchit")
INVERSES = {
    "logit": lambda x: 1 / (1 + mp.exp(-x)),
    "probit": mp.ncdf,
    "cloglog": lambda x: -mp.expm1(-mp.exp(x)),
    "loglog": lambda x: mp.exp(-mp.exp(-x)),
    "cauchit": lambda x: mp.mpf(1) / 2 + mp.atan(x) / mp.pi,
}


@pytest.mark.parametrize("link", UNIT)
@pytest.mark.parametrize("width", [1e-6, 0.1, 1.0, 8.0])
def test_log_between_against_mpmath(link, width):
    function = jax.jit(jax.vmap(jax.value_and_grad(links.get(link).log_between), (0, None)))
    reach = {"loglog": (-5.0, 30.0), "cloglog": (-38.0, 4.0)}.get(link, (-30.0, 30.0))
    low = np.linspace(*reach, 29)
    value, slope = function(low, width)
    with mp.workdps(400):

        def exact(x):
            F = INVERSES[link]
            return mp.log(F(x + mp.mpf(width)) - F(x))

        expected = [float(exact(mp.mpf(x))) for x in low]
        slopes = [float(mp.diff(exact, mp.mpf(x))) for x in low]
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    # The probit's tail is a difference of logarithms: their rounding over the width.
    np.testing.assert_allclose(slope, slopes, rtol=1e-6, atol=1e-8 / width)


@pytest.mark.parametrize("spacing", ["flexible", "symmetric", "equidistant"])
@pytest.mark.parametrize("num", [1, 2, 3, 4, 5])
def test_thresholds_from_their_parameters_and_back(num, spacing):
    phi = np.random.default_rng(num).normal(size=free_size(num, spacing))
    t = np.asarray(to_thresholds(phi, num, spacing))
    assert t.shape == (num,) and np.all(np.diff(t) > 0)
    np.testing.assert_allclose(to_phi(t, spacing), phi, rtol=1e-9, atol=1e-12)
    if spacing == "symmetric":
        np.testing.assert_allclose(t + t[::-1], 2 * phi[0], rtol=1e-12, atol=1e-12)
    if spacing == "equidistant" and num > 2:
        np.testing.assert_allclose(np.diff(t, 2), 0.0, atol=1e-12)


@pytest.mark.parametrize("link", UNIT)
@pytest.mark.parametrize("eta", [-30.0, 30.0])
def test_derivatives_stay_finite_far_out(link, eta):
    law, phi = Cumulative(links.get(link), num_categories=4), np.array([-1.0, 0.2, -0.4])
    if link in ("cloglog", "loglog"):  # whose mass falls as exp(-exp(30))
        eta = eta / 10.0
    f = lambda y, e, p: law.log_prob(y, e, p, 1.0)  # noqa: E731
    for y in range(4):
        assert np.isfinite(f(float(y), eta, phi))
        for order in (jax.grad, jax.hessian):
            both = order(f, argnums=(1, 2))(float(y), eta, phi)
            assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(both))
        third = jax.grad(jax.grad(jax.grad(f, 1), 1), 1)
        assert np.isfinite(third(float(y), eta, phi))
