"""A user's log-density where fitting starts: finite for every row, and so its derivatives."""

from __future__ import annotations

import jax
import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.families import AbstractFamily, Custom
from jaxglmm.families.user import at_start
from jaxglmm.frontend import programs
from jaxglmm.frontend.checks import show_rows, show_values
from jaxglmm.frontend.model import ModelData
from jaxglmm.layout import bucket

_MEAN = "Give initial_mean=, a function of y whose values the link can reach."
_DENSITY = (
    "Fitting starts at the mean of initial_mean(y), {mean:.4g}{parameters}. Give support= if such "
    "responses are impossible, else initial_mean= or parameters= at which log_prob is finite."
)
_SLOPE = (
    "jnp.where does not keep the branch that it leaves out from being differentiated: put a "
    "harmless number in its place before taking a logarithm, a root or a quotient."
)


def check_density(law: AbstractFamily, data: ModelData, weights_multiply: bool) -> None:
    """Refuse a law of the user's own that is not finite where fitting would start."""
    own = law.base
    if not isinstance(own, Custom):
        return
    weights = np.ones_like(data.y) if data.weights is None else data.weights
    counts = weights > 0
    if law.support != own.support:  # zeros that another part of the model explains
        counts &= data.y != 0
    if not counts.any():
        return
    y, rows = data.y[counts], data.rows[counts]
    known = _known(own, data, weights, weights_multiply)[counts]
    # Data of a similar size share a program, as in the fit: rows of weight zero fill it up.
    filled = np.minimum(np.arange(bucket(len(y))), len(y) - 1)
    multiplier = np.where(np.arange(len(filled)) < len(y), weights[counts][filled], 0.0)
    with jax.enable_x64(True):
        run = programs.run(at_start, (y[filled], known[filled], multiplier), law=own)
    near, log_prob, smooth = (np.asarray(values)[: len(y)] for values in run.outputs)
    given = ", ".join(f"{p.name} {p.start:g}" for p in own.parameters)
    parameters = f" and parameters near {given}" if given else ""
    remedy = _DENSITY.format(mean=np.mean(near), parameters=parameters)
    for what, fine, then in (
        ("initial_mean", np.isfinite(near), _MEAN),
        ("log_prob", np.isfinite(log_prob), remedy),
        ("A derivative of log_prob", smooth, _SLOPE),
    ):
        if not fine.all():
            where, values = show_rows(rows[~fine]), show_values(y[~fine].tolist())
            raise InputError(
                f"{what} of the family '{own.name}' is not finite where fitting starts, in {where} "
                f"with response {values}. {then}"
            )


def _known(own: Custom, data: ModelData, weights: np.ndarray, weights_multiply: bool) -> np.ndarray:
    """The law's weight in every row."""
    if own.weight_role == "trials" and data.trials is not None:
        return data.trials
    if own.weight_role == "dispersion" and not weights_multiply:
        return weights
    return np.ones_like(data.y)
