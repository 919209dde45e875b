"""What a fit returns: numbers and a status code; no names."""

from __future__ import annotations

import dataclasses

import jax

from jaxglmm.arrays import AnyArray
from jaxglmm.params import Params


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Estimate:
    """The maximum of a marginal log-likelihood; a pytree, also when it did not converge.

    `params`, `u` and `log_likelihood` are differentiable in the arrays of the problem by the
    implicit function theorem; the other fields are constants to autodiff.

    Attributes:
        params: the estimates, theta as its covariance structures `rectify` it.
        log_likelihood: fully normalised; by the problem's method (`engine.log_likelihood`).
        u: mode of the spherical random effects, (latent, level) for each grouping factor.
        hessian: of the log-likelihood in (beta, theta, phi), exact; shape (param, param). Where
            beta is no parameter of it ("reml", "approximate_laplace"), the matrix whose negative
            inverse is the covariance of all of them (`marginal.inside`).
        status: code of `jaxglmm.status`.
        singular: a variance is zero or a correlation is one in size.
        limit: code of `families.base.AbstractFamily.limit`.
        iterations: steps of the outer optimiser; of pseudo-likelihood, working responses.
        passes: derivative passes of the mode finder.
        decrement: log-likelihood that the last Newton step promised.
        monte_carlo_error: standard error of the log-likelihood where its log-determinant is an
            estimate by random vectors (the iterative factorisation), else zero; on the safe side,
            as the vectors are balanced and it takes them for independent.
        flat: the log-likelihood is level along a combination of parameters: an eigenvalue of the
            negative Hessian scaled to a unit diagonal is below 1e-9.
        log_prior: log-density of the prior at the estimate, no part of `log_likelihood`; None where
            there is no prior.
        sparse: most levels of a grouping factor have all responses at one end of the law's support:
            another maximum may be higher (`ascent.sparse`); None where the law has no such end.
    """

    params: Params
    log_likelihood: AnyArray
    u: tuple[AnyArray, ...]
    hessian: AnyArray
    status: AnyArray
    singular: AnyArray
    limit: AnyArray
    iterations: AnyArray
    passes: AnyArray
    decrement: AnyArray
    flat: AnyArray
    monte_carlo_error: AnyArray
    log_prior: AnyArray | None = None
    sparse: AnyArray | None = None
