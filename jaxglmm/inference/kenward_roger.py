"""Cov(beta) adjusted for small samples, and what its degrees of freedom are made of.

Kenward & Roger (1997), Biometrics 53:983-997. With V = Cov(y), V_i = dV / dpsi_i,

    Phi = (X'V^-1 X)^-1,   P_i = -X'V^-1 V_i V^-1 X,   Q_ij = X'V^-1 V_i V^-1 V_j V^-1 X,
    W^-1 = [tr(V^-1 V_i V^-1 V_j) - 2 tr(Phi Q_ij) + tr(Phi P_i Phi P_j)] / 2,
    Phi_A = Phi + 2 Phi [sum_ij W_ij (Q_ij - P_i Phi P_j)] Phi,

W^-1 being the expected information of REML. Their term in second derivatives of V is left out: it
is zero where V is linear in psi, and without it nothing here depends on how psi is chosen. For
structures that are not linear (ar1, toep, ...) this is the estimator of Harville & Jeske (1992,
J. Amer. Statist. Assoc. 87:724-731), the FIRSTORDER option of SAS.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from jaxglmm.inference.blocks import Blocks
from jaxglmm.inference.vcov import along_curved
from jaxglmm.inference.working import Working


class Adjusted(NamedTuple):
    """Phi_A, Phi, Phi P_i Phi (param, fixed, fixed) and W: the fields of `freedom.KenwardRoger`."""

    covariance: np.ndarray
    conditional: np.ndarray
    slopes: np.ndarray
    parameters: np.ndarray


def kenward_roger(model: Working, blocks: Blocks) -> Adjusted:
    """The matrices of a model whose random effects lie within the blocks."""
    X, p = blocks.gather(model.X), model.X.shape[1]
    inverse = np.linalg.inv(model.covariance(blocks))
    V = model.slopes(blocks)
    k = len(V)
    M = inverse @ X
    Phi = np.linalg.inv(_sum(X, M))
    VM = V @ M
    P = -_sum(M, VM)
    Q = _sum(VM[:, None], (inverse @ VM)[None])
    information = 0.5 * (
        _traces(inverse @ V)
        - 2.0 * np.einsum("ij,klji->kl", Phi, Q)
        + np.einsum("kij,lji->kl", Phi @ P, Phi @ P)
    )
    W = along_curved(-information)[0]
    U = np.einsum("kl,klij->ij", W, Q - P[:, None] @ Phi @ P[None]) if k else np.zeros((p, p))
    adjusted = Phi + 2.0 * Phi @ U @ Phi
    return Adjusted(0.5 * (adjusted + adjusted.T), Phi, Phi @ P @ Phi, W)


def _sum(A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """sum over blocks of A'B; (..., block, slot, fixed) to (..., fixed, fixed)."""
    size = A.shape[-3] * A.shape[-2]
    A = A.reshape(*A.shape[:-3], size, A.shape[-1])
    return np.swapaxes(A, -2, -1) @ B.reshape(*B.shape[:-3], size, B.shape[-1])


def _traces(T: np.ndarray) -> np.ndarray:
    """sum over blocks of tr(T_k T_l); (param, param)."""
    shape = (len(T), math.prod(T.shape[1:]))
    return T.reshape(shape) @ np.swapaxes(T, -2, -1).reshape(shape).T
