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
from jaxglmm.params import Params
from jaxglmm.rank import smallest_pivot

_NARROW = 1e-2  # sine of the angle between a column and those before it that asks for a new basis


class Basis(NamedTuple):
    """T and its inverse A over all parameters (beta, theta, phi): the identity but for beta.

    `origin` is the beta~ that the fit takes for zero.
    """

    T: np.ndarray
    A: np.ndarray
    origin: np.ndarray

    def inward(self, params: Params) -> Params:
        """Parameters of the fit from those of the caller."""
        p = params.beta.shape[0]
        beta = self.A[:p, :p] @ np.asarray(params.beta) - self.origin
        return dataclasses.replace(params, beta=beta)

    def outward(self, estimate: Estimate, *, integrated: bool = False) -> Estimate:
        """The caller's estimate from that of the fit.

        Where beta is `integrated` out under a flat prior, the volume element of its own basis is
        part of the log-likelihood: d beta = |det T| d beta~.
        """
        p = estimate.params.beta.shape[0]
        beta = self.T[:p, :p] @ (np.asarray(estimate.params.beta) + self.origin)
        params = dataclasses.replace(estimate.params, beta=beta)
        hessian = self.A.T @ np.asarray(estimate.hessian) @ self.A
        volume = np.linalg.slogdet(self.T[:p, :p])[1] if integrated else 0.0
        return dataclasses.replace(
            estimate,
            params=params,
            hessian=hessian,
            log_likelihood=estimate.log_likelihood + volume,
        )

    def covariance_inward(self, V: np.ndarray) -> np.ndarray:
        """The same matrix for the parameters of the fit; of all parameters, or beta alone."""
        A = self.A[: len(V), : len(V)]
        return A @ V @ A.T

    def covariance_outward(self, V: np.ndarray) -> np.ndarray:
        """The caller's from that of the fit; NaN for all that involve an unknown (NaN) one."""
        T = self.T[: len(V), : len(V)]
        moved = T @ np.nan_to_num(V, nan=0.0) @ T.T
        unknown = (T != 0) @ np.isnan(np.diagonal(V))
        moved[unknown, :] = moved[:, unknown] = np.nan
        return moved


def change_basis(problem: Problem) -> tuple[Problem, Basis | None]:
    """The problem in an orthogonal basis if its own is a narrow one or needs an origin."""
    X, predictors = np.asarray(problem.X), np.asarray(problem.predictors)
    blocks = [np.flatnonzero(predictors == a) for a in np.unique(predictors)]
    moves = problem.family.shifts and bool(problem.family.known)
    if not moves and all(smallest_pivot(X[:, block]) > _NARROW for block in blocks):
        return problem, None
    p, root = X.shape[1], np.sqrt(X.shape[0])
    orthogonal, R = np.empty_like(X), np.zeros((p, p))
    for block in blocks:
        Q, R[np.ix_(block, block)] = np.linalg.qr(X[:, block])
        orthogonal[:, block] = root * Q
    rest = np.eye(_num_others(problem))
    A = np.block([[R / root, np.zeros((p, len(rest)))], [np.zeros((len(rest), p)), rest]])
    moved, origin = problem.replace(X=orthogonal), np.zeros(p)
    if moves:
        apart = np.asarray(problem.y) - np.asarray(problem.offset)
        origin = orthogonal.T @ apart / X.shape[0]
        moved = moved.replace(y=apart - orthogonal @ origin, offset=np.zeros_like(apart))
    return moved, Basis(np.linalg.inv(A), A, origin)


def _num_others(problem: Problem) -> int:
    terms = (term for grouping in problem.groupings for term in grouping.terms)
    return sum(term.covariance.num_theta for term in terms) + problem.family.num_phi
