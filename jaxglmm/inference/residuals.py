"""Residuals of every row, from the law at the row's linear predictors."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import jax.scipy.special as jsp
import numpy as np
from jax import Array

from jaxglmm.families import AbstractFamily
from jaxglmm.tails import Tails

_COUNTS = ("count", "positive_count", "binomial", "ordinal")
_NODES = 61  # which do for distribution functions a tenth as wide as the normal deviate


def raw(y: Array, eta: Any, phi: Array, weight: Array, *, law: AbstractFamily) -> Array:
    """y - E y, of proportions where the weight is trials; NaN without trials."""
    share = y / jnp.where(weight > 0, weight, jnp.nan) if law.weight_role == "trials" else y
    return share - law.response_mean(eta, phi)


def pearson(
    y: Array, eta: Any, phi: Array, weight: Array, multiplier: Array, *, law: AbstractFamily
) -> Array:
    """sqrt(w) (y - E y) / sd(y), w what multiplies the row's log-density."""
    apart = raw(y, eta, phi, weight, law=law)
    variance = law.response_variance(eta, phi, weight)
    return apart * jnp.sqrt(multiplier / variance)


def deviance(
    y: Array, eta: Any, phi: Array, weight: Array, multiplier: Array, *, law: AbstractFamily
) -> Array:
    """The signed root of the row's part of the deviance (`AbstractDistribution.deviance`)."""
    return jnp.sqrt(multiplier) * law.deviance_residual(y, eta, phi, weight)


def quantile(
    y: Array, eta: Any, phi: Array, weight: Array, sd: Array, v: Array, *, law: AbstractFamily
) -> Array:
    """Randomised quantile residuals: normal quantiles of a uniform number between P(Y < y) and
    P(Y <= y), standard normal under the model (Dunn & Smyth 1996, J. Comput. Graph. Stat.
    5:236-244).

    Args:
        y, eta, phi, weight: as the law takes them.
        sd: of a normal deviate in the first linear predictor that is integrated out, by
            Gauss-Hermite quadrature; () for none.
        v: the uniform numbers, one a row.
        law: the family.
    """
    points, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    if sd.ndim == 0:
        points, weights = np.zeros(1), np.ones(1)
    weights = jnp.asarray(weights / weights.sum(), y.dtype)

    def at(node: tuple[Array, Array]) -> tuple[Tails, Tails]:
        z, w = node
        first, *others = eta if isinstance(eta, tuple) else (eta,)
        moved = (first + z * sd, *others)
        tails = law.tails(moved if isinstance(eta, tuple) else moved[0], phi, weight)
        pair = _before(law, tails, y), tails(y)
        return jax.tree.map(lambda p: w * p, pair)

    each = jax.lax.map(at, (jnp.asarray(points, y.dtype), weights))
    (below, above), (up_to, beyond) = jax.tree.map(lambda p: jnp.sum(p, axis=0), each)
    least = jnp.finfo(y.dtype).tiny
    lower = jnp.maximum(below + v * (up_to - below), least)
    upper = jnp.maximum(beyond + (1.0 - v) * (above - beyond), least)
    return jnp.where(lower < upper, jsp.ndtri(lower), -jsp.ndtri(upper))


def _before(law: AbstractFamily, tails: Any, y: Array) -> Tails:
    """P(Y < y), P(Y >= y); y itself has a probability in counts, at zero and at one."""
    if law.support in _COUNTS:
        return tails(y - 1.0)
    if law.support in ("real", "positive", "unit_open"):
        return tails(y)
    atom = (y == 0.0) | ((y == 1.0) & (law.support == "unit_closed"))
    below, above = tails(jnp.where(atom, jnp.nextafter(y, -jnp.ones_like(y)), y))
    none = y == 0.0
    return jnp.where(none, 0.0, below), jnp.where(none, 1.0, above)
