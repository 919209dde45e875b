"""Predictions: design rows for new data, then the core's linear predictor and mean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.frame import Frame
from jaxglmm.frontend.matrices import new_data
from jaxglmm.predict import linear_predictor

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM


def means(fit: GLMM, kind: str, scale: str) -> np.ndarray:
    """For the rows that were fitted."""
    _check(kind, scale)
    problem = fit.problem
    conditional = kind == "conditional"
    eta = linear_predictor(
        problem.X,
        fit.estimate.params.beta,
        problem.offset,
        Z=[g.Z for g in problem.groupings] if conditional else (),
        codes=[g.codes for g in problem.groupings] if conditional else (),
        b=fit.b if conditional else (),
    )
    return on_scale(fit, eta, scale)


def predict(
    fit: GLMM, newdata: Any, kind: str, scale: str, *, offset: Any, new_levels: str
) -> np.ndarray:
    """For new data, or the rows that were fitted when there are none."""
    _check(kind, scale)
    if new_levels not in ("population", "raise"):
        raise InputError(
            f"new_levels: '{new_levels}' is not supported yet; use 'population' or 'raise'."
        )
    if newdata is None:
        return means(fit, kind, scale)
    conditional = kind == "conditional"
    new = new_data(fit.data, Frame(newdata), offset=offset, groups=conditional)
    if conditional and new_levels == "raise":
        _refuse_new_levels(fit, new.codes)
        _refuse_new_positions(new.unseen)
    eta = linear_predictor(
        new.X,
        fit.estimate.params.beta,
        new.offset,
        Z=new.Z if conditional else (),
        codes=new.codes if conditional else (),
        b=fit.b if conditional else (),
    )
    return on_scale(fit, eta, scale)


def on_scale(fit: GLMM, eta: np.ndarray, scale: str) -> np.ndarray:
    """eta itself or its mean."""
    if scale == "link":
        return eta
    with jax.enable_x64(True):
        return np.asarray(fit.link.mean(jax.numpy.asarray(eta)))


def _refuse_new_levels(fit: GLMM, codes: tuple[np.ndarray, ...]) -> None:
    for data, code in zip(fit.data.groupings, codes, strict=True):
        rows = np.flatnonzero(code < 0)
        if len(rows):
            raise InputError(
                f"newdata: {len(rows)} rows have a level of '{data.name}' that was not fitted "
                f"(first rows: {', '.join(map(str, rows[:5]))}); drop them, or use "
                "new_levels='population' or kind='population'."
            )


def _refuse_new_positions(unseen: dict[str, np.ndarray]) -> None:
    for text, off in unseen.items():
        rows = np.flatnonzero(off)
        if len(rows):
            raise InputError(
                f"newdata: {len(rows)} rows are at positions of {text} that were not fitted "
                f"(first rows: {', '.join(map(str, rows[:5]))}); drop them, or use "
                "new_levels='population' or kind='population'."
            )


def _check(kind: str, scale: str) -> None:
    if kind not in ("conditional", "population"):
        raise InputError(f"kind: '{kind}' is not supported yet; use 'conditional' or 'population'.")
    if scale not in ("response", "link"):
        raise InputError(f"scale: '{scale}' is not known; use 'response' or 'link'.")
