"""Compiled programs of predictions, in shapes of the coarse grid."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxglmm.design import Problem
from jaxglmm.frontend import programs
from jaxglmm.frontend.prediction_rows import PredictedRows, whole_prior
from jaxglmm.inference.effects import covariances
from jaxglmm.layout import bucket
from jaxglmm.predict import integral, responses
from jaxglmm.predict.integral import Means
from jaxglmm.predict.linear import Design, prior_covariances
from jaxglmm.predict.responses import Mixture
from jaxglmm.simulation import make_source

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM

_AT_ONCE = 2**22  # numbers of an array of one program: nodes times rows
_MOST_TRIALS = 255  # up to which all numbers of successes are listed


def means(fit: GLMM, eta: list[np.ndarray], scale: str) -> Means:
    """Means given their linear predictors, and their slopes."""

    def run(eta: tuple[np.ndarray, ...]) -> Means:
        return programs.run(integral.means, (eta, _phi(fit)), law=fit.family, scale=scale).outputs

    return _by_row(run, tuple(eta), 1)


def marginal_means(fit: GLMM, rows: PredictedRows, scale: str) -> Means:
    """Means over new random effects, and their slopes."""
    eta = rows.predictors(np.asarray(fit.estimate.params.beta), conditional=False)
    rule = integral.rule_of(prior(fit, rows, whole_prior(rows)))

    def run(both: Any) -> Means:
        eta, root = both
        arguments = (eta, rule._replace(root=root), _phi(fit))
        static = {"law": fit.family, "scale": scale}
        return programs.run(integral.marginal_means, arguments, **static).outputs

    return _by_row(run, (tuple(eta), rule.root), 1)


def quantiles(
    fit: GLMM, eta: list[np.ndarray], mixture: Mixture, weight: np.ndarray, p: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles (p, obs) and variances (obs,) of responses, on the scale of their means."""
    nodes: dict[str, Any] = {"law": fit.family, "num_nodes": fit.family.num_nodes}

    def run(both: Any) -> tuple[Any, Any]:
        eta, moved, weight = both
        arguments = (eta, mixture._replace(moved=moved), _phi(fit), weight)
        num_counts = _num_counts(fit, weight)
        found = programs.run(
            responses.quantiles, (*arguments, p), num_counts=num_counts, **nodes
        ).outputs
        return found, programs.run(responses.variances, arguments, **nodes).outputs

    arrays = (tuple(eta), mixture.moved, weight)
    found, variance = _by_row(run, arrays, len(mixture.weights))
    return (found / weight if fit.family.support == "binomial" else found), variance


def _num_counts(fit: GLMM, trials: np.ndarray) -> int | None:
    """How many numbers of successes there may be, a power of two; None where that is not few."""
    if fit.family.support != "binomial" or np.max(trials) > _MOST_TRIALS:
        return None
    return 1 << int(np.max(trials)).bit_length()


def random_covariances(problem: Problem, theta: Any) -> list[np.ndarray]:
    """Sigma of the random effects of a level, by factor; (column, column)."""
    source = make_source(problem, xp=np)
    with jax.enable_x64(True):
        return [np.asarray(S) for S in covariances(source, jax.numpy.asarray(theta))]


def prior(fit: GLMM, rows: PredictedRows, Z: tuple[np.ndarray, ...]) -> np.ndarray:
    """Covariances of the linear predictors over new random effects of these columns; (predictor,
    predictor, obs)."""
    Sigma = random_covariances(fit.problem, fit.estimate.params.theta)
    return prior_covariances(_with_columns(rows, Z), Sigma[: len(Z)])


def prior_slopes(fit: GLMM, rows: PredictedRows, Z: tuple[np.ndarray, ...]) -> np.ndarray:
    """Their derivatives in theta; shape (theta, predictor, predictor, obs)."""
    if not Z:
        m = rows.design.num_predictors
        return np.zeros((np.size(fit.estimate.params.theta), m, m, len(rows.places)))
    source = make_source(fit.problem, xp=np)
    with jax.enable_x64(True):
        theta = jax.numpy.asarray(fit.estimate.params.theta)
        found = jax.jacfwd(lambda t: covariances(source, t))(theta)
    slopes = [np.moveaxis(np.asarray(S), -1, 0) for S in found]
    return prior_covariances(_with_columns(rows, Z), slopes)


def _with_columns(rows: PredictedRows, Z: tuple[np.ndarray, ...]) -> Design:
    """The design with other columns of its random effects, or without any."""
    return rows.design._replace(Z=Z) if Z else rows.design.without_groups()


def _phi(fit: GLMM) -> np.ndarray:
    return np.asarray(fit.estimate.params.phi)


def _by_row(run: Callable[[Any], Any], arrays: Any, width: int) -> Any:
    """run(arrays) of arrays whose last axis are rows.

    The last row is repeated where a shape is larger; at most `_AT_ONCE` / width rows at a time.
    """
    n = jax.tree.leaves(arrays)[0].shape[-1]
    step = max(_AT_ONCE // max(width, 1), 1)
    found = []
    for first in range(0, n, step):
        size = min(step, n - first)
        index = first + np.minimum(np.arange(bucket(size)), size - 1)
        own = jax.tree.map(lambda v, index=index: np.asarray(v)[..., index], arrays)
        with jax.enable_x64(True):
            outputs = run(own)
        found.append(jax.tree.map(lambda v, size=size: np.asarray(v)[..., :size], outputs))
    return jax.tree.map(lambda *parts: np.concatenate(parts, axis=-1), *found)
