"""Which columns of a design matrix are linear combinations of earlier ones."""

from __future__ import annotations

import numpy as np

from jaxglmm.host import by_parts

TOLERANCE = 1e-7  # as R's lm: what is left of a column, relative to its length
_CLEAR = 1e-3  # a smallest pivot above this needs no closer look


def independent_columns(X: np.ndarray) -> np.ndarray:
    """(p,) bool: False where a column of X (n, p) is zero or depends on the columns before it.

    A column x_j is dropped when the part of it outside the span of the columns kept so far is
    shorter than 1e-7 ||x_j||. The columns of R in X = Q R have the same dependencies, so only
    that p x p triangle is examined.
    """
    if smallest_pivot(X) > _CLEAR:
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


def smallest_pivot(X: np.ndarray) -> float:
    """The least share of a column's length outside the span of the columns before it.

    From the Cholesky factor of the columns' cosines: cheap, right down to 1e-7, and zero where
    that, or a column's length, cannot be told.
    """
    if X.shape[1] == 0:
        return 1.0
    grams = by_parts(lambda part: _gram(X[part]), *X.shape)
    gram = sum(grams, np.zeros((X.shape[1],) * 2))
    norms = np.sqrt(np.diagonal(gram))
    if not np.isfinite(gram).all() or not (norms > 0).all():
        return 0.0
    try:
        pivots = np.diagonal(np.linalg.cholesky(gram / np.outer(norms, norms)))
    except np.linalg.LinAlgError:
        return 0.0
    return float(pivots.min())


def _gram(X: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return X.T @ X
