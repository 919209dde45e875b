"""Every link against its definition in mpmath, in both tails."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from jax.scipy.special import ndtr

from jaxglmm import families, links
from jaxglmm.errors import InputError
from jaxglmm.factor import choose
from jaxglmm.links import Link
from jaxglmm.marginal import laplace
from jaxglmm.mode import find_mode, zeros
from jaxglmm.params import unflatten
from jaxglmm.rows import arrange

from .digits import exactly
from .zoo import fit, make_case

# (mean, 1 - mean) of the links into (0, 1).
UNIT = {
    "logit": (lambda x: 1 / (1 + mp.exp(-x)), lambda x: 1 / (1 + mp.exp(x))),
    "probit": (mp.ncdf, lambda x: mp.ncdf(-x)),
    "cloglog": (lambda x: -mp.expm1(-mp.exp(x)), lambda x: mp.exp(-mp.exp(x))),
    "loglog": (lambda x: mp.exp(-mp.exp(-x)), lambda x: -mp.expm1(-mp.exp(-x))),
    "cauchit": (lambda x: mp.atan2(1, -x) / mp.pi, lambda x: mp.atan2(1, x) / mp.pi),
}
OTHER = {
    "identity": lambda x: x,
    "log": mp.exp,
    "inverse": lambda x: 1 / x,
    "inverse_squared": lambda x: 1 / mp.sqrt(x),
    "sqrt": lambda x: x * x,
    1.5: lambda x: x ** (2 / mp.mpf(3)),
    -0.25: lambda x: x**-4,
}
HALF = np.array([0.0, 1e-8, 0.3, 1.0, 3.0, 3.99, 4.01, 8.0, 15.0, 25.0, 40.0, 200.0, 700.0])
TAILS = np.concatenate([-HALF[:0:-1], HALF])
INSIDE = np.array([-30.0, -12.0, -4.1, -3.9, -1.0, 0.0, 0.5, 2.0, 4.1, 7.0])


def log(p, q):
    """x -> log p(x), for q = 1 - p, without cancellation."""
    return lambda x: mp.log(p(x)) if p(x) < 0.5 else mp.log1p(-q(x))


def test_every_link_has_a_reference():
    assert set(links.REGISTRY) == set(UNIT) | {name for name in OTHER if isinstance(name, str)}


@pytest.mark.parametrize("name", UNIT)
def test_probabilities_and_their_logarithms_in_both_tails(name):
    link, (mean, rest) = links.get(name), UNIT[name]
    # Below 1e-307 numbers are subnormal: XLA flushes them to zero.
    np.testing.assert_allclose(link.mean(TAILS), exactly(mean, TAILS), rtol=1e-12, atol=1e-307)
    for value, truth in ((link.log_mean, log(mean, rest)), (link.log1m_mean, log(rest, mean))):
        # The probit's log-mean is exact beside 1 only where it is next to zero.
        atol = 1e-16 if name == "probit" else 1e-307
        np.testing.assert_allclose(value(TAILS), exactly(truth, TAILS), rtol=1e-11, atol=atol)


@pytest.mark.parametrize("name", UNIT)
def test_both_logarithms_at_once_and_one_of_them(name):
    link = links.get(name)
    pair = link.log_mean(TAILS), link.log1m_mean(TAILS)
    for both, alone, upper in zip(link.log_means(TAILS), pair, (False, True), strict=True):
        np.testing.assert_allclose(both, alone, rtol=1e-14, atol=1e-307)
        tail = link.log_tail(TAILS, jnp.full(TAILS.shape, upper))
        np.testing.assert_allclose(tail, alone, rtol=1e-14, atol=1e-307)


@pytest.mark.parametrize("name", UNIT)
@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives_of_the_logarithms(name, order):
    link, (mean, rest) = links.get(name), UNIT[name]
    for derivative, truth in ((link.log_mean, log(mean, rest)), (link.log1m_mean, log(rest, mean))):
        for _ in range(order):
            derivative = jax.grad(derivative)
        expected = exactly(lambda x, f=truth: mp.diff(f, x, order), INSIDE)
        np.testing.assert_allclose(jax.vmap(derivative)(INSIDE), expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", UNIT)
def test_score_and_weight_stay_finite_in_the_tails(name):
    link = links.get(name)
    for value in (link.log_mean, link.log1m_mean):
        for derivative in (jax.grad(value), jax.grad(jax.grad(value))):
            assert np.all(np.isfinite(jax.vmap(derivative)(TAILS)))


@pytest.mark.parametrize("name", OTHER)
def test_means_onto_the_line(name):
    x = np.array([-3.0, -0.2, 1e-6, 0.4, 1.0, 7.0, 1e5])
    x = x if name in ("identity", "sqrt") else x[2:]
    x = np.array([-700.0, -1.0, 0.0, 2.5, 700.0]) if name == "log" else x
    link = links.get(name)
    np.testing.assert_allclose(link.mean(x), exactly(OTHER[name], x), rtol=1e-13)
    if link.range == "positive":
        truth = exactly(lambda v: mp.log(OTHER[name](v)), x)
        np.testing.assert_allclose(link.log_mean(x), truth, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", [*links.REGISTRY, 1.5, -0.25])
def test_predictor_inverts_mean(name):
    link = links.get(name)
    mu = np.array([1e-9, 0.01, 0.3, 0.5, 0.7, 0.99] + ([] if link.range == "unit" else [5.0, 1e4]))
    np.testing.assert_allclose(link.mean(link.predictor(mu)), mu, rtol=1e-7)


def test_log_link_knows_the_rest_of_a_probability():
    eta = np.array([-700.0, -5.0, -0.1, -1e-9])
    truth = exactly(log(lambda x: -mp.expm1(x), mp.exp), eta)
    np.testing.assert_allclose(links.get("log").log1m_mean(eta), truth, rtol=1e-12)


@pytest.mark.parametrize(("power", "name"), [(1, "identity"), (0.0, "log"), (-1, "inverse")])
def test_powers_with_a_name(power, name):
    assert links.get(power) == links.get(name)


@pytest.mark.parametrize("bad", ["logt", "", float("nan"), True, None, [1]])
def test_unknown_links_are_refused(bad):
    with pytest.raises(InputError, match="link"):
        links.get(bad)


@pytest.mark.parametrize("family", ["poisson", "gamma", "inverse_gaussian", "nbinom2"])
def test_unit_links_are_refused_for_positive_means(family):
    with pytest.raises(InputError, match="probit"):
        families.get(family, "probit")


OWN = {
    "logit": ("binomial", Link(jax.nn.sigmoid, range="unit")),
    "probit": ("binomial", Link(ndtr, range="unit")),
    "log": ("poisson", Link(jnp.exp, range="positive")),
    "inverse": ("gamma", Link(lambda eta: 1 / eta, range="positive", bracket=(1e-3, 30.0))),
}


def at_the_mode(rows, psi):
    factor = choose(rows)
    u = find_mode(rows, factor, unflatten(psi, rows), zeros(rows))
    return laplace.value_and_gradient(rows, factor, psi, u)


@pytest.mark.parametrize("name", OWN)
def test_own_link_has_the_derivatives_of_the_built_in(name):
    family, own = OWN[name]
    case = make_case(family, name, num_levels=6, size=6)
    results = []
    for link in (name, own):
        rows = arrange(case.problem.replace(family=families.get(family, link)))
        results.append(jax.jit(at_the_mode)(rows, case.psi))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), *results)


@pytest.mark.parametrize("name", ["probit", "log"])
def test_own_link_gives_the_fit_of_the_built_in(name):
    family, own = OWN[name]
    problem = make_case(family, name, num_levels=15, size=8, spread=0.6).problem
    built_in = fit(problem)
    custom = fit(problem.replace(family=families.get(family, own)))
    np.testing.assert_allclose(custom.params.beta, built_in.params.beta, rtol=1e-6)
    np.testing.assert_allclose(custom.params.theta, built_in.params.theta, rtol=1e-6)
    np.testing.assert_allclose(custom.log_likelihood, built_in.log_likelihood, rtol=1e-10)
