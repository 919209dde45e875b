"""Natural parameters: standard deviations, correlations and the law's own, with their Jacobian."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.arrays import AnyArray
from jaxglmm.params import Params
from jaxglmm.rows import Rows


class Natural(NamedTuple):
    """Parameters on the scales that users read.

    Attributes:
        values: of each term in turn its standard deviations, then its correlations (pairs (1, 0),
            (2, 0), (2, 1), ...; none where the structure has none), then the law's parameters.
        jacobian: of `values` in (theta, phi); shape (natural, num_theta + num_phi).
    """

    values: AnyArray
    jacobian: AnyArray


def _values(rows: Rows, theta: Array, phi: Array) -> Array:
    parts, first = [], 0
    for grouping in rows.groupings:
        for term in grouping.terms:
            last = first + term.covariance.num_theta
            parts.append(term.covariance.sd(theta[first:last]))
            if term.covariance.has_correlations:
                parts.append(term.covariance.correlations(theta[first:last]))
            first = last
    return jnp.concatenate([*parts, rows.family.natural(phi)])


def natural(rows: Rows, params: Params) -> Natural:
    """Values and Jacobian; entries that are not differentiable (a zero variance) are NaN."""
    by_theta, by_phi = jax.jacfwd(_values, argnums=(1, 2))(rows, params.theta, params.phi)
    values = _values(rows, params.theta, params.phi)
    return Natural(values, jnp.concatenate([by_theta, by_phi], axis=1))
