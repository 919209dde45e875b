"""Sandwich covariances of the estimates from scores or residuals of clusters."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxglmm.inference.blocks import Blocks
from jaxglmm.inference.working import Working


def sandwich(bread: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """C (sum s s') C, s the scores of clusters.

    Huber (1967); White (1982), Econometrica 50:1-25.

    Args:
        bread: C, the model's own covariance of the parameters; (param, param).
        scores: shape (cluster, param).
    """
    half = scores @ bread
    return half.T @ half


class LinearSandwich(NamedTuple):
    """Of a linear model, in the basis of its X.

    Attributes:
        covariance: shape (fixed, fixed).
        conditional: Phi.
        shares: X'U of each cluster, with U = A V^-1 X Phi; (cluster, fixed, fixed).
        spreads: U'V U of each; (cluster, fixed, fixed).
    """

    covariance: np.ndarray
    conditional: np.ndarray
    shares: np.ndarray
    spreads: np.ndarray


def of_linear_model(
    model: Working, blocks: Blocks, residuals: np.ndarray, *, unbiased: bool
) -> LinearSandwich:
    """sum U'e e'U with U = A V^-1 X Phi of each cluster, Phi = (X'V^-1 X)^-1 and V taken as known.

    A is the identity (CR0), or such that the matrix is unbiased where V is the true covariance
    (CR2): A = D'B^+1/2 D, V = D'D by Cholesky and B = D (V - X Phi X') D', all of one cluster.
    Bell & McCaffrey (2002), Survey Methodology 28:169-181; Pustejovsky & Tipton (2018), J. Bus.
    Econ. Stat. 36:672-683, whose clubSandwich this follows.

    Args:
        blocks: of rows of the model, one a cluster.
        residuals: e = y - X beta - offset of these rows; (obs,).
    """
    X, V = blocks.gather(model.X), model.covariance(blocks)
    M = np.linalg.solve(V, X)
    Phi = np.linalg.inv(np.einsum("gsp,gsq->pq", X, M))
    U = M @ Phi
    if unbiased:
        D = _transposed(np.linalg.cholesky(V))
        B = D @ (V - X @ Phi @ _transposed(X)) @ _transposed(D)
        U = _transposed(D) @ (_inverse_root(B) @ (D @ U))
    scores = np.einsum("gsp,gs->gp", U, blocks.gather(residuals))
    return LinearSandwich(scores.T @ scores, Phi, _transposed(X) @ U, _transposed(U) @ V @ U)


def _inverse_root(B: np.ndarray) -> np.ndarray:
    """B^+1/2, symmetric: zero along directions in which B is nothing."""
    values, vectors = np.linalg.eigh(0.5 * (B + _transposed(B)))
    kept = values > 1e-10 * values.max(axis=-1, keepdims=True)
    roots = np.where(kept, 1.0 / np.sqrt(np.where(kept, values, 1.0)), 0.0)
    return (vectors * roots[:, None, :]) @ _transposed(vectors)


def _transposed(A: np.ndarray) -> np.ndarray:
    return np.swapaxes(A, -2, -1)
