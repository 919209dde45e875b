"""The core's three verbs on a `Problem`: pure, jit-able, vmap-able, differentiable."""

from __future__ import annotations

from jax import Array

from jaxglmm.ascent import Estimate, maximise_rows, start
from jaxglmm.ascent.pseudo import eta_at
from jaxglmm.ascent.reduction import expand, reduce, reduce_params
from jaxglmm.control import Control
from jaxglmm.design import Problem
from jaxglmm.factor import choose
from jaxglmm.marginal import criterion
from jaxglmm.marginal.inside import constant, inward
from jaxglmm.marginal.pseudo import linearised, to_working
from jaxglmm.mode import mode_at, zeros
from jaxglmm.params import Params
from jaxglmm.params import log_prior as params_log_prior
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
    """The marginal log-likelihood by `problem.method`, fully normalised; a scalar.

    By Laplace's approximation it is

    sum log p(y | eta(u)) - |u|^2 / 2 - log det H(u) / 2 at the conditional mode u of the spherical
    random effects. Differentiable to any order in `params` and in the arrays of `problem`. NaN
    where the law is not defined at `params` or H is not positive definite.

    With `problem.method` "reml" it is the restricted log-likelihood, beta being integrated out with
    u under a flat prior (the criterion that lme4, nlme and glmmTMB report); with
    "approximate_laplace" beta is at its joint mode with u. Either is a function of theta and phi
    alone: the mode is sought from `params.beta`, and the derivative in it is zero. With "agq" the
    integral over u is by adaptive Gauss-Hermite quadrature about the mode (`marginal.quadrature`).
    With "mpl" and "rempl" it is that of a linear mixed model for the working response at the mode
    (`marginal.pseudo`).
    """
    rows = arrange(problem)
    if rows.by_pseudo_data:
        plain = rows.random_only
        u = mode_at(plain, choose(plain), params)
        rows = linearised(rows, eta_at(plain, params, u))
        params = to_working(problem.family, params)
    inner, begin = inward(rows, params, zeros(rows.random_only))
    return criterion.marginal(rows, choose(rows), inner, begin) + constant(rows)


def log_prior(params: Params, problem: Problem) -> Array:
    """The log-density of `problem.prior`, a scalar; zero where there is none.

    What `maximise` maximises is `log_likelihood` plus this.
    """
    return params_log_prior(arrange(problem), params)


def maximise(
    problem: Problem, control: Control = Control(), start: Params | None = None
) -> Estimate:
    """The fit by `problem.method`: the maximum of `log_likelihood` plus `log_prior` among the
    parameters that `problem.restriction` allows.

    Args:
        problem: the model and its data; any array may be a tracer.
        control: settings of the optimiser, static.
        start: parameters to start from; None for `initial_params`.

    Returns:
        An `Estimate`; failure is its `status`, never an exception. `params`, `u` and
        `log_likelihood` are differentiable in y, X, weights, trials, offset and the values at which
        parameters are held by the implicit function theorem; by pseudo-likelihood, which maximises
        no function of the parameters, they are not.
    """
    given = None if start is None else reduce_params(problem, start)
    return expand(problem, maximise_rows(arrange(reduce(problem)), control, given))
