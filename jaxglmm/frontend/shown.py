"""Unconstrained parameters as the tables show them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from jaxglmm.design import Problem
from jaxglmm.frontend.model import ModelData
from jaxglmm.frontend.parameters import parameter_names
from jaxglmm.params import Params
from jaxglmm.rows import by_term
from jaxglmm.simulation import make_source


def shown_values(params: Params, problem: Problem, data: ModelData) -> dict[str, float]:
    """The value of every parameter by its name, in the order of the tables.

    The inverse of `values.params_by_name` but for rounding.
    """
    source = make_source(problem, xp=np)
    with jax.enable_x64(True):
        terms = [
            np.asarray(own.covariance.natural(own.theta, own.constants))
            for own in by_term(source, jnp.asarray(params.theta))
        ]
        of_law = np.asarray(problem.family.natural(jnp.asarray(params.phi)))
    thresholds, rest = np.split(of_law, [problem.family.num_thresholds])
    values = np.concatenate([np.asarray(params.beta), thresholds, *terms, rest])
    return dict(zip(parameter_names(data, problem), values.tolist(), strict=True))
