"""The core's three verbs on a `Problem`: pure, jit-able, vmap-able, differentiable."""

from __future__ import annotations

from jax import Array

from jaxglmm.ascent import Estimate, maximise_rows, start
from jaxglmm.control import Control
from jaxglmm.design import Problem
from jaxglmm.factor import choose
from jaxglmm.likelihood import log_base
from jaxglmm.marginal import laplace
from jaxglmm.params import Params
from jaxglmm.rows import arrange


def initial_params(problem: Problem) -> Params:
    """Starting values from closed forms: least squares and moments.

    Args:
        problem: the model and its data.

    Returns:
        Unconstrained parameters: beta (fixed,), theta (num_theta,), phi (num_phi,).
    """
    return start(arrange(problem)).params


def log_likelihood(params: Params, problem: Problem) -> Array:
    """The marginal log-likelihood by Laplace's approximation, fully normalised; a scalar.

    sum log p(y | eta(u)) - |u|^2 / 2 - log det H(u) / 2 at the conditional mode u of the spherical
    random effects. Differentiable to any order in `params` and in the arrays of `problem`. NaN
    where the law is not defined at `params` or H is not positive definite.
    """
    rows = arrange(problem)
    return laplace.marginal(rows, choose(rows), params) + log_base(rows)


def maximise(
    problem: Problem, control: Control = Control(), start: Params | None = None
) -> Estimate:
    """The maximum-likelihood fit.

    Args:
        problem: the model and its data; any array may be a tracer.
        control: settings of the optimiser, static.
        start: parameters to start from; None for `initial_params`.

    Returns:
        An `Estimate`; failure is its `status`, never an exception. `params`, `u` and
        `log_likelihood` are differentiable in y, X, weights, trials and offset by the implicit
        function theorem.
    """
    return maximise_rows(arrange(problem), control, start)
