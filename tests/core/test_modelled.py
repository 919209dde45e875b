"""Laws with linear predictors for their dispersion and for a probability of zeros."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxglmm import families
from jaxglmm.covariance import Diagonal, Unstructured
from jaxglmm.design import Grouping, Term, make_problem
from jaxglmm.engine import initial_params, log_likelihood
from jaxglmm.errors import InputError
from jaxglmm.families import Modelled
from jaxglmm.params import Params

from .compiled import log_probs_beside, of
from .location_scale import make_location_scale
from .test_gradients import check_gradient, check_hessian
from .zoo import LAWS, derivative, eta_interval, fit, reference, slow

LOGIT = -0.6


def modelled_laws():
    """Every law with each further predictor that it may have."""
    found = []
    for name in families.REGISTRY:
        law = families.get(name)
        for dispersion, zeros in ((True, False), (False, True), (True, True)):
            if (law.dispersed or not dispersion) and (law.zeros != "refused" or not zeros):
                model = families.modelled(law, dispersion=dispersion, zero_inflation=zeros)
                found.append(pytest.param(model, id=f"{name}-{'-'.join(model.components[1:])}"))
    return found


MODELS = modelled_laws()
FIRST = ("gaussian", "poisson", "gamma", "beta", "nbinom2", "truncated_poisson")
# Derivatives of the others take long to compile.
TOWERS = [m if m.values[0].name in FIRST else slow(m.values[0]) for m in MODELS]


def added(model):
    """Whether zeros are added to a law, which has no parameter for them."""
    return model.inflation and model.law.zeros != "own"


def whole(model):
    """The base law's phi, with LOGIT for the parameter that a predictor of zeros stands for."""
    phi = np.array(LAWS[model.name].phi)
    if model.inflation and not added(model):
        phi[1] = LOGIT
    return phi


def left(model, phi):
    """Those without a predictor."""
    return np.delete(phi, [0] * model.dispersion + [1] * (model.inflation and not added(model)))


def setting(model):
    """eta of all predictors, phi, and a weight (trials)."""
    low, high = eta_interval(model.base)
    phi = whole(model)
    further = {"disp": phi[:1], "zi": [LOGIT]}
    eta = [low + 0.4 * (high - low)] + [further[c][0] for c in model.components[1:]]
    own = left(model, phi)
    return np.array(eta), own, 6.0 if model.weight_role == "trials" else 1.0


@pytest.mark.parametrize("model", MODELS)
def test_phi_of_natural_parameters(model):
    phi = left(model, whole(model))
    found = model.phi_of(of(model, "natural", phi).tolist())
    np.testing.assert_allclose(found, phi, rtol=1e-13)


def responses(model, eta, weight):
    """Quantiles of the base law, and zero where it is one of the responses."""
    mu = np.asarray(of(model.link, "mean", eta[0]))
    law = reference(model.base, mu, weight, whole(model))
    y = np.unique(law.ppf(np.array([0.05, 0.4, 0.9, 0.99])))
    return (np.append(y, 0.0) if model.inflation else y), law


@pytest.mark.parametrize("model", MODELS)
def test_density(model):
    eta, phi, weight = setting(model)
    y, law = responses(model, eta, weight)
    log = law.logpmf if hasattr(law.dist, "logpmf") else law.logpdf
    inside = np.where(y == 0, 0.5, y) if model.base.support in ("positive", "unit_open") else y
    density = np.exp(log(inside))
    if added(model):
        pi = special.expit(LOGIT)
        at_zero = density if model.law.zeros == "present" else 0.0
        density = np.where(y == 0, pi + (1 - pi) * at_zero, (1 - pi) * density)
    value = log_probs_beside(model, y, tuple(eta), phi, weight)
    np.testing.assert_allclose(value, np.log(density), rtol=1e-10, atol=1e-11)
    if model.elementwise:
        each = tuple(np.full(y.shape, e) for e in eta)
        whole = of(model, "log_prob", y, each, phi, np.full(y.shape, weight))
        np.testing.assert_allclose(whole, value, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("model", MODELS)
def test_total_mass_is_one(model):
    eta, phi, weight = setting(model)
    t = np.linspace(-40, 40, 8001)
    support = model.base.support
    kind = {"nonnegative": "positive", "unit_closed": "unit_open"}.get(support, support)
    if kind in ("count", "positive_count", "binomial"):
        first = 1.0 if kind == "positive_count" else 0.0
        y, jacobian = np.arange(first, 7.0 if kind == "binomial" else 400.0), 1.0
    else:
        y = {"real": np.sinh(t), "positive": np.exp(t), "unit_open": special.expit(t)}[kind]
        slope = {"real": np.cosh(t), "positive": y, "unit_open": y * (1 - y)}[kind]
        jacobian = slope * (t[1] - t[0])
        y = np.clip(y, None, 1 - 1e-16) if kind == "unit_open" else y
    mass = np.sum(np.exp(log_probs_beside(model, y, tuple(eta), phi, weight)) * jacobian)
    atoms = {"nonnegative": [0.0], "unit_closed": [0.0, 1.0]}.get(support, [])
    if model.inflation and model.law.zeros == "absent":
        atoms = [0.0]
    mass += np.sum(np.exp(log_probs_beside(model, np.array(atoms), tuple(eta), phi, weight)))
    np.testing.assert_allclose(mass, 1.0, rtol=1e-9)


@functools.cache
def tower(model, weight):
    """The log-density of rows y and its first four derivatives along d from x = (eta, phi).

    Those along all unit vectors and a few others determine the mixed ones.
    """
    m = model.num_predictors

    def found(y, x, d):
        law = [lambda t: model.log_kernel(y, tuple(x[:m] + t * d[:m]), (x + t * d)[m:], weight)]
        for _ in range(4):
            law.append(jax.jacfwd(law[-1]))
        return jnp.stack([f(0.0) for f in law])

    return jax.jit(jax.vmap(jax.vmap(found, (None, None, 0)), (0, None, None)))


def directions(size):
    return np.concatenate([np.eye(size), np.random.default_rng(1).uniform(-1, 1, (3, size))])


@pytest.mark.parametrize("model", TOWERS)
def test_derivatives_to_the_fourth_order(model):
    eta, phi, weight = setting(model)
    y, _ = responses(model, eta, weight)
    x = np.concatenate([eta, phi])
    found, along = tower(model, weight), directions(x.size)
    at = found(y, x, along)
    for k, d in enumerate(along):
        slope = derivative(lambda t, d=d, k=k: found(y, x + t * d, along)[:, k], 1e-3)
        scale = np.max(np.abs(slope), axis=1, keepdims=True)
        np.testing.assert_allclose(at[:, k, 1:] / scale, slope[:, :4] / scale, atol=1e-6)


@pytest.mark.parametrize("model", [m for m in TOWERS if m.values[0].inflation])
def test_derivatives_are_finite_in_the_tails(model):
    eta, phi, weight = setting(model)
    y, _ = responses(model, eta, weight)
    shift = 3.0 if model.link.range != "real" else 0.0
    for logit, move in itertools.product((-60.0, 60.0), (-shift, shift)):
        x = np.concatenate([eta, phi])
        x[0] += move
        x[len(eta) - 1] = logit
        assert np.all(np.isfinite(tower(model, weight)(y, x, directions(x.size))))
    surely = of(model, "log_prob", 0.0, (*eta[:-1], 60.0), phi, weight)
    expected = 0.0 if added(model) else np.log(special.expit(-phi[-1]))
    np.testing.assert_allclose(surely, expected, atol=1e-15)


@pytest.mark.parametrize("model", MODELS)
def test_what_is_left_of_phi(model):
    law = LAWS[model.name]
    assert model.phi_names == tuple(left(model, np.array(model.law.phi_names, object)))
    assert not model.least_squares
    assert model.num_predictors == len(model.components) == 1 + model.dispersion + model.inflation
    natural = of(model, "natural", left(model, law.phi))
    np.testing.assert_allclose(natural, left(model, law.natural), rtol=1e-14)


@pytest.mark.parametrize("model", MODELS)
def test_the_mean_response(model):
    eta, phi, _ = setting(model)
    mu = of(model.base, "response_mean", eta[0], whole(model))
    mu = mu * (special.expit(-LOGIT) if added(model) else 1.0)
    found = of(model, "response_mean", tuple(eta), phi)
    np.testing.assert_allclose(found, mu, rtol=1e-14)


def test_laws_without_such_a_parameter_are_refused():
    with pytest.raises(InputError, match="'poisson' has no dispersion.*gaussian.*nbinom2"):
        families.modelled(families.get("poisson"), dispersion=True)
    with pytest.raises(InputError, match="no dispersion"):
        families.modelled(families.Gaussian(sigma=1.0), dispersion=True)
    with pytest.raises(InputError, match="'gaussian'.*poisson.*gamma"):
        families.modelled(families.get("gaussian"), zero_inflation=True)
    assert families.modelled(families.get("gamma")) == families.get("gamma")


def test_the_dispersion_of_gaussian_is_location_and_scale():
    problem, psi = make_location_scale()
    params = Params(psi[:3], psi[3:], np.zeros(0))
    own = problem.replace(family=Modelled(families.get("gaussian"), dispersion=True))
    np.testing.assert_allclose(
        log_likelihood(params, own), log_likelihood(params, problem), rtol=1e-13
    )


def zero_inflated(term: Term, n: int = 60):
    """Poisson counts with added zeros; intercepts of both predictors vary between 6 levels."""
    rng = np.random.default_rng(3)
    codes, x, ones = np.resize(np.arange(6), n).astype(np.int32), rng.normal(size=n), np.ones(n)
    y = np.where(rng.random(n) < 0.4, 0.0, rng.poisson(np.exp(1.0 + 0.3 * x))).astype(float)
    X, Z = np.column_stack([ones, x, ones]), np.column_stack([ones, ones])
    law = Modelled(families.get("poisson"), inflation=True)
    terms = (term,) if term.covariance.dim == 2 else (term, Term(Diagonal(1), predictor=1))
    groups = (Grouping(codes, Z, 6, terms),)
    return make_problem(y, X, law, groups, predictors=(0, 0, 1))


@pytest.mark.parametrize("check", [check_gradient, check_hessian])
def test_effects_correlated_across_predictors(check):
    problem = zero_inflated(Term(Unstructured(2), predictor=(0, 1)))
    check(problem, np.array([0.9, 0.3, -0.5, 0.4, 0.2, 0.5]))


def test_correlation_zero_is_two_terms():
    tied = zero_inflated(Term(Unstructured(2), predictor=(0, 1)))
    apart = zero_inflated(Term(Diagonal(1)))
    beta, none = np.array([0.9, 0.3, -0.5]), np.zeros(0)
    np.testing.assert_allclose(
        log_likelihood(Params(beta, np.array([0.4, 0.0, 0.5]), none), tied),
        log_likelihood(Params(beta, np.array([0.4, 0.5]), none), apart),
        rtol=1e-13,
    )


def test_an_offset_of_a_further_predictor_moves_its_intercept():
    problem = zero_inflated(Term(Diagonal(1)))
    shifted = problem.replace(offsets=(np.full(problem.num_obs, 0.7),))
    theta, none = np.array([0.4, 0.5]), np.zeros(0)
    np.testing.assert_allclose(
        log_likelihood(Params(np.array([0.9, 0.3, -0.5]), theta, none), shifted),
        log_likelihood(Params(np.array([0.9, 0.3, 0.2]), theta, none), problem),
        rtol=1e-13,
    )
    one, two = fit(problem).params.beta, fit(shifted).params.beta
    np.testing.assert_allclose(two, one - [0.0, 0.0, 0.7], atol=1e-7)


def sample(rng, name, mu, phi):
    """Responses of the law at means mu and log-dispersions phi; binomial has 6 trials."""
    weight = 6 if name == "binomial" else 1.0
    rest = LAWS[name].phi[1:]
    phi = np.array([np.broadcast_to(v, np.shape(mu)) for v in (phi, *rest)])
    y = reference(families.get(name), mu, weight, phi).rvs(random_state=rng).astype(float)
    return np.clip(y, 1e-12, 1 - 1e-12) if name == "beta" else y


# The laws whose reference draws with a dispersion for every row.
DRAWN = ("gaussian", "binomial", "poisson", "gamma", "inverse_gaussian", "lognormal", "student_t")
DRAWN += ("nbinom1", "nbinom2", "beta")
QUICK = ("gamma-disp-zi", "poisson-zi")


@pytest.mark.parametrize(
    "model",
    [m if m.id in QUICK else slow(m.values[0]) for m in MODELS if m.values[0].name in DRAWN],
)
def test_recovery(model):
    """Intercepts and slopes of all predictors from 1500 rows, with a random intercept of the mean;
    units of y that are no help."""
    rng = np.random.default_rng(8)
    n, levels, m = 1500, 40, model.num_predictors
    codes, x = rng.integers(0, levels, n).astype(np.int32), rng.uniform(-1, 1, n)
    low, high = eta_interval(model.base)
    unit = 40.0 if model.name in ("gaussian", "gamma") else 1.0
    truth = {
        "cond": [0.5 * (low + high), 0.2 * (high - low)],
        "disp": [*LAWS[model.name].phi[:1], 0.4],
        "zi": [LOGIT, 0.5],
    }
    beta = np.array([value for c in model.components for value in truth[c]])
    L = 0.1 * (high - low)
    eta = {c: truth[c][0] + truth[c][1] * x for c in model.components}
    mu = np.asarray(model.link.mean(eta["cond"] + (L * rng.normal(size=levels))[codes]))
    y = sample(rng, model.name, mu, eta.get("disp", np.resize([*LAWS[model.name].phi, 0.0], 1)))
    if model.inflation:
        y = np.where(rng.random(n) < special.expit(eta["zi"]), 0.0, y)
    X = np.column_stack([np.ones(n), x] * m)
    problem = make_problem(
        unit * y,
        X,
        model,
        (Grouping(codes, np.ones((n, 1)), levels, (Term(Diagonal(1)),)),),
        trials=np.full(n, 6.0) if model.name == "binomial" else None,
        predictors=tuple(a for a in range(m) for _ in range(2)),
    )
    if model.name == "gaussian":
        beta, L = beta * np.array([unit, unit, 1.0, 1.0]), unit * L
        beta[2] += np.log(unit)
    elif unit > 1:
        beta[0] += np.log(unit)
    estimate = fit(problem)
    assert int(estimate.status) == 0
    assert int(estimate.iterations) <= 10
    psi = np.concatenate([beta, [L], LAWS[model.name].phi[1 if model.dispersion else 0 :]])
    found = np.concatenate([estimate.params.beta, estimate.params.theta, estimate.params.phi])
    se = np.sqrt(np.diagonal(np.linalg.inv(-estimate.hessian)))
    np.testing.assert_array_less(np.abs(found - psi) / se, 4.0)
    near = np.asarray(initial_params(problem).beta)
    # Within a factor of two, on the logarithmic scales.
    np.testing.assert_array_less(np.abs(near - found[: 2 * m]), np.log(2.0) * unit)


def test_the_law_is_hashable_and_equal_by_its_parts():
    one, two = (Modelled(families.get("gamma"), dispersion=True) for _ in range(2))
    assert one == two
    assert hash(one) == hash(two)
    assert one != dataclasses.replace(one, inflation=True)
