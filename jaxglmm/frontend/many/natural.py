"""A fit in the parameters that are profiled: unstructured covariances in deviations and angles.

In the raw triangle a standard deviation is the length of a row: near zero the points of one value
lie on a small circle, which steps along straight lines leave at once.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from jaxglmm.ascent import Estimate
from jaxglmm.covariance import AbstractCovariance
from jaxglmm.covariance.spherical import Spherical
from jaxglmm.design import Problem
from jaxglmm.frontend.held import terms_of, with_terms

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM

_ANGLE = 0.5  # unit of a step in an angle, at most


def by_parameter(fit: GLMM) -> tuple[Problem, Estimate]:
    """The problem and its estimate with such structures; as they are where theta is restricted, or
    there is none to change."""
    problem, estimate = fit.problem, fit.estimate
    restriction = problem.restriction
    if restriction is not None and not restriction.theta.trivial:
        return problem, estimate
    old = terms_of(problem)
    new = [_moved(term) for term in old]
    if new == old:
        return problem, estimate
    theta, slope, start = [np.zeros(0)], [], 0
    for own, other in zip(old, new, strict=True):
        values = np.asarray(estimate.params.theta[start : start + own.num_theta], float)
        start += own.num_theta
        if isinstance(other, Spherical) and other is not own:
            values, matrix = _in_angles(other, own, values)
        else:
            matrix = np.eye(own.num_theta)
        theta.append(values)
        slope.append(matrix)
    J = _beside(len(estimate.hessian), slope, problem)
    params = dataclasses.replace(estimate.params, theta=np.concatenate(theta))
    hessian = J.T @ np.asarray(estimate.hessian) @ J
    return with_terms(problem, new), dataclasses.replace(estimate, params=params, hessian=hessian)


def least_information(problem: Problem, theta: np.ndarray) -> np.ndarray:
    """What is added to the information on theta, so that no unit of a step is longer than the
    largest of the roots of a term's deviations, or than `_ANGLE`; (num_theta,)."""
    parts, start = [np.zeros(0)], 0
    for term in terms_of(problem):
        own = np.zeros(term.num_theta)
        if term.roots:
            roots = np.abs(theta[start : start + term.dim])
            own[: term.dim] = 1.0 / max(float(roots.max()), 1e-3) ** 2
            own[term.dim :] = _ANGLE**-2
        parts.append(own)
        start += term.num_theta
    return np.concatenate(parts)


def _moved(term: AbstractCovariance) -> AbstractCovariance:
    return term.by_parameter if term.dim > 1 else term


def _in_angles(
    new: Spherical, old: AbstractCovariance, theta: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The parameters, and the Jacobian of the others in these; both have the triangle of L, row by
    row."""
    rows, columns = np.tril_indices(old.dim)
    with jax.enable_x64(True):
        values = new.theta_of_factor(np.asarray(old.factor(jnp.asarray(theta), ())))

        def triangle(at: jax.Array) -> jax.Array:
            return new.factor(at, ())[rows, columns]

        return values, np.asarray(jax.jacfwd(triangle)(jnp.asarray(values)))


def _beside(num_params: int, slope: list[np.ndarray], problem: Problem) -> np.ndarray:
    """The Jacobian of all free parameters."""
    J, of = np.eye(num_params), problem.restriction
    phi = problem.family.num_phi if of is None else of.phi.num_free
    start = num_params - phi - sum(len(part) for part in slope)
    for part in slope:
        J[start : start + len(part), start : start + len(part)] = part
        start += len(part)
    return J
