"""The unknowns of a model."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import AnyArray
from jaxglmm.rows import Rows, by_term


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
    free = rows.free[jnp.asarray(rows.outside, int)] if rows.fixed_inside else rows.free
    return jnp.concatenate([free, jnp.ones((rest,), bool)])


def natural_values(rows: Rows, theta: Array, phi: Array) -> Array:
    """On the scales that users read: of each term in turn the `parameters` of its covariance
    structure, then what the law's `natural` gives."""
    parts = [own.covariance.natural(own.theta, own.constants) for own in by_term(rows, theta)]
    return jnp.concatenate([*parts, rows.family.natural(phi)])


def log_prior(rows: Rows, params: Params) -> Array:
    """The log-density of `rows.prior`, a scalar; zero where there is none.

    Deviations of exactly zero count as next to nothing: they have no derivative there.
    """
    if rows.prior is None:
        return jnp.zeros((), rows.dtype)
    least = float(jnp.finfo(rows.dtype).tiny) ** 0.2  # whose fourth power is a normal number
    theta = jnp.where(params.theta == 0, least, params.theta)
    return rows.prior.log_density(params.beta, natural_values(rows, theta, params.phi))
