"""Means over random effects and quantiles of responses to come, against integration."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special, stats

from jaxglmm import families
from jaxglmm.inference.quantiles import scheffe, t_quantile
from jaxglmm.predict import bands
from jaxglmm.predict.integral import Means, marginal_means, rule_of
from jaxglmm.predict.responses import mixture, quantiles, scale_errors, variances

# Compiled once for each law, scale and shape.
marginal_of = jax.jit(marginal_means, static_argnames=("law", "scale"))
quantiles_of = jax.jit(quantiles, static_argnames="law")
variances_of = jax.jit(variances, static_argnames="law")

ETA = np.array([-2.0, 0.3, 1.5])
SD = np.array([0.0, 1.2, 4.0])
INVERSES = {
    ("binomial", "logit"): special.expit,
    ("binomial", "probit"): special.ndtr,
    ("binomial", "cloglog"): lambda e: -np.expm1(-np.exp(e)),
    ("poisson", "log"): np.exp,
    ("poisson", "sqrt"): lambda e: e**2,
}


def marginal(
    name: str, link: str, eta: np.ndarray, S: np.ndarray, scale: str = "response"
) -> Means:
    with jax.enable_x64(True):
        found = marginal_of(
            (jnp.asarray(eta),),
            rule_of(S[None, None]),
            jnp.zeros(0),
            law=families.get(name, link),
            scale=scale,  # type: ignore[arg-type]
        )
        return jax.tree.map(np.asarray, found)


def mean_by_integration(inverse, eta: float, sd: float) -> float:
    def f(z: float) -> float:
        return inverse(eta + sd * z) * stats.norm.pdf(z)

    return integrate.quad(f, -12, 12, epsabs=1e-12, epsrel=1e-11, limit=400)[0]


@pytest.mark.parametrize(("name", "link"), INVERSES)
def test_marginal_means(name: str, link: str) -> None:
    expected = [
        mean_by_integration(INVERSES[name, link], e, s) for e, s in zip(ETA, SD, strict=True)
    ]
    found = marginal(name, link, ETA, SD**2)
    # At a standard deviation of 4 poles of the logistic function leave 1e-8, the steepness of
    # exp(-exp(eta)) off the real line 1e-5; at 1.2 nothing is left.
    np.testing.assert_allclose(found.value, expected, rtol=2e-5)
    np.testing.assert_allclose(found.value[:2], expected[:2], rtol=1e-9)


def test_slopes_in_the_mean_and_in_the_variance() -> None:
    """By central differences, whose error is their step squared."""
    step, S = 1e-4, np.array([0.5, 1.44, 4.0])
    found = marginal("binomial", "logit", ETA, S)

    def value(d_eta: float, d_S: float) -> np.ndarray:
        return np.asarray(marginal("binomial", "logit", ETA + d_eta, S + d_S).value)

    by_eta = (value(step, 0) - value(-step, 0)) / (2 * step)
    by_S = (value(0, step) - value(0, -step)) / (2 * step)
    np.testing.assert_allclose(found.by_eta[0], by_eta, rtol=1e-6)
    np.testing.assert_allclose(found.by_cov[0, 0], by_S, rtol=1e-6, atol=1e-9)
    link = marginal("binomial", "logit", ETA, S, "link")
    np.testing.assert_allclose(link.value, special.logit(found.value), rtol=1e-12)
    slope = found.value * (1 - found.value)
    np.testing.assert_allclose(link.by_eta[0], found.by_eta[0] / slope, rtol=1e-10)


def future(name: str, eta: float, phi: list[float], C: np.ndarray, S: float = 0.0, r: float = 0.0):
    """Quantiles at 5 and 95 % and the variance of one row."""
    whole = np.zeros((*C.shape, 1))
    whole[0, 0] = S
    at = mixture(C[..., None], whole, np.array([r]), 1)
    with jax.enable_x64(True):
        row = (jnp.array([eta]),), jax.tree.map(jnp.asarray, at), jnp.array(phi), jnp.ones(1)
        law = families.get(name)
        p = jnp.array([0.05, 0.95])
        return np.asarray(quantiles_of(*row, p, law=law))[:, 0], float(
            variances_of(*row, law=law)[0]
        )


def test_a_normal_response_with_a_normal_error() -> None:
    sd, error = 0.8, 1.3
    limits, variance = future("gaussian", 2.0, [np.log(sd)], np.diag([error**2, 0.0]))
    whole = np.hypot(sd, error)
    # Nodes 0.3 standard deviations apart, of a normal density of relative width 0.6: exp(-80).
    np.testing.assert_allclose(limits, stats.norm(2.0, whole).ppf([0.05, 0.95]), rtol=1e-7)
    np.testing.assert_allclose(variance, whole**2, rtol=1e-7)


def test_a_count_whose_mean_has_an_error() -> None:
    """A Poisson law of a lognormal mean, by integration."""
    limits, variance = future("poisson", 1.0, [], np.array([[0.2]]), S=0.3)

    def tail(y: float) -> float:
        return mean_by_integration(lambda e: stats.poisson.cdf(y, np.exp(e)), 1.0, np.sqrt(0.5))

    expected = [next(y for y in range(100) if tail(y) >= p) for p in (0.05, 0.95)]
    np.testing.assert_array_equal(limits, expected)
    mean = np.exp(1.25)
    # Beyond the last node, 6 deviations away, are 2e-6 of the squares of these means.
    np.testing.assert_allclose(variance, mean + mean**2 * np.expm1(0.5), rtol=1e-5)


def test_an_unknown_variance_widens_the_limits() -> None:
    known = future("gaussian", 0.0, [0.0], np.zeros((2, 2)), S=4.0)[0]
    spread = future("gaussian", 0.0, [0.0], np.zeros((2, 2)), S=4.0, r=0.2)[0]
    own = future("gaussian", 0.0, [0.0], np.diag([0.0, 0.04]), S=4.0)[0]
    assert 1.005 < spread[1] / known[1] < 1.1 and 1 < own[1] / known[1] < spread[1] / known[1]
    S, slopes = np.full((1, 1, 2), 4.0), np.full((1, 1, 1, 2), 4.0)  # S = theta^2 at theta = 2
    # log sqrt(S) = log theta has the error 0.1 / 2.
    np.testing.assert_allclose(scale_errors(S, slopes, np.array([[0.01]])), 0.05)


def test_scheffe_s_multiplier() -> None:
    np.testing.assert_allclose(scheffe(0.95, 1), t_quantile(0.025))
    expected = np.sqrt(3 * stats.f(3, 20).ppf(0.9))
    np.testing.assert_allclose(scheffe(0.9, 3, 20.0), expected)
    assert bands.dimension(np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])) == 1
