"""Fits with a family of the user's own: the library's where it has the law, else the truth."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from jax.scipy.special import gammaln, i0e
from scipy import stats

import jaxglmm as jg
from jaxglmm.frontend import programs

CALLS: list[str] = []  # grows whenever JAX traces a log-density


def own_poisson(y, mu):
    CALLS.append("poisson")
    return y * jnp.log(mu) - mu - gammaln(y + 1)


def own_nbinom2(y, mu, size):
    whole = gammaln(y + size) - gammaln(size) - gammaln(y + 1)
    return whole + size * jnp.log(size / (size + mu)) + y * jnp.log(mu / (size + mu))


def own_normal(y, mu, sigma):
    return -0.5 * ((y - mu) / sigma) ** 2 - jnp.log(sigma) - 0.5 * math.log(2 * math.pi)


def von_mises(y, mu, kappa):
    """An angle about mu: exp(kappa cos(y - mu)) / (2 pi I_0(kappa))."""
    return kappa * (jnp.cos(y - mu) - 1.0) - jnp.log(2 * math.pi * i0e(kappa))


def make(name: str) -> jg.families.Custom:
    """The family as a user makes it, anew in every call."""
    of = {
        "poisson": (own_poisson, {"support": "count"}),
        "nbinom2": (own_nbinom2, {"support": "count", "parameters": {"size": 1.0}}),
        "normal": (own_normal, {"parameters": {"sigma": 1.0}}),
    }
    log_prob, arguments = of[name]
    return jg.families.custom(log_prob, **arguments)


@functools.cache
def table() -> pd.DataFrame:
    rng = np.random.default_rng(7)
    d = pd.DataFrame({"x": rng.normal(size=120), "g": np.resize(np.arange(12), 120)})
    mean = np.exp(0.8 + 0.4 * d["x"] + 0.5 * rng.normal(size=12)[d["g"]])
    d["k"] = rng.negative_binomial(2, 2 / (2 + mean))
    return d


def fit_anew(name: str) -> jg.GLMM:
    return jg.glmm("k ~ x + (1 | g)", table(), make(name))


@functools.cache
def fit(name: str) -> jg.GLMM:
    return fit_anew(name)


@pytest.mark.parametrize("name", ["poisson", "nbinom2"])
def test_equals_the_library_s(name: str) -> None:
    own, known = fit(name), jg.glmm("k ~ x + (1 | g)", table(), name)
    assert own.status == known.status == "converged"
    np.testing.assert_allclose(own.log_likelihood, known.log_likelihood, rtol=0, atol=1e-8)
    columns = ["estimate", "std_error"]
    np.testing.assert_allclose(
        own.fixed_effects()[columns], known.fixed_effects()[columns], rtol=1e-5
    )
    ours, theirs = own.covariance_parameters(), known.covariance_parameters()
    assert list(ours["name1"]) == list(theirs["name1"])
    np.testing.assert_allclose(ours[columns], theirs[columns], rtol=1e-5)
    np.testing.assert_allclose(own.fitted(), known.fitted(), rtol=1e-6)
    assert f"own_{name}" in str(own.summary())


def test_the_same_functions_are_traced_once(
    compiled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = fit_anew("poisson")
    monkeypatch.setattr(programs, "_folder", lambda: tmp_path)
    family = make("poisson")
    CALLS.clear()
    compiled.clear()
    again = jg.glmm("k ~ x + (1 | g)", table(), family)
    assert again.log_likelihood == first.log_likelihood
    part = jg.glmm("k ~ x + (1 | g)", table().iloc[3:], family)  # a similar size
    assert part.converged
    assert CALLS == compiled == list(tmp_path.iterdir()) == []


def test_units_far_from_the_given_value(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """sigma = 1 is what the family says; it is 3000 times that. No program is kept on disk."""
    data = table().assign(y=1000.0 * table()["k"])
    known = jg.glmm("y ~ x", data)
    monkeypatch.setattr(programs, "_folder", lambda: tmp_path)
    own = jg.glmm("y ~ x", data, make("normal"))
    assert own.status == "converged" and list(tmp_path.iterdir()) == []
    np.testing.assert_allclose(own.log_likelihood, known.log_likelihood, atol=1e-8)
    np.testing.assert_allclose(own.family_parameters["sigma"], known.family_parameters["sigma"])


def test_a_law_and_a_link_that_the_library_does_not_have() -> None:
    """Angles about 2 arctan(eta), with a random intercept: the truth within four errors."""
    link = jg.links.Link(lambda eta: 2 * jnp.arctan(eta), range="real", name="tangent")
    angles = jg.families.custom(von_mises, parameters={"kappa": 1.0}, link=link)
    rng = np.random.default_rng(5)
    x, g = rng.uniform(-1, 1, 600), np.resize(np.arange(30), 600)
    eta = 0.2 + 0.5 * x + 0.3 * rng.normal(size=30)[g]
    y = stats.vonmises(3.0).rvs(600, random_state=rng) + 2 * np.arctan(eta)
    data = {"y": np.angle(np.exp(1j * y)), "x": x, "g": g}
    found = jg.glmm("y ~ x + (1 | g)", data, angles)
    assert found.status == "converged" and found.link.name == "tangent"
    fixed, other = found.fixed_effects(), found.covariance_parameters()
    estimate = np.concatenate([fixed["estimate"], other["estimate"]])
    error = np.concatenate([fixed["std_error"], other["std_error"]])
    np.testing.assert_array_less(np.abs(estimate - [0.2, 0.5, 0.3, 3.0]) / error, 4.0)
    new = {"x": [0.0], "g": [0]}
    mean = found.predict(new, kind="population")
    np.testing.assert_allclose(mean, 2 * np.arctan(fixed["estimate"][0]), rtol=1e-10)


def test_a_saved_fit_asks_for_the_family(tmp_path: Path) -> None:
    fit("nbinom2").save(tmp_path / "fit")
    again = jg.load(tmp_path / "fit", family=make("nbinom2"))
    pd.testing.assert_frame_equal(again.fixed_effects(), fit("nbinom2").fixed_effects())
    np.testing.assert_array_equal(again.fitted(), fit("nbinom2").fitted())
    with pytest.raises(jg.InputError, match=r"'own_nbinom2', .*load\(path, family=...\)"):
        jg.load(tmp_path / "fit")
    with pytest.raises(jg.InputError, match=r"\(size\), but family= is 'own_poisson' with \(\)"):
        jg.load(tmp_path / "fit", family=make("poisson"))


def test_a_saved_fit_of_the_library_s_family_asks_for_none(tmp_path: Path) -> None:
    jg.glmm("k ~ x", table(), "poisson").save(tmp_path / "fit")
    with pytest.raises(jg.InputError, match="library's family 'poisson'. Leave family= out"):
        jg.load(tmp_path / "fit", family=make("poisson"))


def truncated(y, mu):
    """Defined from three on only."""
    return jnp.log(y - 3.0) - mu * y


def kinked(y, mu):
    """Its value is finite at zero, its derivative is not."""
    return -mu + jnp.where(y > 0, jnp.log(jnp.sqrt(mu * y)), 0.0)


NOT_FINITE = [
    (truncated, {"support": "count"}, r"log_prob of .* in rows .* with response .*support="),
    (kinked, {"support": "count"}, "derivative of log_prob .* with response 0.*jnp.where"),
    (own_poisson, {"support": "count", "initial_mean": jnp.log}, "initial_mean of .* response 0"),
]


@pytest.mark.parametrize(("log_prob", "arguments", "message"), NOT_FINITE)
def test_densities_that_are_not_finite(log_prob: Any, arguments: Any, message: str) -> None:
    assert (table()["k"] == 0).any()
    family = jg.families.custom(log_prob, **arguments)
    with pytest.raises(jg.InputError, match=message):
        jg.glmm("k ~ x", table(), family)


def test_zeros_under_a_law_without_them() -> None:
    """Zeros are the other part of the hurdle's, and the density is not asked about them."""
    family = jg.families.custom(truncated, support="positive_count")
    data = table().assign(k=np.where(table()["k"] < 4, 0, table()["k"]))
    problem, _ = jg.build("k ~ x", data, family, zero_inflation="~ x")
    assert problem.family.components == ("cond", "zi")


@pytest.mark.slow
def test_parameters_that_leave_for_their_limit() -> None:
    """Fewer zeros and large counts than Poisson: no plain convergence, and a sentence why."""
    data = {"k": np.resize([2.0, 3.0, 3.0, 4.0], 120), "x": table()["x"].to_numpy()}
    found = jg.glmm("k ~ x", data, make("nbinom2"))
    assert found.status in ("converged_boundary", "max_iterations")
    assert "'own_nbinom2' is at its limit" in found.status_message
