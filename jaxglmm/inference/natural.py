"""Natural parameters of the covariance structures and of the law, with their Jacobian."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import AnyArray
from jaxglmm.params import Params
from jaxglmm.rows import Rows, by_term


class Natural(NamedTuple):
    """Parameters on the scales that users read.

    Attributes:
        values: of each term in turn the `parameters` of its covariance structure, then the law's
            own parameters.
        jacobian: of `values` in (theta, phi); shape (natural, num_theta + num_phi).
    """

    values: AnyArray
    jacobian: AnyArray


def _values(rows: Rows, theta: Array, phi: Array) -> Array:
    parts = [own.covariance.natural(own.theta, own.constants) for own in by_term(rows, theta)]
    return jnp.concatenate([*parts, rows.family.natural(phi)])


def natural(rows: Rows, params: Params) -> Natural:
    """Values and Jacobian; entries that are not differentiable (a zero variance) are NaN."""
    by_theta, by_phi = jax.jacfwd(_values, argnums=(1, 2))(rows, params.theta, params.phi)
    values = _values(rows, params.theta, params.phi)
    return Natural(values, jnp.concatenate([by_theta, by_phi], axis=1))
