"""Fixed effects among the inner variables: from parameters to effects and back, and what they mean.

Callers know beta as a parameter whatever the method. The criterion of "reml" and
"approximate_laplace" is a function of psi = (theta, phi) alone, and of the coefficients of further
predictors where the law has such (`Rows.outside`), with beta(psi) the mode beside u.
A Hessian in all parameters (beta, psi) that stands for both is

    -[[S, -S J], [-J'S, N + J'S J]],

with S the inverse covariance of beta given psi, J = d beta / d psi and N the negative Hessian in
psi. The inverse of its negative has the blocks S^-1 + J N^-1 J', J N^-1 and N^-1: the uncertainty
of beta given psi and what that of psi adds (Kass & Steffey 1989, eq. 3.1, as TMB's sdreport).
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.factor import AbstractFactor, BorderedFactor
from jaxglmm.likelihood import log_base
from jaxglmm.marginal import laplace
from jaxglmm.marginal.hessian import Curved
from jaxglmm.params import Params
from jaxglmm.predictor import Effects
from jaxglmm.rows import Rows


def inward(rows: Rows, params: Params, u: Effects) -> tuple[Params, Effects]:
    """The beta inside moves to where `rows` have it: to the end of the effects, or nowhere."""
    if not rows.fixed_inside:
        return params, u
    beta, (inside, outside) = jnp.asarray(params.beta, rows.dtype), _columns(rows)
    return dataclasses.replace(params, beta=beta[outside]), (*u, beta[inside, None])


def outward(rows: Rows, params: Params, u: Effects) -> tuple[Params, Effects]:
    """The inverse of `inward`."""
    if not rows.fixed_inside:
        return params, u
    beta = jnp.concatenate([u[-1][:, 0], params.beta])
    order = np.argsort(np.concatenate(_columns(rows)))
    return dataclasses.replace(params, beta=beta[order]), u[:-1]


def places(rows: Rows, size: int) -> np.ndarray:
    """Where the `size` entries of psi stand among all parameters (beta, theta, phi)."""
    num_fixed = rows.X.shape[0]
    others = num_fixed + np.arange(size - rows.num_fixed)
    return np.concatenate([_columns(rows)[1], others])


def _columns(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    return np.asarray(rows.inside, int), np.asarray(rows.outside, int)


def constant(rows: Rows) -> Array:
    """What the log-likelihood has beside `laplace.log_likelihood`.

    The data's constant, and (2 pi)^(p/2) for the p coefficients integrated out under a flat prior.
    """
    base = log_base(rows)
    if rows.fixed_inside and rows.method == "reml":
        return base + 0.5 * jnp.log(2.0 * jnp.pi) * jnp.sum(rows.free[_columns(rows)[0]])
    return base


def joint_hessian(
    rows: Rows, factor: AbstractFactor, params: Params, u: Effects, curved: Curved
) -> Array:
    """The Hessian in (beta, theta, phi) from that in psi at a mode (u, beta)."""
    if not isinstance(factor, BorderedFactor):
        return curved.hessian
    lower = factor.factorise(laplace.hessian_in_u(rows, factor, params, u)).schur
    S, J = lower @ lower.T, curved.du[-1][:, :, 0].T
    SJ = S @ J
    whole = jnp.block([[-S, SJ], [SJ.T, curved.hessian - J.T @ SJ]])
    order = np.argsort(np.concatenate([_columns(rows)[0], places(rows, J.shape[1])]))
    return whole[np.ix_(order, order)]
