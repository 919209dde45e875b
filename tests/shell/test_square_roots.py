"""Square roots of means: the search for the mode begins on the side of the responses.

A predictor of either sign has the same mean, and at zero no count above it is possible: Newton's
steps stay on the side where they begin, and the effects of a level that begin at zero may be on the
wrong one for some of its rows.
"""

from __future__ import annotations

import functools

import jax
import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg

TRUTH = {"beta": [1.3, 0.5], "theta": [0.5, 0.0, 0.3], "phi": []}


@functools.cache
def drawn() -> tuple[pd.DataFrame, np.ndarray]:
    """Counts in twelve groups of ten rows, whose roots seldom change their sign."""
    rng = np.random.default_rng(3)
    g, x = np.repeat(np.arange(12), 10), rng.normal(size=120)
    b = rng.normal(size=(2, 200, 12))
    eta = 1.3 + 0.5 * x + 0.5 * b[0][:, g] + 0.3 * b[1][:, g] * x
    return pd.DataFrame({"x": x, "g": g}), rng.poisson(eta**2).astype(float)


def fit(model: int, **arguments: object) -> jg.GLMM:
    data, Y = drawn()
    data = data.assign(y=Y[model])
    return jg.glmm("y ~ x + (1 + x | g)", data, "poisson", link="sqrt", **arguments)


@pytest.mark.parametrize("model", [1, 3, 11, 18, 19, 70])
def test_as_high_as_from_the_truth(model: int) -> None:
    """From effects of zero these ended 2 to 64 lower."""
    found = fit(model)
    assert found.log_likelihood > fit(model, start=TRUTH).log_likelihood - 1e-6
    with jax.enable_x64(True):
        value = jg.log_likelihood(found.solution.estimate.params, found.problem)
    assert float(value) == pytest.approx(found.log_likelihood, abs=1e-7)
