"""Random effects of which zeros and ones (or categories) tell nothing.

With one such response a level, of a single trial, P(y = 1) = E F(x' beta + sigma z) over a standard
normal z: one more curve of F's kind. With the probit link it is F(x' beta / sqrt(1 + sigma^2))
exactly, so that sigma is a scale of beta (and of the thresholds, and of all other random effects);
with others nearly so: the logistic curve nearest to E F(x + sigma z) is within 0.01 of it for any
sigma. Laplace's approximation, which is rough there, has maxima all the same.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array

from jaxglmm.families import AbstractFamily
from jaxglmm.predictor import reduce
from jaxglmm.rows import Rows


def can_be_alone(family: AbstractFamily) -> bool:
    """Whether it is of numbers of successes or categories, with no zeros of their own."""
    return family.support in ("binomial", "ordinal") and "zi" not in family.components


def is_alone(rows: Rows) -> Array:
    """Whether no level of some factor has more than one response, of one trial; of a law that
    `can_be_alone`. What is held or has a prior is told by that."""
    if rows.prior is not None or rows.restriction is not None:
        return jnp.asarray(False)
    responses = rows.multiplier
    if rows.family.support == "binomial":
        responses = responses * rows.weight
    counted = jnp.where(responses > 0, jnp.maximum(responses, 1.0), 0.0)
    found = jnp.asarray(False)
    for k in range(len(rows.groupings)):
        found = found | jnp.all(reduce(rows, k, counted) <= 1.0)
    return found
