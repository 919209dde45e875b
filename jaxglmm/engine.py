"""The core's three verbs on a `Problem`: pure, jit-able, vmap-able, differentiable."""

from __future__ import annotations

from jax import Array

from jaxglmm.ascent import Estimate, maximise_rows, start
from jaxglmm.control import Control
from jaxglmm.design import Problem
from jaxglmm.factor import choose
from jaxglmm.marginal import laplace
from jaxglmm.marginal.inside import constant, inward
from jaxglmm.mode import zeros
from jaxglmm.params import Params
from jaxglmm.rows import arrange


def initial_params(problem: Problem) -> Params:
    """Starting values from closed forms: least squares and moments; whatever the method.

    Args:
        problem: the model and its data.

    Returns:
        Unconstrained parameters: beta (fixed,), theta (num_theta,), phi (num_phi,).
    """
    return start(arrange(problem).random_only).params


def log_likelihood(params: Params, problem: Problem) -> Array:
    """The marginal log-likelihood by Laplace's approximation, fully normalised; a scalar.

    sum log p(y | eta(u)) - |u|^2 / 2 - log det H(u) / 2 at the conditional mode u of the spherical
    random effects. Differentiable to any order in `params` and in the arrays of `problem`. NaN
    where the law is not defined at `params` or H is not positive definite.

    With `problem.method` "reml" it is the restricted log-likelihood, beta being integrated out with
    u under a flat prior (the criterion that lme4, nlme and glmmTMB report); with
    "approximate_laplace" beta is at its joint mode with u. Either is a function of theta and phi
    alone: the mode is sought from `params.beta`, and the derivative in it is zero.
    """
    rows = arrange(problem)
    inner, begin = inward(rows, params, zeros(rows.random_only))
    return laplace.marginal(rows, choose(rows), inner, begin) + constant(rows)


def maximise(
    problem: Problem, control: Control = Control(), start: Params | None = None
) -> Estimate:
    """The fit by `problem.method`: the maximum of `log_likelihood`.

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
