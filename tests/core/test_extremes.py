"""Every law with every link far out: density, score and curvature against mpmath."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from jaxglmm import families

from . import exact
from .compiled import tower
from .zoo import LAWS, law_pairs

STEPS = np.array([1e-6, 5.0, 20.0, 40.0, 200.0, 700.0])
BOTH = np.concatenate([-STEPS[::-1], STEPS])
PROBABILITIES = np.array([1e-12, 1e-6, 0.01, 0.5, 0.99, 1.0 - 1e-9])
RESPONSES = {
    "real": (-1.0, 0.3, 40.0),
    "positive": (1e-3, 1.0, 50.0),
    "nonnegative": (0.0, 0.5, 30.0),
    "count": (0.0, 1.0, 7.0, 60.0),
    "positive_count": (1.0, 2.0, 60.0),
    "binomial": (0.0, 3.0, 12.0),
    "unit_open": (1e-3, 0.4, 0.99),
    "unit_closed": (0.0, 0.3, 1.0),
    "ordinal": (0.0, 1.0, 2.0),
}
NUM_POINTS = 48  # of every law
EPS = np.finfo(float).eps


def predictors(law: Any) -> np.ndarray:
    """eta as far as the law has means there."""
    link, unit = law.link, law.support in ("binomial", "unit_open")
    if unit and link.range != "unit":
        return np.asarray(link.predictor(PROBABILITIES))
    if law.name == "compois":  # mpmath sums as many counts as means to 20 need
        small = [1e-300, 1e-80, 1e-12] if link.name == "log" else []
        return np.asarray(link.predictor(np.array([*small, 1e-3, 0.7, 2.0, 15.0])))
    if link.name == "log":
        # Squares of squares of a mean must be numbers where a response may be of either sign.
        return np.clip(BOTH, -700.0, 100.0 if law.support == "real" else 700.0)
    defined = link.range == "unit" or (link.name in ("identity", "sqrt") and law.support == "real")
    return BOTH if defined else STEPS


def derivatives(law: Any, phi: Any, y: Any, eta: Any, n: float) -> np.ndarray:
    """log p and its first two derivatives in eta, elementwise; shape (3, point)."""
    return np.asarray(tower(law, y, eta, phi, np.full(eta.shape, n), 2))


def exactly(f: Any, eta: float) -> list[Any]:
    """[f, f', f'', f''']: by differences that 150 digits make exact."""
    x = mp.mpf(float(eta))
    h = abs(x) * mp.mpf(10) ** -20
    b, a, o, c, d = (f(x + k * h) for k in (-2, -1, 0, 1, 2))
    return [o, (c - a) / (2 * h), (a - 2 * o + c) / h**2, (d - b - 2 * (c - a)) / (2 * h**3)]


@pytest.mark.parametrize(("name", "link"), law_pairs(quick=True))
def test_far_predictors(name, link):
    """The terms of log p are rounded: those in log mu to y eps, with derivatives over eta^k, and
    eta itself to its own eps. Where a number holds the truth, ours is that far from it at most."""
    law, n = families.get(name, link), 12.0
    n = n if law.weight_role == "trials" else 1.0
    phi, points = LAWS[name].phi, [(e, y) for e in predictors(law) for y in RESPONSES[law.support]]
    eta, y = (np.resize(column, NUM_POINTS) for column in zip(*points, strict=True))
    found = derivatives(law, jnp.asarray(phi), y, jnp.asarray(eta), n)
    for k, (e, response) in enumerate(points):
        with mp.workdps(150):
            truth = exactly(exact.density(law, phi, response, n), e)
            if max(map(abs, truth)) > 1e300:
                continue
            moved = [float(abs(t * mp.mpf(e))) for t in truth[1:]]
            truth = [float(t) for t in truth]
        for order in range(3):
            rounding = 128 * EPS * (1.0 + abs(response)) * max(1.0, 1.0 / abs(e)) ** order
            # The probit's hazard is exp(-eta^2 / 2) over a tail, and cancels in the curvature.
            relative = EPS * e**4 if law.link.name == "probit" and order == 2 else 0.0
            near = rounding + 1e-9 * moved[order] + (1e-9 + relative) * abs(truth[order])
            error = abs(found[order, k] - truth[order])
            assert error < near, (e, response, order, found[order, k], truth[order])


def test_terms_that_dwarf_their_sum():
    """Responses next to their means beside a dispersion of next to nothing: the density is right
    to its own size, the score to that of its standard deviation."""
    law, phi, y = families.get("gamma"), np.array([-25.0]), 3.0
    eta = np.log(y) + 1e-5 * np.array([-2.0, -0.5, 0.0, 1.0])
    found = derivatives(law, jnp.asarray(phi), np.full_like(eta, y), jnp.asarray(eta), 1.0)
    for k, e in enumerate(eta):
        with mp.workdps(150):
            truth = [float(t) for t in exactly(exact.density(law, phi, y, 1.0), e)]
        # eta itself is rounded, which moves log p by its slope and the slope by its curvature.
        rounding = 8 * EPS * abs(e)
        assert abs(found[0, k] - truth[0]) < 1e-12 * (1 + abs(truth[0])) + rounding * abs(truth[1])
        assert abs(found[1, k] - truth[1]) < 1e-9 * np.sqrt(abs(truth[2])) + rounding * abs(
            truth[2]
        )


@pytest.mark.parametrize("y", [0.0, 3.0, 1e9, 3e11])
def test_large_counts_of_a_negative_binomial(y):
    """The terms of its density are y log(y), their sum is not."""
    law, phi = families.get("nbinom2"), mp.mpf(0.25)
    eta = np.log(max(y, 0.5)) + np.array([-2.0, 0.0, 1.0])
    found = derivatives(law, jnp.array([0.25]), np.full_like(eta, y), jnp.asarray(eta), 1.0)
    for k, e in enumerate(eta):
        with mp.workdps(60):
            mu, size = mp.exp(mp.mpf(float(e))), mp.exp(phi)
            value = mp.loggamma(y + size) - mp.loggamma(size) - mp.loggamma(mp.mpf(y) + 1)
            value += size * mp.log(size / (mu + size)) + y * mp.log(mu / (mu + size))
            slope = (y - mu) * size / (mu + size)
        np.testing.assert_allclose(found[0, k], float(value), rtol=1e-13, atol=1e-12)
        np.testing.assert_allclose(found[1, k], float(slope), rtol=1e-12, atol=1e-12)
