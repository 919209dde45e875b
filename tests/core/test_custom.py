"""A user's family: what `custom` makes of functions, and what it refuses."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import gammaln
from scipy import stats

from jaxglmm import families, links
from jaxglmm.design import make_problem
from jaxglmm.engine import log_likelihood
from jaxglmm.errors import InputError
from jaxglmm.families import custom
from jaxglmm.families.base import BOUNDARY, INTERIOR
from jaxglmm.params import Params

from .zoo import grouping


def poisson(y, mu):
    return y * jnp.log(mu) - mu - gammaln(y + 1)


def nbinom2(y, mu, size):
    whole = gammaln(y + size) - gammaln(size) - gammaln(y + 1)
    return whole + size * jnp.log(size / (size + mu)) + y * jnp.log(mu / (size + mu))


def binomial(y, mu, n):
    choose = gammaln(n + 1) - gammaln(y + 1) - gammaln(n - y + 1)
    return choose + y * jnp.log(mu) + (n - y) * jnp.log1p(-mu)


def gamma(y, mu, phi, weight):
    nu = weight / phi
    return nu * jnp.log(nu * y / mu) - nu * y / mu - jnp.log(y) - gammaln(nu)


def laplace(y, mu, scale):
    return -jnp.abs(y - mu) / scale - jnp.log(2 * scale)


OWN = {
    "poisson": custom(poisson, support="count", name="own"),
    "nbinom2": custom(nbinom2, support="count", parameters={"size": 1.0}, name="own"),
    "binomial": custom(binomial, support="binomial", name="own"),
    "gamma": custom(
        gamma, support="positive", parameters={"phi": 1}, weight_role="dispersion", name="own"
    ),
}
FURTHER = [
    ("poisson", {}),
    ("poisson", {"zero_inflation": True}),
    ("nbinom2", {"dispersion": True}),
    ("binomial", {}),
    ("gamma", {"dispersion": True, "zero_inflation": True}),
]


@pytest.mark.parametrize(("name", "further"), FURTHER)
def test_the_same_likelihood_as_the_library_s_own(name, further):
    """With random effects, weights or trials, and further predictors."""
    rng = np.random.default_rng(3)
    n, x = 30, np.linspace(-1, 1, 30)
    own, law = (families.modelled(families.get(f), **further) for f in (OWN[name], name))
    y = rng.gamma(2.0, size=n) if name == "gamma" else 1.0 * rng.poisson(2.0, n)
    y = np.where(x > 0.7, 0.0, y) if "zero_inflation" in further else y
    Z, codes = np.ones((n, 1)), np.resize(np.arange(5), n)
    m = law.num_predictors
    problem = make_problem(
        y,
        np.column_stack([np.ones(n), x] * m),
        law,
        (grouping(codes, Z),),
        weights=rng.uniform(0.5, 2.0, n),
        trials=np.full(n, 12.0) if name == "binomial" else None,
        predictors=tuple(a for a in range(m) for _ in range(2)),
    )
    params = Params(np.full(2 * m, 0.2), np.array([0.4]), np.full(law.num_phi, 0.3))
    value = log_likelihood(params, problem.replace(family=own))
    np.testing.assert_allclose(value, log_likelihood(params, problem), rtol=1e-12)


def test_equal_when_made_of_the_same():
    one, two = (custom(nbinom2, support="count", parameters={"size": 1.0}) for _ in range(2))
    assert one == two and hash(one) == hash(two)
    assert one != custom(nbinom2, support="count", parameters={"size": 2.0})
    assert families.get(OWN["nbinom2"], "sqrt").link == links.Sqrt()
    assert (one.name, one.phi_names, one.num_phi) == ("nbinom2", ("size",), 1)
    assert custom(lambda y, mu: -((y - mu) ** 2)).name == "custom"


def test_parameters_of_every_scale():
    law = custom(
        lambda y, mu, a, b, c: y * mu * a * b * c,
        parameters={"a": 2.0, "b": -1.0, "c": 0.25},
        scales={"b": "identity", "c": "logit"},
    )
    start = np.array([math.log(2.0), -1.0, -math.log(3.0)])
    np.testing.assert_allclose(law.natural(start), [2.0, -1.0, 0.25], rtol=1e-14)
    assert law.signed == ("b",) and law.dispersed
    assert not custom(laplace, parameters={"scale": 1}, scales={"scale": "identity"}).dispersed


@pytest.mark.parametrize("unit", [1e-3, 1.0, 300.0])
def test_the_search_finds_the_size_of_a_parameter(unit):
    """A mean absolute deviation: the maximum for the double exponential law, in any unit."""
    y = unit * np.random.default_rng(2).laplace(size=400)
    law, none = custom(laplace, parameters={"scale": 1.0}), np.ones(400)
    found = law.initial_phi(y, np.zeros(1), none, none)
    # The last steps are of one.
    assert abs(float(found[0]) - np.log(np.mean(np.abs(y)))) <= 0.5


def test_what_it_knows_beyond_the_density():
    law = custom(
        laplace,
        parameters={"scale": 1.0},
        variance=lambda mu, scale: 2 * scale**2,
        mean=lambda mu, scale: mu + 0 * scale,
        cdf=lambda y, mu, scale: 0.5 + 0.5 * jnp.sign(y - mu) * -jnp.expm1(-abs(y - mu) / scale),
        simulate=lambda key, mu, scale: mu + scale * jax.random.laplace(key, mu.shape),
    )
    eta, phi, one = np.array([0.3, -2.0]), np.log([1.7]), np.ones(2)
    known = stats.laplace(eta, 1.7)
    np.testing.assert_allclose(law.response_variance(eta, phi, one), known.var(), rtol=1e-12)
    np.testing.assert_allclose(law.response_mean(eta, phi), eta)
    y = np.array([0.5, -3.0])
    np.testing.assert_allclose(law.cdf(y, eta, phi, one), known.cdf(y), rtol=1e-12)
    assert law.sample(jax.random.key(1), eta, phi, one).shape == (2,)


def test_limits():
    """Beyond e^15 times the given value, unless a predictor stands in the parameter's place."""
    law = custom(nbinom2, support="count", parameters={"size": 1e-8}, name="own")
    near = np.log([1e-8])
    assert int(law.limit(near + 14.0, near)) == INTERIOR
    assert int(law.limit(near + 16.0, near)) == BOUNDARY
    modelled = families.modelled(law, dispersion=True)
    assert int(modelled.limit(np.zeros(0), np.zeros(0))) == INTERIOR
    signed = custom(laplace, parameters={"scale": 1.0}, scales={"scale": "identity"})
    assert int(signed.limit(np.array([99.0]), np.zeros(1))) == INTERIOR


def test_single_precision():
    """Starting values in the type of the data."""
    y, none = np.float32([0.5, 2.0, 3.0]), np.ones(3, np.float32)
    law = OWN["nbinom2"]
    phi = law.initial_phi(y, np.float32([1.5]), none, none)
    assert phi.dtype == law.initial_mean(y, none).dtype == np.float32
    assert law.limit(phi, phi).shape == ()


def test_what_it_is_not_told_follows_from_the_density():
    """Tails, quantiles, draws and the variance by integration; the corner costs no precision."""
    law, eta, phi = custom(laplace, parameters={"scale": 1.0}), np.array([0.3, -2.0]), np.log([1.7])
    known, one = stats.laplace(eta, 1.7), np.ones(2)

    @jax.jit
    def run(y):
        below = law.cdf(y, eta, phi, one)
        return below, law.quantile(below, eta, phi, one), law.response_variance(eta, phi, one)

    y = np.array([[-9.0, -2.5], [0.5, 1.0]])
    below, back, variance = run(y)
    np.testing.assert_allclose(below, known.cdf(y), rtol=1e-8)
    np.testing.assert_allclose(back, y, rtol=1e-8)
    np.testing.assert_allclose(variance, known.var(), rtol=1e-8)
    assert law.sample(jax.random.key(1), eta, phi, one).shape == (2,)


def test_the_predictor_itself():
    """An upper tail that probabilities near one cannot hold."""

    def bernoulli(y, eta):
        return y * eta - jax.nn.softplus(eta)

    law = custom(bernoulli, support="unit_closed", takes="eta")
    assert float(law.log_prob(0.0, 60.0, np.zeros(0), 1.0)) == -60.0
    np.testing.assert_allclose(law.response_mean(np.zeros(2), np.zeros(0)), 0.5)


SIZE = {"size": 1.0}
REFUSED = [
    (3, {}, r"log_prob must be a function, got int"),
    (poisson, {"parameters": SIZE}, r"called as log_prob\(y, mu, size\), but is defined as"),
    (nbinom2, {}, r"called as log_prob\(y, mu\).*Change its arguments, or parameters="),
    (lambda y, size, mu: y, {"parameters": SIZE}, "'size' would get mu.*in the order"),
    (lambda mu, y: y, {}, "'mu' would get y"),
    (lambda y, mu: jnp.ones(3) * y, {}, r"one real number.*shape \(3,\)"),
    (lambda y, mu: (y, mu), {}, "one real number.*tuple"),
    (lambda y, mu: y > mu, {}, "one real number.*bool"),
    (lambda y, mu: math.log(mu), {}, "cannot trace log_prob.*jax.numpy"),
    (lambda y, mu: y if y > 0 else mu, {}, "cannot trace log_prob.*jnp.where in place of if"),
    (lambda y, mu: stats.norm.logpdf(y, mu), {}, "cannot trace log_prob"),
    (poisson, {"support": "integer"}, "support='integer' is not known.*'count'"),
    (poisson, {"support": "ordinal"}, "support='ordinal' is not known"),
    (poisson, {"takes": "log"}, "takes='log'"),
    (poisson, {"weight_role": "prior"}, "weight_role='prior'"),
    (binomial, {"weight_role": "trials"}, "does not go with support='real'"),
    (binomial, {"support": "binomial", "weight_role": "dispersion"}, "does not go with"),
    (nbinom2, {"parameters": ["size"]}, "parameters and scales are dicts"),
    (nbinom2, {"parameters": {"size": 0.0}}, "must be a positive finite number"),
    (nbinom2, {"parameters": {"size": "one"}}, "'one' must be a positive finite number"),
    (nbinom2, {"parameters": {"size": 2}, "scales": {"size": "logit"}}, "between 0 and 1"),
    (nbinom2, {"parameters": {"a b": 2}}, "cannot be called 'a b'"),
    (nbinom2, {"parameters": SIZE, "scales": {"phi": "log"}}, "names 'phi'.*size"),
    (nbinom2, {"parameters": SIZE, "scales": {"size": "lgo"}}, "'lgo'"),
    (poisson, {"link": "lgo"}, "Did you mean 'log'"),
    (poisson, {"initial_mean": lambda y, w: y}, r"called as initial_mean\(y\)"),
    (poisson, {"simulate": lambda mu: mu}, r"called as simulate\(key, mu\)"),
    (poisson, {"cdf": 0.5}, "cdf must be a function"),
]


@pytest.mark.parametrize(("log_prob", "arguments", "message"), REFUSED)
def test_refusals(log_prob, arguments, message):
    with pytest.raises(InputError, match=message):
        custom(log_prob, **arguments)


def test_functions_without_a_hash():
    class Law:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, y, mu):
            return -((y - mu) ** 2)

    with pytest.raises(InputError, match="Law without a hash"):
        custom(Law())


def test_names_of_the_library():
    with pytest.raises(InputError, match="'poisson' is the name of a family of the library"):
        families.get(custom(poisson, support="count"))
    with pytest.raises(InputError, match="reaches means between 0 and 1 only"):
        families.get(OWN["poisson"], "logit")


@pytest.mark.parametrize(("scale", "value"), [("log", 2.5), ("logit", 0.3), ("identity", -1.5)])
def test_where_a_held_parameter_lies(scale, value):
    def log_prob(y, mu, first, own):
        return -((y - mu) ** 2) / first + own

    law = families.custom(
        log_prob,
        parameters={"first": 1.0, "own": abs(value)},
        scales={"own": scale},
    )
    place, at = law.coordinate(1, value)
    assert place == 1
    np.testing.assert_allclose(law.natural(np.array([0.0, at]))[1], value, rtol=1e-14)
