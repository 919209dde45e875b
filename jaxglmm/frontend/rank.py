"""Which columns of a design matrix are linear combinations of earlier ones."""

from __future__ import annotations

import numpy as np

TOLERANCE = 1e-7  # as R's lm: what is left of a column, relative to its length
_CLEAR = 1e-3  # a smallest pivot above this needs no closer look


def independent_columns(X: np.ndarray) -> np.ndarray:
    """(p,) bool: False where a column of X (n, p) is zero or depends on the columns before it.

    A column x_j is dropped when the part of it outside the span of the columns kept so far is
    shorter than 1e-7 ||x_j||. The columns of R in X = Q R have the same dependencies, so only
    that p x p triangle is examined.
    """
    if X.shape[1] == 0 or _clearly_independent(X):
        return np.ones(X.shape[1], bool)
    largest = np.abs(X).max(axis=0, initial=0.0)
    scaled = X / np.where(largest > 0, largest, 1.0)
    norms = np.sqrt(np.einsum("ij,ij->j", scaled, scaled))
    unit = scaled / np.where(norms > 0, norms, 1.0)
    triangle = np.asarray(np.linalg.qr(unit, mode="r"))
    basis = np.empty((triangle.shape[0], 0))
    kept = np.zeros(X.shape[1], bool)
    for j, column in enumerate(triangle.T):
        for _ in range(2):  # twice is enough (Kahan)
            column = column - basis @ (basis.T @ column)
        length = np.linalg.norm(column)
        if length > TOLERANCE:
            kept[j] = True
            basis = np.column_stack([basis, column / length])
    return kept


def _clearly_independent(X: np.ndarray) -> bool:
    """A cheap sufficient test: the pivots of the Cholesky factor of the columns' cosines."""
    with np.errstate(over="ignore", invalid="ignore"):
        gram = X.T @ X
    norms = np.sqrt(np.diagonal(gram))
    if not np.isfinite(gram).all() or not (norms > 0).all():
        return False
    try:
        pivots = np.diagonal(np.linalg.cholesky(gram / np.outer(norms, norms)))
    except np.linalg.LinAlgError:
        return False
    return bool(pivots.min() > _CLEAR)
