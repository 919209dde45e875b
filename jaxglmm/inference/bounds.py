"""Which natural parameters lie at a bound."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from jaxglmm.ascent.scales import judged, term_scales
from jaxglmm.params import Params
from jaxglmm.predictor import Effects
from jaxglmm.rows import Rows, by_term


def at_bound(rows: Rows, params: Params, u: Effects) -> Array:
    """For each covariance parameter of `natural`, in its order, whether it is at a bound.

    A deviation that is nothing beside the error of a level's own estimate, a correlation of one in
    size or at the lower bound of its structure, a range beyond all distances. A structure can be
    singular without any (three columns of which one is a combination of the others).
    The law's own parameters are not among them, nor is any that is held.
    """
    scales = term_scales(rows, params, u)
    pairs = zip(by_term(rows, judged(rows, params.theta, scales)), scales, strict=True)
    found = [own.covariance.at_bound(own.theta, own.constants, s) for own, s in pairs]
    return jnp.concatenate([jnp.zeros((0,), bool), *found])
