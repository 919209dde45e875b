"""What single laws promise: exact tails, simpler laws at their limits, known parameters."""

from __future__ import annotations

import itertools

import jax
import mpmath as mp
import numpy as np
import pytest

from jaxglmm import families, status
from jaxglmm.errors import InputError
from jaxglmm.families.base import BOUNDARY, INTERIOR, UNBOUNDED

from .compiled import log_probs
from .zoo import fit, make_case

PRECISION = 800  # digits: 1 - P(0) of a mean of exp(-700)


def rising(x, n):
    return mp.fsum(mp.log(x + k) for k in range(int(n)))


def nbinom1(y, mu, phi, n):
    r = mu / phi
    return rising(r, y) - mp.loggamma(y + 1) - r * mp.log1p(phi) + y * mp.log(phi / (1 + phi))


def nbinom2(y, mu, size, n):
    part = rising(size, y) - mp.loggamma(y + 1)
    return part + y * mp.log(mu / (mu + size)) - size * mp.log1p(mu / size)


def poisson(y, mu, phi, n):
    return y * mp.log(mu) - mu - mp.loggamma(y + 1)


def given_some(law):
    def log_density(y, mu, phi, n):
        zero = law(mp.mpf(0), mu, phi, n)
        some = mp.log(-mp.expm1(zero)) if zero > -1 else mp.log1p(-mp.exp(zero))
        return law(y, mu, phi, n) - some

    return log_density


def betabinomial(y, mu, phi, n):
    parts = rising(mu * phi, y) + rising((1 - mu) * phi, n - y) - rising(phi, n)
    return parts + mp.log(mp.binomial(n, y))


def genpois(y, mu, phi, n):
    theta, lam = mu / mp.sqrt(phi), 1 - 1 / mp.sqrt(phi)
    rate = theta + lam * y
    return mp.log(theta) + (y - 1) * mp.log(rate) - rate - mp.loggamma(y + 1)


def lognormal(y, mu, sigma, n):
    square = mp.log1p((sigma / mu) ** 2)
    z = (mp.log(y) - mp.log(mu) + square / 2) / mp.sqrt(square)
    return -z * z / 2 - mp.log(y) - mp.log(2 * mp.pi * square) / 2


def student_t(y, mu, natural, n):
    sigma, df = natural
    z = (y - mu) / sigma
    constant = mp.loggamma((df + 1) / 2) - mp.loggamma(df / 2) - mp.log(mp.pi * df) / 2
    return constant - mp.log(sigma) - (df + 1) / 2 * mp.log1p(z * z / df)


def skew_normal(y, mu, natural, n):
    sigma, alpha = natural
    delta = alpha / mp.sqrt(1 + alpha**2)
    omega = sigma / mp.sqrt(1 - 2 * delta**2 / mp.pi)
    z = (y - mu) / omega + delta * mp.sqrt(2 / mp.pi)
    log_cdf = mp.log(mp.erfc(-alpha * z / mp.sqrt(2)) / 2)
    return mp.log(2) - mp.log(2 * mp.pi) / 2 - z * z / 2 + log_cdf - mp.log(omega)


POSITIVE = (-700.0, -30.0, -5.0, 0.0, 5.0, 30.0, 100.0)
COUNTS = (0.0, 1.0, 2.0, 30.0)
SCALES = ((1e-6,), (1.0,), (1e4,))
# eta, responses, natural parameters
EXTREMES = {
    "nbinom1": (nbinom1, POSITIVE, COUNTS, SCALES),
    "genpois": (genpois, (-300.0, -30.0, 0.0, 30.0, 100.0), COUNTS, ((1.0 + 1e-6,), (1e4,))),
    "truncated_poisson": (given_some(poisson), POSITIVE, COUNTS[1:], ((),)),
    "truncated_nbinom1": (given_some(nbinom1), POSITIVE, COUNTS[1:], SCALES),
    "truncated_nbinom2": (given_some(nbinom2), POSITIVE, COUNTS[1:], SCALES),
    "betabinomial": (betabinomial, (-700.0, -30.0, 0.0, 30.0, 700.0), (0.0, 1.0, 12.0), SCALES),
    "lognormal": (lognormal, (-300.0, -5.0, 0.0, 5.0, 300.0), (1e-3, 1.0, 1e5), ((1e-3,), (1.0,))),
    "student_t": (student_t, (-1e8, 0.0, 3.0), (-5.0, 3.0, 1e9), ((1e-3, 0.2), (1.0, 1e5))),
    "skew_normal": (skew_normal, (-40.0, 0.0, 40.0), (-1.0, 0.1), ((0.5, 30.0), (1.0, -3.0))),
}


def unconstrained(name, natural):
    if name == "skew_normal":
        return np.array([np.log(natural[0]), natural[1]])
    return np.log(np.array(natural, float))


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_predictors(name):
    """The density against mpmath, and finite derivatives to the fourth order."""
    exact, predictors, responses, parameters = EXTREMES[name]
    law = families.get(name)
    functions = [lambda e, y, phi: law.log_prob(y, e, phi, np.float64(12.0))]
    for _ in range(4):
        functions.append(jax.grad(functions[-1]))
    compiled = [jax.jit(f) for f in functions]
    for eta, y, natural in itertools.product(predictors, responses, parameters):
        phi = unconstrained(name, natural)
        values = np.array([f(eta, y, phi) for f in compiled])
        assert np.all(np.isfinite(values)), (eta, y, natural, values)
        with mp.workdps(PRECISION):
            own = [mp.mpf(float(v)) for v in law.natural(phi)]
            e, v = mp.mpf(eta), mp.mpf(y)
            mu = {"identity": e, "log": mp.exp(e), "logit": 1 / (1 + mp.exp(-e))}[law.link.name]
            truth = float(exact(v, mu, own if len(own) > 1 else (own or [None])[0], mp.mpf(12)))
        # Terms are rounded to the precision of eta y and y log(phi).
        size = (1.0 + abs(y)) * (1.0 + abs(eta) + np.sum(np.abs(phi)))
        np.testing.assert_allclose(values[0], truth, rtol=1e-9, atol=1e-14 * size)


SIMPLER = [
    ("nbinom1", "poisson", [-20.0], [], [0.0, 1.0, 7.0]),
    ("genpois", "poisson", [1e-12], [], [0.0, 1.0, 7.0]),
    ("truncated_nbinom1", "truncated_poisson", [-20.0], [], [1.0, 2.0, 7.0]),
    ("truncated_nbinom2", "truncated_poisson", [20.0], [], [1.0, 2.0, 7.0]),
    ("betabinomial", "binomial", [22.0], [], [0.0, 3.0, 12.0]),
    ("student_t", "gaussian", [0.3, 21.0], [0.3], [-2.0, 0.4, 3.0]),
    ("skew_normal", "gaussian", [0.3, 1e-4], [0.3], [-2.0, 0.4, 3.0]),
]


@pytest.mark.parametrize(("name", "simpler", "phi", "own", "y"), SIMPLER)
def test_limits_are_simpler_laws(name, simpler, phi, own, y):
    """Up to the next term of the expansion, about y^2 times the distance from the limit."""
    weight = 12.0 if "binomial" in simpler else 1.0
    near = log_probs(families.get(name), np.array(y), 0.4, np.array(phi), weight)
    limit = log_probs(families.get(simpler), np.array(y), 0.4, np.array(own), weight)
    np.testing.assert_allclose(near, limit, atol=3e-7)


LIMITS = [
    ("nbinom1", [-17.0], BOUNDARY),
    ("truncated_nbinom1", [-17.0], BOUNDARY),
    ("truncated_nbinom2", [17.0], BOUNDARY),
    ("truncated_nbinom2", [-17.0], BOUNDARY),
    ("betabinomial", [17.0], BOUNDARY),
    ("betabinomial", [-17.0], BOUNDARY),
    ("student_t", [0.0, 17.0], BOUNDARY),
    ("student_t", [-20.0, 17.0], UNBOUNDED),
    ("skew_normal", [0.0, 1e-3], BOUNDARY),
    ("skew_normal", [0.0, -1e4], BOUNDARY),
    ("skew_normal", [-20.0, 1.0], UNBOUNDED),
    ("lognormal", [-20.0], UNBOUNDED),
    ("genpois", [-40.0], UNBOUNDED),
]


@pytest.mark.parametrize(("name", "phi", "code"), LIMITS)
def test_limits(name, phi, code):
    law, start = families.get(name), np.zeros(len(phi))
    assert law.limit(np.array(phi), start) == code
    inside = np.where(np.arange(len(phi)) == 1, 1.0, 0.5)
    assert law.limit(inside, start) == INTERIOR


def test_known_degrees_of_freedom():
    known, free = families.StudentT(df=4.0), families.StudentT()
    assert (known.phi_names, known.known) == (("sigma",), {"df": 4.0})
    assert (free.phi_names, free.known) == (("sigma", "df"), {})
    y, eta = 1.3, 0.4
    phi = np.log([0.7, 4.0])
    np.testing.assert_allclose(
        known.log_prob(y, eta, phi[:1], 1.0), free.log_prob(y, eta, phi, 1.0), rtol=1e-14
    )
    np.testing.assert_allclose(known.response_variance(eta, phi[:1], 1.0), 2 * 0.7**2, rtol=1e-14)
    assert np.isinf(families.StudentT(df=2.0).response_variance(eta, phi[:1], 1.0))
    for df in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(InputError, match="positive number"):
            families.StudentT(df=df)


def test_a_fit_with_known_degrees_of_freedom_resists_outliers():
    case = make_case("gaussian", num_levels=30, size=10, spread=0.6)
    outliers = np.where(np.arange(300) % 30 == 0, 1e4, case.problem.y)
    problem = case.problem.replace(y=outliers, family=families.StudentT(df=4.0))
    estimate = fit(problem)
    assert estimate.status == status.CONVERGED and estimate.params.phi.shape == (1,)
    np.testing.assert_allclose(estimate.params.beta, case.truth.beta, atol=0.3)


def test_normal_responses_have_no_degrees_of_freedom():
    """Lighter tails than the normal law's: the maximum is the normal law's."""
    case = make_case("gaussian", num_levels=20, size=15, spread=0.6)
    rng = np.random.default_rng(0)
    y = case.problem.y + rng.uniform(-3, 3, case.problem.y.shape)
    normal = fit(case.problem.replace(y=y))
    estimate = fit(case.problem.replace(y=y, family=families.StudentT()))
    assert estimate.status == status.CONVERGED_BOUNDARY and estimate.limit == BOUNDARY
    np.testing.assert_allclose(estimate.log_likelihood, normal.log_likelihood, atol=1e-4)


def test_the_side_of_the_skewness_does_not_matter():
    """The mirror image of a response has the mirror image of the fit."""
    case = make_case("skew_normal", num_levels=30, size=10, spread=0.6)
    right = fit(case.problem)
    left = fit(case.problem.replace(y=-case.problem.y))
    assert right.status == left.status == status.CONVERGED
    np.testing.assert_allclose(left.params.phi, right.params.phi * [1.0, -1.0], rtol=1e-6)
    np.testing.assert_allclose(left.log_likelihood, right.log_likelihood, rtol=1e-10)


def test_genpois_of_underdispersed_counts():
    y = np.random.default_rng(4).binomial(4, 0.5, 120)
    problem = make_case("poisson", num_levels=12, size=10).problem.replace(y=1.0 * y)
    estimate = fit(problem.replace(family=families.get("genpois"), groupings=()))
    assert estimate.status == status.CONVERGED
    assert estimate.params.phi[0] < np.log(0.8)
