"""Predictions: design rows, then the core's means, their errors and limits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import check_choice, check_level
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.prediction_limits import Errors, confidence, future, nothing
from jaxglmm.frontend.prediction_programs import marginal_means
from jaxglmm.frontend.prediction_rows import PredictedRows, fitted_rows, new_rows, weight_of

if TYPE_CHECKING:
    import pandas as pd

    from jaxglmm.frontend.result import GLMM

KINDS = ("conditional", "population", "marginal")


def means(fit: GLMM, kind: str, scale: str) -> np.ndarray:
    """For the rows that were fitted."""
    _check(fit, kind, scale)
    return _point(fit, fitted_rows(fit), kind, scale)


def predictors_of_rows(fit: GLMM, kind: str) -> list[np.ndarray]:
    """All linear predictors of the rows that were fitted, "conditional" or "population"."""
    return _predictors(fit, fitted_rows(fit), kind)


def predict(
    fit: GLMM,
    newdata: Any,
    kind: str,
    scale: str,
    *,
    interval: str | None,
    offset: Any,
    weights: Any,
    new_levels: str,
    seed: Any,
    errors: Errors,
) -> np.ndarray | pd.DataFrame:
    """For new data, or the rows that were fitted when there are none."""
    _check(fit, kind, scale)
    check_choice("new_levels", new_levels, ("population", "sample", "raise"))
    if interval is not None:
        _check_interval(fit, interval, scale, errors)
    if newdata is None:
        rows = fitted_rows(fit)
    else:
        frame = Frame(newdata)
        rows = new_rows(fit, frame, kind, offset=offset, new_levels=new_levels, seed=seed)
        if interval == "prediction":
            rows = rows._replace(weight=weight_of(fit, frame, weights)[rows.places])
    if len(rows.places) == 0 and (kind == "marginal" or interval is not None):
        return nothing(fit, rows, scale, interval)
    if interval is None:
        return rows.scatter(_point(fit, rows, kind, scale))
    find = future if interval == "prediction" else confidence
    return find(fit, rows, kind, scale, errors)


def _point(fit: GLMM, rows: PredictedRows, kind: str, scale: str) -> np.ndarray:
    """Means, or linear predictors, of complete rows."""
    if kind == "marginal":
        return np.asarray(marginal_means(fit, rows, scale).value).T
    return on_scale(fit, _predictors(fit, rows, kind), fit.estimate.params.phi, scale)


def _predictors(fit: GLMM, rows: PredictedRows, kind: str) -> list[np.ndarray]:
    beta = np.asarray(fit.estimate.params.beta)
    return rows.predictors(beta, conditional=kind == "conditional")


def on_scale(fit: GLMM, eta: list[np.ndarray], phi: Any, scale: str) -> np.ndarray:
    """The first predictor itself, or the mean response given all and the law's own parameters; for
    an ordinal response the probabilities of its categories, (obs, category)."""
    if scale == "link":
        return eta[0]
    with jax.enable_x64(True):
        predictors = tuple(map(jax.numpy.asarray, eta))
        one, own = fit.family.num_predictors == 1, jax.numpy.asarray(phi)
        return np.asarray(fit.family.response_mean(predictors[0] if one else predictors, own))


def _check(fit: GLMM, kind: str, scale: str) -> None:
    check_choice("kind", kind, KINDS)
    check_choice("scale", scale, ("response", "link"))
    if kind == "marginal" and scale == "link" and fit.data.categories:
        raise InputError(
            "scale='link': the marginal mean of an ordinal response is a probability for each "
            "category, which has no linear predictor; use scale='response'."
        )


def _check_interval(fit: GLMM, interval: str, scale: str, errors: Errors) -> None:
    check_choice("interval", interval, ("confidence", "prediction"))
    check_level(errors.level)
    check_choice("uncertainty", errors.uncertainty, ("fixed", "conditional", "joint"))
    check_choice("df", errors.df, ("none", "residual"))
    if interval != "prediction":
        return
    if fit.data.categories:
        raise InputError(
            "interval='prediction': an ordinal response is one of its categories; their "
            "probabilities (interval='confidence') are its predictive law."
        )
    if scale == "link":
        raise InputError(
            "interval='prediction' is about responses; use scale='response', or "
            "interval='confidence' for the linear predictor."
        )
    if errors.simultaneous:
        raise InputError(
            "simultaneous: limits of responses to come are for one row at a time; use "
            "interval='confidence' or simultaneous=False."
        )
