"""What a fit says of each row: residuals and hat values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend import programs
from jaxglmm.frontend.checks import check_choice, check_seed
from jaxglmm.frontend.prediction import predictors_of_rows
from jaxglmm.inference import residuals as core
from jaxglmm.predictor import factors_of_groups
from jaxglmm.rows import divides_dispersion
from jaxglmm.simulation import draw_key, make_source

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM

TYPES = ("raw", "pearson", "deviance", "quantile")


def residuals(fit: GLMM, type: str, conditional: bool, seed: int) -> np.ndarray:
    """For the rows used, in their order."""
    check_choice("type", type, TYPES)
    check_seed(seed)
    law, problem = fit.family, fit.problem
    if law.support == "ordinal" and type in ("raw", "pearson"):
        raise InputError(
            f"type={type!r}: a category is no number and has no mean. Use 'deviance' or 'quantile'."
        )
    eta = predictors_of_rows(fit, "conditional" if conditional else "population")
    of_rows: Any = tuple(eta) if len(eta) > 1 else eta[0]
    y = np.asarray(problem.y, float)
    weight = np.array(make_source(problem, xp=np).weight, float)
    phi = np.asarray(fit.estimate.params.phi, float)
    given: tuple[Any, ...] = (y, of_rows, phi, weight)
    if type in ("pearson", "deviance"):
        given += (_multiplier(fit),)
    if type == "quantile":
        sd = np.zeros(()) if conditional else _spread(fit)
        with jax.enable_x64(True):
            v = np.asarray(jax.random.uniform(draw_key(seed, 0), y.shape, y.dtype))
        given += (sd, v)
    with jax.enable_x64(True):
        run = programs.run(getattr(core, type), given, num_nodes=law.num_nodes, law=law)
        return np.array(run.outputs)


def _multiplier(fit: GLMM) -> np.ndarray:
    """What the log-density of each row is multiplied by."""
    weights = np.broadcast_to(fit.problem.weights, fit.problem.y.shape).astype(float)
    return (weights > 0).astype(float) if divides_dispersion(fit.problem) else weights


def _spread(fit: GLMM) -> np.ndarray:
    """Standard deviation of Z b in every row."""
    problem = fit.problem
    feeds = {a for g in problem.groupings for term in g.terms for a in term.predictors}
    if feeds - {0}:
        raise InputError(
            "conditional=False: quantile residuals of a model with random effects in the "
            "dispersion or the zeros are not supported. Use conditional=True."
        )
    with jax.enable_x64(True):
        theta = jax.numpy.asarray(fit.estimate.params.theta)
        factors = factors_of_groups(make_source(problem, xp=np), theta)
    variance = np.zeros(problem.num_obs)
    for grouping, factor in zip(problem.groupings, factors, strict=True):
        variance = variance + np.sum((np.asarray(grouping.Z) @ np.asarray(factor)) ** 2, axis=1)
    return np.sqrt(variance)


def hat_values(fit: GLMM) -> np.ndarray:
    """For the rows used, in their order."""
    from jaxglmm.frontend.many.design import make_design
    from jaxglmm.inference import leverage

    if fit.family.support == "ordinal":
        raise InputError("hat_values: a category is no number; its fitted value has no leverage.")
    design = make_design(fit.problem)
    with jax.enable_x64(True):
        arguments = (design.rows, *design.at(fit.estimate))
        nodes = fit.family.num_nodes
        values = np.asarray(programs.run(leverage.hat_values, arguments, num_nodes=nodes).outputs)
    return design.by_row(values)
