"""Linear predictors and means for given design rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def linear_predictor(
    X: np.ndarray,
    beta: np.ndarray,
    offset: np.ndarray | None,
    Z: Sequence[np.ndarray] = (),
    codes: Sequence[np.ndarray] = (),
    b: Sequence[np.ndarray] = (),
) -> np.ndarray:
    """X beta + offset + sum over factors of Z b[level]; shape (obs,).

    Args:
        X: fixed-effects columns; shape (obs, fixed).
        beta: coefficients; shape (fixed,).
        offset: shape (obs,), or None for zero.
        Z: random-effects columns of each grouping factor; shape (obs, column).
        codes: level of each row in each factor, -1 for a level without estimate (its effects are
            zero, their mean); shape (obs,).
        b: random effects of each factor; shape (column, level).
    """
    eta = X @ beta
    if offset is not None:
        eta = eta + offset
    for columns, code, effects in zip(Z, codes, b, strict=True):
        known = code >= 0
        found = effects.T[np.where(known, code, 0)]
        eta = eta + np.where(known, np.sum(columns * found, axis=1), 0.0)
    return eta
