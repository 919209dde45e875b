"""What follows from every law's density: tails, quantiles, draws, deviances, variances."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from jaxglmm import families
from jaxglmm.families import AbstractFamily

from .test_modelled import LOGIT, MODELS
from .zoo import LAWS, eta_interval, reference, slow

COUNTS = ("count", "positive_count", "binomial", "ordinal")
LEVELS = np.array([1e-5, 0.02, 0.41, 0.9, 1 - 1e-5])
PROBABILITIES = np.repeat(LEVELS[:, None], 3, axis=1)
NUM_DRAWS = 20_000
# The largest distance of an empirical distribution function from its own passes this once in 1e6
# times: 2 exp(-2 n d^2) = 1e-6 (Massart 1990).
DISTANCE = np.sqrt(np.log(2e6) / (2 * NUM_DRAWS))


def rows(law):
    """Three predictors of moderate means and a weight for each (trials)."""
    weight = {"trials": (6.0, 1.0, 11.0), "dispersion": (0.5, 1.0, 2.5)}
    return np.linspace(*eta_interval(law), 3), np.array(weight.get(law.weight_role, (1.0,) * 3))


# Their programs are those of others, but for what test_families covers.
ALIKE = ("nbinom1", "truncated_nbinom1", "truncated_nbinom2", "ordered_beta", "zero_one_beta")
NAMES = [slow(n) if n in ALIKE else n for n in families.REGISTRY]


@functools.cache
def program(law):
    """All functions of y (level, row) and p at once."""

    @jax.jit
    def run(y, p, eta, phi, weight):
        tails = law.tails(eta, phi, weight)
        below, above = tails(jnp.stack([y, y + 0.5, y - 1.0]))
        back = 0.5 * (below[0] + below[2]) if law.support in COUNTS else below[0]
        return {
            "below": below,
            "above": above,
            "quantile": law.quantile(jnp.stack([p, back]), eta, phi, weight),
            "deviance": law.deviance(y, eta, phi, weight),
            "variance": law.response_variance(eta, phi, weight),
            "log_p": law.log_prob(y, eta, phi, weight),
        }

    return lambda *args: jax.tree.map(np.asarray, run(*args))


@functools.cache
def setting(name):
    """The law, its reference in each row, responses at the levels, and what the law finds."""
    law = families.get(name)
    eta, weight = rows(law)
    mu = np.asarray(law.link.mean(eta))
    known = [reference(law, m, w) for m, w in zip(mu, weight, strict=True)]
    y = np.stack([k.ppf(LEVELS) for k in known], axis=-1)
    return law, known, y, program(law)(y, PROBABILITIES, eta, jnp.asarray(LAWS[name].phi), weight)


def by_row(function, known, y):
    return np.stack([getattr(k, function)(y[:, i]) for i, k in enumerate(known)], axis=-1)


@pytest.mark.parametrize("name", NAMES)
def test_tails(name):
    law, known, y, found = setting(name)
    places = [y, y + 0.5, y - 1.0]
    exact = np.stack([by_row("cdf", known, v) for v in places])
    # The references by summation round at 1e-16 of one.
    np.testing.assert_allclose(found["below"], exact, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(found["above"], 1.0 - exact, rtol=1e-9, atol=1e-14)
    if hasattr(known[0], "sf") and name != "skew_normal":  # whose sf is one less its cdf
        exact = np.stack([by_row("sf", known, v) for v in places])
        np.testing.assert_allclose(found["above"], exact, rtol=1e-11)


@pytest.mark.parametrize("name", NAMES)
def test_quantiles(name):
    law, known, y, found = setting(name)
    at, back = found["quantile"]
    if law.support in COUNTS:
        np.testing.assert_array_equal(at, y)
        np.testing.assert_array_equal(back, y)
    else:
        np.testing.assert_allclose(at, y, rtol=1e-9, atol=1e-9)
        # An error of eps in the probability moves the quantile by eps over the density.
        np.testing.assert_allclose(back, y, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_ends_of_quantiles(name):
    law, known, y, _ = setting(name)
    eta, weight = rows(law)
    p = np.array([0.0, 1.0, -0.1, 1.1, np.nan])[:, None] * np.ones(3)
    phi = jnp.asarray(LAWS[name].phi)
    low, high, *outside = program(law)(y, p, eta, phi, weight)["quantile"][0]
    assert np.all(np.isnan(outside))
    first = {"real": -np.inf, "positive_count": 1.0}.get(law.support, 0.0)
    last = {"binomial": weight, "ordinal": 2.0, "unit_open": 1.0, "unit_closed": 1.0}
    np.testing.assert_array_equal(low, np.full(3, first))
    np.testing.assert_array_equal(high, np.broadcast_to(last.get(law.support, np.inf), 3))


@pytest.mark.parametrize("name", NAMES)
def test_deviance(name):
    law, _, y, found = setting(name)
    assert np.all(found["deviance"] >= 0)
    if name != "nbinom1":  # whose saturated law is another one
        exact = largest(law, y, jnp.asarray(LAWS[name].phi), rows(law)[1]) - found["log_p"]
        np.testing.assert_allclose(found["deviance"], 2 * exact, atol=2e-8)


def largest(law, y, phi, weight):
    """max log p over eta in [-40, 40], by two grids."""
    places = jnp.asarray(y.ravel()), jnp.asarray(np.broadcast_to(weight, y.shape).ravel())
    over = jax.vmap(jax.vmap(law.log_prob, (None, 0, None, None)), (0, 0, None, 0))
    log_p = jax.jit(lambda eta: jnp.nan_to_num(over(places[0], eta, phi, places[1]), nan=-jnp.inf))
    span, step = np.linspace(-40.0, 40.0, 4001), 0.02
    centre = span[np.argmax(log_p(np.tile(span, (y.size, 1))), axis=1)]
    near = centre[:, None] + span / 40.0 * step
    return np.max(log_p(near), axis=1).reshape(y.shape)


def test_deviance_residuals_are_those_of_glm():
    """R's dev.resids divided by the dispersion, and glmmTMB's for the negative binomial laws."""
    y, mu, w = np.array([0.5, 2.0, 7.0]), np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.0, 3.0])
    count, phi = np.array([0.0, 2.0, 7.0]), np.log(0.7)
    size = mu / 0.7
    log_ratio = special.xlogy(count, np.maximum(count, 1) / mu)
    unit = {
        "gaussian": (y, mu, w * (y - mu) ** 2 / 0.7**2),
        "gamma": (y, np.log(mu), 2 * w * (y / mu - 1 - np.log(y / mu)) / 0.7),
        "inverse_gaussian": (y, np.log(mu), w * (y - mu) ** 2 / (y * mu**2) / 0.7),
        "poisson": (count, np.log(mu), 2 * (special.xlogy(count, count / mu) - (count - mu))),
        "nbinom2": (
            count,
            np.log(mu),
            2 * (log_ratio - (count + 0.7) * np.log((count + 0.7) / (mu + 0.7))),
        ),
        "nbinom1": (
            count,
            np.log(mu),
            2 * (log_ratio - (count + size) * np.log((count + size) / (mu + size))),
        ),
    }
    for name, (v, eta, expected) in unit.items():
        law = families.get(name)
        own = np.full(law.num_phi, phi)
        found = law.deviance_residual(v, eta, own, w)
        sign = np.sign(v - mu)
        np.testing.assert_allclose(found, sign * np.sqrt(expected), rtol=1e-7, atol=1e-7)


@functools.cache
def sampler(law):
    return jax.jit(law.sample)


def check_draws(law, eta, phi, weight, cdf):
    """Draws for one row, by the distance of their ranks from a uniform law.

    A draw of a law with atoms has a random rank between P(Y < y) and P(Y <= y).
    """
    rng = np.random.default_rng(5)
    rows = jax.tree.map(lambda v: jnp.full(NUM_DRAWS, v), eta)
    y = np.asarray(sampler(law)(jax.random.key(11), rows, phi, jnp.full(NUM_DRAWS, weight)))
    below, up_to = cdf(np.nextafter(y, -np.inf)), cdf(y)
    assert np.all(up_to > below) or law.support not in COUNTS
    ranks = np.sort(below + (up_to - below) * rng.random(NUM_DRAWS))
    steps = np.arange(NUM_DRAWS + 1) / NUM_DRAWS
    assert max(np.max(steps[1:] - ranks), np.max(ranks - steps[:-1])) < DISTANCE


# Their samplers are in the others.
# The others draw in the tests below, or in the same way.
SAMPLED = ("gaussian", "inverse_gaussian", "skew_normal", "student_t", "cumulative")


@pytest.mark.parametrize("name", [n if n in SAMPLED else slow(n) for n in families.REGISTRY])
def test_draws(name):
    law, known, *_ = setting(name)
    eta, weight = rows(law)
    phi = jnp.asarray(LAWS[name].phi)
    for row in (0, 2):
        check_draws(law, eta[row], phi, weight[row], known[row].cdf)


NUM_COUNTS = 400_000
REGIMES = {
    "large Poisson means": ("poisson", np.log(3e5), [], 1.0),
    "next to no dispersion": ("nbinom2", np.log(1e3), [np.log(1e8)], 1.0),
    "long tail": ("nbinom2", np.log(1e3), [np.log(0.1)], 1.0),
    "many trials": ("betabinomial", 0.4, [np.log(50.0)], 1000.0),
    "all or nothing": ("betabinomial", 0.4, [np.log(0.5)], 1000.0),
    "too little spread": ("genpois", np.log(30.0), [np.log(0.5)], 1.0),
    "many generations": ("genpois", np.log(500.0), [np.log(9.0)], 1.0),
    "narrow compois": ("compois", np.log(300.0), [np.log(0.2)], 1.0),
    "wide compois": ("compois", np.log(2000.0), [np.log(5.0)], 1.0),
    "nearly geometric": ("compois", np.log(40.0), [np.log(30.0)], 1.0),
    "rare events": ("truncated_poisson", np.log(1e-9), [], 1.0),
    "nearly logarithmic": ("truncated_nbinom2", np.log(1.0), [np.log(1e-3)], 1.0),
}


@functools.cache
def log_density(law):
    return jax.jit(lambda *given: law.log_prob(jnp.arange(1.0 * NUM_COUNTS), *given))


@pytest.mark.parametrize("regime", REGIMES.values(), ids=REGIMES)
def test_counts_by_summation(regime):
    """Long sums by few terms and every branch of the samplers, against plain sums."""
    name, eta, own, weight = regime
    law, phi = families.get(name), jnp.asarray(own, float)
    p = np.nan_to_num(np.exp(np.asarray(log_density(law)(eta, phi, weight))))
    p[: int(law.support == "positive_count")] = 0.0
    below = np.append(0.0, np.cumsum(p)) / np.sum(p)
    above = np.append(np.cumsum(p[::-1])[::-1], 0.0) / np.sum(p)

    def place(y):
        return np.clip(np.floor(y) + 1, 0, NUM_COUNTS).astype(int)

    y = np.searchsorted(below[1:], LEVELS)[:, None] * np.ones(3)
    found = program(law)(y, PROBABILITIES, np.full(3, eta), phi, np.full(3, weight))
    places = place(np.stack([y, y + 0.5, y - 1.0]))
    np.testing.assert_allclose(found["below"], below[places], rtol=1e-8, atol=1e-13)
    np.testing.assert_allclose(found["above"], above[places], rtol=1e-8, atol=1e-13)
    np.testing.assert_array_equal(found["quantile"], np.stack([y, y]))
    check_draws(law, eta, phi, weight, lambda y: below[place(y)])


PREDICTORS = {
    "identity": (-1e6, 0.0, 1e6),
    "log": (-300.0, -30.0, 20.0),
    "logit": (-300.0, -30.0, 300.0),
}


@pytest.mark.parametrize("name", NAMES)
def test_extreme_predictors(name):
    law, _, y, _ = setting(name)
    eta, phi = np.array(PREDICTORS[law.link.name]), jnp.asarray(LAWS[name].phi)
    found = program(law)(y, PROBABILITIES, eta, phi, rows(law)[1])
    np.testing.assert_allclose(found["below"] + found["above"], 1.0, atol=1e-12)
    assert np.all((found["below"] >= 0) & (found["above"] >= 0))
    at = found["quantile"][0]
    assert np.all(np.diff(at, axis=0) >= 0) and np.all(np.isfinite(at))
    for part in ("deviance", "variance"):
        assert np.all(np.isfinite(found[part])), part
    assert np.all(found["deviance"] >= 0) and np.all(found["variance"] >= 0)


FEW = ("gaussian-disp", "poisson-zi", "gamma-disp-zi")
MODELLED = [
    pytest.param(*m.values, id=m.id) if m.id in FEW else slow(*m.values)
    for m in MODELS
    if m.values[0].law.zeros != "own"  # zeros that the law has by itself
]


@pytest.mark.parametrize("model", MODELLED)
def test_modelled_laws(model):
    """Mixtures and hurdles of the base law, with a dispersion of its own in every row."""
    eta, weight = rows(model.base)
    own = jnp.asarray(LAWS[model.name].phi)
    further = {"disp": np.sum(own[:1]) + np.array([0.0, 0.3, -0.3]), "zi": LOGIT + eta - eta[1]}
    predictors = (eta, *(further[c] for c in model.components[1:]))
    phi = own[1:] if model.dispersion else own
    share = special.expit(further["zi"]) if model.inflation else np.zeros(3)
    known = []
    for k, m in enumerate(np.asarray(model.link.mean(eta))):
        at = own.at[0].set(further["disp"][k]) if model.dispersion else own
        known.append(reference(model.base, m, weight[k], at))

    def cdf(k, y):
        return np.where(np.asarray(y) < 0, 0.0, share[k]) + (1 - share[k]) * known[k].cdf(y)

    y = np.stack([law.ppf(LEVELS) for law in known], axis=-1)
    y[1] = 0.0 if model.inflation else y[1]
    found = program(model)(y, PROBABILITIES, predictors, phi, weight)
    exact = np.stack(
        [[cdf(k, v[:, k]) for k in range(3)] for v in (y, y + 0.5, y - 1.0)]
    ).transpose(0, 2, 1)
    np.testing.assert_allclose(found["below"], exact, rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(found["above"], 1 - exact, rtol=1e-9, atol=1e-14)
    at = found["quantile"][0]
    reached = np.stack([cdf(k, at[:, k] + 1e-9 * np.abs(at[:, k])) for k in range(3)], axis=-1)
    before = [cdf(k, at[:, k] - 1e-9 * np.abs(at[:, k]) - 1e-300) for k in range(3)]
    assert np.all(reached >= PROBABILITIES - 1e-12)
    assert np.all(np.stack(before, axis=-1) <= PROBABILITIES + 1e-12)
    scale = weight**2 if model.weight_role == "trials" else 1.0
    mean, spread = (np.array([getattr(law, f)() for law in known]) for f in ("mean", "var"))
    variance = (1 - share) * (spread + mean**2) - ((1 - share) * mean) ** 2
    np.testing.assert_allclose(found["variance"] * scale, variance, rtol=1e-9)
    assert np.all(found["deviance"] >= 0)
    if model.inflation:  # a zero is certain, or has the probability that it has
        certain = np.log(share) if model.law.zeros == "absent" else 0.0
        np.testing.assert_allclose(
            found["deviance"][1], 2 * (certain - found["log_p"][1]), atol=1e-12
        )
    last = tuple(v[2] for v in predictors)
    check_draws(model, last, phi, weight[2], functools.partial(cdf, 2))


@dataclasses.dataclass(frozen=True)
class Bare(AbstractFamily):
    """A law that gives its log-density only, for scalars."""

    law: AbstractFamily = families.Poisson()

    @property
    def support(self):
        return self.law.support

    @property
    def weight_role(self):
        return self.law.weight_role

    def log_kernel(self, y, eta, phi, weight):
        return dataclasses.replace(self.law, link=self.link).log_kernel(y, eta, phi, weight)

    def log_base(self, y, weight):
        return self.law.log_base(y, weight)

    def initial_mean(self, y, weight):
        return y

    def initial_phi(self, y, mu, weight, multiplier):
        return self.law.initial_phi(y, mu, weight, multiplier)


BARE = [n for n in LAWS if n not in ("poisson", "gamma", "cumulative", "compois", "genpois")]


@pytest.mark.parametrize("name", ["poisson", "gamma", *map(slow, BARE)])
def test_a_log_density_is_enough(name):
    law, _, y, exact = setting(name)
    eta, weight = rows(law)
    found = program(Bare(law.link, law))(y, PROBABILITIES, eta, jnp.asarray(LAWS[name].phi), weight)
    for part in ("below", "above"):
        np.testing.assert_allclose(found[part], exact[part], rtol=1e-9, atol=1e-13)
    np.testing.assert_allclose(found["quantile"][0], exact["quantile"][0], rtol=1e-8)
    np.testing.assert_allclose(found["variance"], exact["variance"], rtol=1e-9)
    if name != "nbinom1":
        np.testing.assert_allclose(found["deviance"], exact["deviance"], atol=1e-9)


@pytest.mark.single
def test_single_precision():
    """Functions follow the precision of their arguments; rounding of log p by 40 eps is 5e-6."""
    law, eta, phi = families.get("nbinom2"), jnp.float32([0.1, 2.0]), jnp.float32([0.5])
    weight, y = jnp.ones_like(eta), jnp.float32([1.0, 9.0])

    @jax.jit
    def run(key):
        below = law.cdf(y, eta, phi, weight)
        back = law.quantile(below, eta, phi, weight)
        return below, back, law.deviance(y, eta, phi, weight), law.sample(key, eta, phi, weight)

    found = run(jax.random.key(0))
    known = reference(law, np.exp(np.array(eta, float)), 1.0, np.array(phi, float))
    np.testing.assert_allclose(found[0], known.cdf(np.array(y)), rtol=1e-5)
    np.testing.assert_array_equal(found[1], y)
    assert {v.dtype for v in found} == {jnp.dtype("float32")}
