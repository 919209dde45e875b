"""Every law with every link it accepts: density, moments, derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxglmm import families
from jaxglmm.errors import InputError

from .compiled import log_probs, of, tower
from .zoo import LAWS, derivative, eta_interval, law_pairs, reference

PAIRS = law_pairs(quick=True)


def points(family):
    """(y, eta, weight) over quantiles of the law, means and weights (trials)."""
    low, high = eta_interval(family)
    triples = []
    for weight in (1.0, 6.0) if family.weight_role == "trials" else (0.5, 1.0, 2.5):
        weight = 1.0 if family.weight_role == "multiplier" else weight
        for eta in np.linspace(low, high, 4):
            mu = np.asarray(of(family.link, "mean", eta))
            y = reference(family, mu, weight).ppf([0.02, 0.4, 0.98])
            triples += [(v, eta, weight) for v in y]
    return tuple(np.array(column) for column in zip(*triples, strict=True))


def test_every_family_has_a_reference():
    assert set(families.REGISTRY) == set(LAWS)


@pytest.mark.parametrize(("name", "link"), PAIRS)
def test_density_and_variance_are_those_of_the_law(name, link):
    family, law = families.get(name, link), LAWS[name]
    y, eta, weight = points(family)
    mu = np.asarray(of(family.link, "mean", eta))
    known = reference(family, mu, weight)
    log = known.logpmf if hasattr(known.dist, "logpmf") else known.logpdf
    value = log_probs(family, y, eta, law.phi, weight)
    np.testing.assert_allclose(value, log(y), rtol=1e-10, atol=1e-11)
    scale = weight**2 if family.weight_role == "trials" else 1.0
    variance = of(family, "response_variance", eta, law.phi, weight)
    np.testing.assert_allclose(variance, known.var() / scale, rtol=1e-9)
    mean = np.asarray(of(family, "response_mean", eta, law.phi))
    if family.support == "ordinal":
        mean = mean @ np.arange(mean.shape[-1])
    np.testing.assert_allclose(known.mean() / np.sqrt(scale), mean, rtol=1e-9)


@pytest.mark.parametrize("name", families.REGISTRY)
def test_natural_parameters(name):
    family = families.get(name)
    assert family.num_phi == len(LAWS[name].natural)
    np.testing.assert_allclose(family.natural(LAWS[name].phi), LAWS[name].natural, rtol=1e-14)
    natural = np.asarray(LAWS[name].natural).reshape(-1).tolist()
    np.testing.assert_allclose(family.phi_of(natural), LAWS[name].phi, rtol=1e-13)


@pytest.mark.parametrize("name", families.REGISTRY)
def test_parameters_that_can_be_held(name):
    law, family = LAWS[name], families.get(name)
    natural = np.asarray(law.natural).reshape(-1).tolist()
    for form in (family, family.by_parameter):
        phi = form.phi_of(natural)
        np.testing.assert_allclose(form.natural(jnp.asarray(phi)), natural, rtol=1e-13)
        found = [form.coordinate(number, value) for number, value in enumerate(natural)]
        known = [place for place in found if place is not None]
        np.testing.assert_allclose([value for _, value in known], phi[[k for k, _ in known]])
        assert len(known) == len(natural) or form != family.by_parameter
        y, eta, weight = points(family)
        here = log_probs(form, y, eta, phi, weight)
        there = log_probs(family, y, eta, law.phi, weight)
        np.testing.assert_allclose(here, there, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["cumulative", "ordered_beta"])
def test_cuts_out_of_order_have_no_density(name):
    law = families.get(name).by_parameter
    phi = law.phi_of(np.asarray(LAWS[name].natural).reshape(-1).tolist())
    phi[-2:] = phi[-2:][::-1]
    y = jnp.asarray(1.0 if name == "cumulative" else 0.4)
    assert np.isnan(law.log_prob(y, jnp.asarray(0.3), jnp.asarray(phi), jnp.asarray(1.0)))
    held = np.arange(law.num_phi) == law.num_phi - 1
    moved = np.asarray(law.beside(held, jnp.asarray(phi)))
    assert moved[-1] == phi[-1] and np.all(np.diff(moved[-2:]) > 0)


@pytest.mark.parametrize(
    ("name", "natural"),
    [
        ("gaussian", [-1.0]),
        ("nbinom2", [0.0]),
        ("tweedie", [1.0, 2.5]),
        ("ordered_beta", [2.0, 0.6, 0.4]),
        ("cumulative", [0.5, -0.5]),
    ],
)
def test_parameters_out_of_range_have_no_phi(name, natural):
    with pytest.raises((ValueError, ZeroDivisionError)):
        families.get(name).phi_of(natural)


@pytest.mark.parametrize(("name", "link"), PAIRS)
def test_total_mass_is_one(name, link):
    """At a small and a large mean of the law's own link, at a middling one of the others."""
    family = families.get(name, link)
    low, high = eta_interval(family)
    for where in (0.1, 0.9) if family == families.get(name) else (0.7,):
        check_mass(family, low + where * (high - low))


def check_mass(family, eta):
    phi, t = LAWS[family.name].phi, np.linspace(-40, 40, 8001)
    atoms = {"nonnegative": [0.0], "unit_closed": [0.0, 1.0]}.get(family.support, [])
    whole = {"count": 400.0, "positive_count": 400.0, "binomial": 7.0, "ordinal": 3.0}
    if family.support in whole:
        first = 1.0 if family.support == "positive_count" else 0.0
        y = np.arange(first, whole[family.support])
        jacobian, step = np.ones_like(y), 1.0
    else:
        # The trapezoidal rule converges geometrically for analytic integrands on the line.
        kind = {"nonnegative": "positive", "unit_closed": "unit_open"}.get(
            family.support, family.support
        )
        y = {"real": np.sinh(t), "positive": np.exp(t), "unit_open": 1 / (1 + np.exp(-t))}[kind]
        jacobian = {"real": np.cosh(t), "positive": y, "unit_open": y * (1 - y)}[kind]
        y, step = np.clip(y, None, 1 - 1e-16) if kind == "unit_open" else y, t[1] - t[0]
    weight = 6.0 if family.weight_role == "trials" else 1.0
    log = log_probs(family, y, eta, phi, weight)
    mass = np.sum(np.exp(log_probs(family, np.array(atoms), eta, phi, weight)))
    np.testing.assert_allclose(mass + np.sum(np.exp(log) * jacobian) * step, 1.0, rtol=1e-10)


@pytest.mark.parametrize(("name", "link"), PAIRS)
def test_derivatives_in_eta_and_phi(name, link):
    family, phi = families.get(name, link), LAWS[name].phi
    y, eta, weight = points(family)
    low, high = eta_interval(family)

    def value(eta, phi):
        return np.asarray(tower(family, y, eta, phi, weight, 3))

    at = value(eta, phi)
    # The steepest link, 1 / mu^2, bends over a tenth of the smallest eta.
    h = 2e-3 * min(1.0, high - low, abs(low) or 1.0)
    slope = derivative(lambda t: value(eta + t, phi), h)
    np.testing.assert_allclose(at[1:], slope[:3], rtol=1e-6, atol=1e-7)
    if family.num_phi:
        of_phi = jax.jacfwd(lambda phi: tower(family, y, eta, phi, weight, 3))
        in_phi = jax.jit(of_phi)(jnp.asarray(phi))
        slope = derivative(lambda t: value(eta, phi + t), 1e-3)
        np.testing.assert_allclose(np.sum(in_phi, axis=-1), slope, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(("name", "link"), PAIRS)
def test_expected_score_is_zero(name, link):
    family, law = families.get(name, link), LAWS[name]
    eta, weight = np.mean(eta_interval(family)), 6.0 if family.weight_role == "trials" else 1.0
    mu = float(of(family.link, "mean", eta))
    known = reference(family, mu, weight)
    # 4000 equally likely strata; their midpoints integrate a score of bounded moments to 1e-2.
    y = known.ppf((np.arange(4000) + 0.5) / 4000)
    score = tower(family, y, np.full_like(y, eta), law.phi, weight, 1)[1]
    assert abs(np.mean(score)) < 2e-2 * np.std(score)


@pytest.mark.parametrize("name", [n for n, f in families.REGISTRY.items() if f.phi_names])
def test_prior_weights_divide_the_dispersion(name):
    family, phi = families.get(name), LAWS[name].phi
    y, eta, w = 0.6, 0.2, 2.5
    if family.weight_role == "trials":
        return
    if family.weight_role != "dispersion":
        assert family.log_prob(y, eta, phi, w) == family.log_prob(y, eta, phi, 1.0)
        return
    divided = phi - np.log(w) * (0.5 if name == "gaussian" else 1.0)
    np.testing.assert_allclose(
        family.log_prob(y, eta, phi, w), family.log_prob(y, eta, divided, 1.0), rtol=1e-13
    )
    np.testing.assert_allclose(
        family.response_variance(eta, phi, w),
        family.response_variance(eta, phi, 1.0) / w,
        rtol=1e-13,
    )


def test_nbinom2_tends_to_poisson():
    y, eta, size = np.array([0.0, 1.0, 5.0, 40.0]), 1.3, np.log([1e9])
    nbinom, poisson = families.get("nbinom2"), families.get("poisson")
    near = log_probs(nbinom, y, eta, size, 1.0)
    limit = log_probs(poisson, y, eta, np.zeros(0), 1.0)
    # The next term of the expansion is ((y - mu)^2 - y) / (2 size) < 1e-6.
    np.testing.assert_allclose(near, limit, atol=1e-6)


def test_a_known_sigma_is_no_parameter():
    y, eta, weight, sigma = 1.3, 0.4, 2.0, 0.7
    known, free = families.Gaussian(sigma=sigma), families.Gaussian()
    none, phi = np.zeros(0), np.log([sigma])
    assert (known.num_phi, known.phi_names, known.known) == (0, (), {"sigma": sigma})
    assert (free.num_phi, free.phi_names, free.known) == (1, ("sigma",), {})
    assert known.free() == free
    np.testing.assert_allclose(
        known.log_prob(y, eta, none, weight), free.log_prob(y, eta, phi, weight), rtol=1e-14
    )
    np.testing.assert_allclose(
        known.response_variance(eta, none, weight),
        free.response_variance(eta, phi, weight),
        rtol=1e-14,
    )
    for sigma in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(InputError, match="positive number"):
            families.Gaussian(sigma=sigma)


@pytest.mark.parametrize("bad", ["poison", "", 3, None])
def test_unknown_families_are_refused(bad):
    with pytest.raises(InputError, match="family"):
        families.get(bad)
