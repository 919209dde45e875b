"""Covariances of the estimates that allow for any dependence of rows within clusters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import jax
import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend import fitting, programs
from jaxglmm.frontend.by_cluster import by_cluster, check_size, clusters_of
from jaxglmm.frontend.checks import check_choice
from jaxglmm.frontend.working import is_linear, working_model
from jaxglmm.inference import vcov
from jaxglmm.inference.basis import Basis
from jaxglmm.inference.blocks import blocks_of
from jaxglmm.inference.freedom import ClusterRobust
from jaxglmm.inference.sandwich import of_linear_model, sandwich
from jaxglmm.inference.scores import cluster_scores

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM

Kind: TypeAlias = str | Mapping[str, Any]
TYPES = ("CR0", "CR1", "CR2")


class _Asked(NamedTuple):
    """A kind of robust covariance: its type, the rows that count and the cluster of each."""

    type: str
    rows: np.ndarray
    cluster: np.ndarray

    @property
    def factor(self) -> float:
        """What multiplies the sandwich."""
        number = int(self.cluster.max()) + 1
        return number / (number - 1.0) if self.type == "CR1" else 1.0


def robust(fit: GLMM, kind: Kind) -> np.ndarray:
    """The sandwich covariance of all parameters; where the scores of a method say nothing of
    (theta, phi), NaN but for the fixed effects.

    Args:
        kind: "robust", or {"cluster": a grouping factor, column or array, "type": one of `TYPES`}.
    """
    if is_linear(fit.family):
        return of_fixed_alone(fit, robust_freedom(fit, kind).covariance)
    asked = _asked(fit, kind)
    if fit.method not in ("laplace", "reml"):
        raise InputError(
            f"vcov: robust covariances are not defined for method='{fit.method}', whose scores are "
            "not Laplace's; use method='laplace' or 'reml', or vcov='joint'."
        )
    if asked.type == "CR2":
        raise InputError(
            "vcov: 'CR2' is defined for family 'gaussian' with the identity link; use 'CR1'."
        )
    return asked.factor * _from_scores(fit, asked.cluster, asked.rows)


def robust_freedom(fit: GLMM, kind: Kind) -> ClusterRobust:
    """The sandwich of the fixed effects of a linear model, with its degrees of freedom."""
    if not is_linear(fit.family):
        raise InputError(
            f"df: 'satterthwaite' with vcov={kind!r} is defined for family 'gaussian' with the "
            "identity link; use df='none' or 'residual'."
        )
    asked = _asked(fit, kind)
    seen = working_model(fit.problem, fit.estimate)
    assert seen is not None and len(seen.rows) == len(asked.rows)
    blocks = blocks_of(asked.cluster)
    number, p = len(blocks.index), seen.model.X.shape[1]
    check_size(number * (4 * blocks.size**2 + 2 * p**2))
    fixed = fit.problem.X @ np.asarray(fit.estimate.params.beta)
    residuals = np.asarray(fit.problem.y) - np.asarray(fit.problem.offset) - fixed
    unbiased = asked.type == "CR2"
    found = of_linear_model(seen.model, blocks, residuals[asked.rows], unbiased=unbiased)
    inward = _inward(fit, seen.basis)
    return ClusterRobust(
        asked.factor * fitting.beta_outward(fit.problem, seen.basis, found.covariance),
        found.conditional,
        found.shares @ inward,
        inward.T @ found.spreads @ inward,
    )


def _inward(fit: GLMM, basis: Basis | None) -> np.ndarray:
    """What makes a contrast of the caller's fixed effects one of those of the working model."""
    restriction = fit.problem.restriction
    free = np.eye(len(fit.labels.fixed)) if restriction is None else restriction.beta.matrix.T
    return free if basis is None else basis.T.T @ free


def _asked(fit: GLMM, kind: Kind) -> _Asked:
    given = {} if isinstance(kind, str) else dict(kind)
    unknown = sorted(set(given) - {"cluster", "type"})
    if unknown or (not isinstance(kind, str) and "cluster" not in given):
        raise InputError(
            f"vcov: {kind!r} is not known; write {{'cluster': 'g'}} or {{'cluster': 'g', "
            "'type': 'CR2'}."
        )
    type = given.get("type", "CR0")
    check_choice("vcov['type']", type, TYPES)
    if fit.problem.prior is not None:
        raise InputError("vcov: a fit with priors has no robust covariance; use 'joint'.")
    rows = np.flatnonzero(fit.counted)
    cluster = clusters_of(fit, given.get("cluster"), rows)
    if not np.any(cluster):
        raise InputError(
            "vcov: all rows are one cluster, or random effects link them: there is nothing to "
            "learn from clusters. Use 'joint', or {'cluster': ...} with several."
        )
    return _Asked(type, rows, cluster)


def of_fixed_alone(fit: GLMM, matrix: np.ndarray) -> np.ndarray:
    """In a matrix of all parameters, NaN for the others."""
    whole = np.full_like(fit.joint_covariance, np.nan)
    whole[: len(matrix), : len(matrix)] = matrix
    return whole


def _from_scores(fit: GLMM, cluster: np.ndarray, rows: np.ndarray) -> np.ndarray:
    params = fit.estimate.params
    psi = np.concatenate([np.asarray(v) for v in (params.beta, params.theta, params.phi)])
    clusters = by_cluster(fit, cluster, rows)
    with jax.enable_x64(True):
        arguments = (clusters, psi)
        run = programs.run(cluster_scores, arguments, num_nodes=fit.family.num_nodes)
    scores = np.asarray(run.outputs)
    if fit.method == "reml":
        p, bread = len(fit.labels.fixed), fitting.conditional_vcov(fit.problem, fit.estimate)
        return of_fixed_alone(fit, sandwich(bread, scores[:, :p]))
    bread = fit.joint_covariance
    unknown = np.isnan(np.diagonal(bread))
    return vcov.without(sandwich(np.nan_to_num(bread, nan=0.0), scores), unknown)
