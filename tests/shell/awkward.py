"""A small table, and a fit of it that is looked at from all sides.

Tests change one thing in the table: most keep its shape, so that they share compiled programs.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

import jaxglmm as jg

# 24 rows, six groups of four.
G = np.repeat(np.arange(6), 4)
X = np.tile([-1.5, -0.5, 0.5, 1.5], 6) + 0.1 * G
COUNTS = np.random.default_rng(8).poisson(np.exp(0.9 + 0.3 * X + np.sin(3 * G)))
FIXED, MIXED = "y ~ x", "y ~ x + (1 | g)"


def table(**columns: Any) -> dict[str, Any]:
    return {"x": X, "g": G, "y": COUNTS.astype(float), **columns}


def checked(formula: str, data: Any, family: str = "gaussian", **arguments: Any) -> jg.GLMM:
    """A fit whose tables all come, without NaN estimates under a converged status."""
    fit = jg.glmm(formula, data, family=family, **arguments)
    tables = fit.fixed_effects(), fit.covariance_parameters(), fit.random_effects()
    fit.vcov("conditional"), fit.random_effects(uncertainty="joint")
    assert fit.status in str(fit.summary()) or fit.converged
    assert len(fit.status_message) > 20
    if fit.converged:
        offset = arguments.get("offset")
        assert np.isfinite(fit.predict(data, offset=offset)).all()
        assert np.isfinite([fit.log_likelihood, fit.aic, fit.bic]).all()
        for one in tables:
            assert np.isfinite(one["estimate"]).all()
        assert np.isfinite(fit.fitted()).all()
        assert np.isfinite(list(fit.family_parameters.values())).all()
    return fit


def beta(fit: jg.GLMM) -> np.ndarray:
    return fit.fixed_effects()["estimate"].to_numpy()


@functools.cache
def plain() -> jg.GLMM:
    """The ordinary fit that changed data are compared with."""
    fit = checked(MIXED, table(), "poisson")
    assert fit.status == "converged"
    return fit
