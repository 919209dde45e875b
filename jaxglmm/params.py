"""The unknowns of a model."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import AnyArray
from jaxglmm.rows import Rows


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Params:
    """Unconstrained parameters, a pytree.

    Attributes:
        beta: fixed effects, in the order of the columns of X; shape (fixed,).
        theta: raw covariance parameters of all terms, one after another (see
            `jaxglmm.covariance`), on the scale of the linear predictor; shape (num_theta,).
        phi: the law's own parameters, unconstrained (see the family); shape (num_phi,).
    """

    beta: AnyArray
    theta: AnyArray
    phi: AnyArray


def flatten(params: Params) -> Array:
    """One vector psi = (beta, theta, phi)."""
    return jnp.concatenate([params.beta, params.theta, params.phi])


def unflatten(psi: Array, rows: Rows) -> Params:
    """The inverse of `flatten`."""
    p, k = rows.num_fixed, rows.num_theta
    return Params(beta=psi[:p], theta=psi[p : p + k], phi=psi[p + k :])


def free_params(rows: Rows, psi: Array) -> Array:
    """Which entries of psi are estimated: all but the coefficients of padding columns."""
    rest = psi.shape[0] - rows.num_fixed
    return jnp.concatenate([rows.free[: rows.num_fixed], jnp.ones((rest,), bool)])
