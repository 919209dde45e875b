"""The log-density of a response at the mean that suits it best."""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.families.search import peak
from jaxglmm.links.base import AbstractLink, Range
from jaxglmm.links.power import Identity, Log
from jaxglmm.links.unit import Logit

PLAIN: dict[Range, AbstractLink] = {"real": Identity(), "positive": Log(), "unit": Logit()}

_FAR, _NEAR, _PLACES = 40.0, 0.1, 33  # exp(-40) is nothing beside 1


def predictor_of(mean: Array, means: Range) -> Array:
    """The predictor under the plain link whose mean this is; any one at an end of the means."""
    if means == "real":
        return mean
    if means == "positive":
        return jnp.log(jnp.where(mean > 0.0, mean, 1.0))
    inside = jnp.where((mean > 0.0) & (mean < 1.0), mean, 0.5)
    return jnp.log(inside) - jnp.log1p(-inside)


def largest(log_p: Callable[[Array], Array], mean: Array, means: Range) -> Array:
    """The maximum of log p over the predictor of a plain link, looked for about that of `mean`.

    The best of some predictors, dense about that one, and golden section between its neighbours.
    log_p takes predictors behind a further first axis.
    """
    centre = predictor_of(mean, means)

    def value(t: Array) -> Array:
        return log_p(centre + (jnp.sinh(t) if means == "real" else t))

    reach = np.arcsinh(_FAR / _NEAR)
    places = jnp.asarray(_NEAR * np.sinh(np.linspace(-reach, reach, _PLACES)), mean.dtype)
    height = value(places.reshape(-1, *[1] * mean.ndim) + jnp.zeros_like(mean))
    best = jnp.argmax(jnp.where(jnp.isnan(height), -jnp.inf, height), axis=0)
    ends = jnp.maximum(best - 1, 0), jnp.minimum(best + 1, _PLACES - 1)
    return peak(value, places[ends[0]], places[ends[1]])[1]
