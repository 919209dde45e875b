"""Natural parameters of the covariance structures and of the law, with their Jacobian."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jaxglmm.arrays import AnyArray
from jaxglmm.families import AbstractFamily
from jaxglmm.params import Params, natural_values
from jaxglmm.rows import Rows


class Natural(NamedTuple):
    """Parameters on the scales that users read.

    Attributes:
        values: of each term in turn the `parameters` of its covariance structure, then the law's
            own parameters, thresholds first (`thresholds_among`).
        jacobian: of `values` in (theta, phi); shape (natural, num_theta + num_phi).
    """

    values: AnyArray
    jacobian: AnyArray


def natural(rows: Rows, params: Params) -> Natural:
    """Values and Jacobian; entries that are not differentiable (a zero variance) are NaN."""
    by_theta, by_phi = jax.jacfwd(natural_values, argnums=(1, 2))(rows, params.theta, params.phi)
    values = natural_values(rows, params.theta, params.phi)
    return Natural(values, jnp.concatenate([by_theta, by_phi], axis=1))


def thresholds_among(law: AbstractFamily, num_natural: int) -> slice:
    """The places of the law's thresholds among that many natural parameters."""
    last = num_natural - len(law.phi_names)
    return slice(last - law.num_thresholds, last)
