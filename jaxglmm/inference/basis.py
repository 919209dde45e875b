"""A basis of the fixed effects that does not mind where predictors have their origin.

A predictor far from zero (a year, a time stamp) is nearly a multiple of the intercept. With
X = Q R by linear predictor, the columns of sqrt(n) Q span the same models without that: the fit
runs on them, and

    beta = T beta~,    H = A' H~ A,    V = T V~ T',    A = R / sqrt(n) = T^-1.

Where y and eta count by their difference alone and the residual variance is next to nothing, the
fit starts from the least squares fit too, beta = T (beta~ + origin): at a residual of 1e-4 the
rounding errors of eta are those of the score times 1e8, and eta itself is best small.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from jaxglmm.ascent import Estimate
from jaxglmm.design import Problem
from jaxglmm.inference.vcov import without
from jaxglmm.params import Params
from jaxglmm.rank import smallest_pivot

_NARROW = 1e-2  # sine of the angle between a column and those before it that asks for a new basis


class Basis(NamedTuple):
    """T and its inverse A over beta; over the other parameters both are the identity.

    `origin` is the beta~ that the fit takes for zero. Many models that have a basis each have them
    along a first axis.
    """

    T: np.ndarray
    A: np.ndarray
    origin: np.ndarray

    def inward(self, params: Params) -> Params:
        """Parameters of the fit from those of the caller."""
        beta = self.A @ np.asarray(params.beta) - self.origin
        return dataclasses.replace(params, beta=beta)

    def outward(self, estimate: Estimate, *, integrated: tuple[int, ...] = ()) -> Estimate:
        """The caller's estimate from that of the fit; or those of many models, along first axes.

        The volume element of the coefficients that are `integrated` out under a flat prior is
        part of the log-likelihood: d beta = |det T| d beta~.
        """
        beta = (self.T @ (np.asarray(estimate.params.beta) + self.origin)[..., None])[..., 0]
        params = dataclasses.replace(estimate.params, beta=beta)
        A = _over_all(self.A, estimate.hessian.shape[-1])
        hessian = np.swapaxes(A, -2, -1) @ np.asarray(estimate.hessian) @ A
        inside = np.asarray(integrated, int)
        volume = np.linalg.slogdet(self.T[..., inside[:, None], inside])[1]
        return dataclasses.replace(
            estimate,
            params=params,
            hessian=hessian,
            log_likelihood=estimate.log_likelihood + volume,
        )

    def hessian_inward(self, hessian: np.ndarray) -> np.ndarray:
        """Of the fit's parameters from that in the caller's."""
        T = _over_all(self.T, len(hessian))
        return T.T @ hessian @ T

    def covariance_outward(self, V: np.ndarray) -> np.ndarray:
        """The caller's from that of the fit; NaN for all that involve an unknown (NaN) one.

        Shape (..., param, param): of many models one by one.
        """
        T = _over_all(self.T, V.shape[-1])
        moved = T @ np.nan_to_num(V, nan=0.0) @ np.swapaxes(T, -2, -1)
        unknown = np.isnan(np.diagonal(V, axis1=-2, axis2=-1))
        return without(moved, ((T != 0) @ unknown[..., None])[..., 0])


def change_basis(problem: Problem) -> tuple[Problem, Basis | None]:
    """The problem in an orthogonal basis if its own is a narrow one or needs an origin."""
    X, predictors = np.asarray(problem.X), np.asarray(problem.predictors)
    blocks = [np.flatnonzero(predictors == a) for a in np.unique(predictors)]
    moves = problem.family.shifts and bool(problem.family.known)
    if not moves and all(smallest_pivot(_columns(X, block)) > _NARROW for block in blocks):
        return problem, None
    p, root = X.shape[1], np.sqrt(X.shape[0])
    orthogonal, R = np.empty_like(X), np.zeros((p, p))
    for block in blocks:
        Q, R[np.ix_(block, block)] = np.linalg.qr(X[:, block])
        orthogonal[:, block] = root * Q
    A = R / root
    moved, origin = problem.replace(X=orthogonal), np.zeros(p)
    if moves:
        apart = np.asarray(problem.y) - np.asarray(problem.offset)
        origin = orthogonal.T @ apart / X.shape[0]
        moved = moved.replace(y=apart - orthogonal @ origin, offset=np.zeros_like(apart))
    T = np.linalg.inv(A)
    if problem.prior is not None:
        moved = moved.replace(prior=problem.prior.through(T, T @ origin))
    return moved, Basis(T, A, origin)


def _columns(X: np.ndarray, block: np.ndarray) -> np.ndarray:
    return X if len(block) == X.shape[1] else X[:, block]


def _over_all(matrix: np.ndarray, size: int) -> np.ndarray:
    """The matrix over beta in one of so many parameters."""
    p = matrix.shape[-1]
    whole = np.zeros((*matrix.shape[:-2], size, size)) + np.eye(size)
    whole[..., :p, :p] = matrix
    return whole
