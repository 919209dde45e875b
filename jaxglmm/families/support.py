"""Where responses lie: tails beyond the ends of a support, and supports as parts of the line."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxglmm.special import softplus
from jaxglmm.tails import Tails

TailFunction = Callable[[Array], Tails]


def on_counts(inside: TailFunction, last: Array | float = jnp.inf) -> TailFunction:
    """Tails on 0, 1, ..., last from those at whole numbers below the last."""

    def tails(y: Array) -> Tails:
        k = jnp.floor(y)
        below, above = inside(jnp.where((k >= 0.0) & (k < last), k, 0.0))
        return _beyond(k < 0.0, k >= last, below, above)

    return tails


def on_interval(inside: TailFunction, high: float = jnp.inf) -> TailFunction:
    """Tails on (0, high) from those at its points."""

    def tails(y: Array) -> Tails:
        within = (y > 0.0) & (y < high)
        below, above = inside(jnp.where(within, y, 0.5 * min(high, 2.0)))
        return _beyond(y <= 0.0, y >= high, below, above)

    return tails


def with_ends(inside: TailFunction, zero: Array, within: Array, one: Array) -> TailFunction:
    """Tails of a law with probability `zero` at 0, `one` at 1, and a share between them."""

    def tails(y: Array) -> Tails:
        below, above = inside(y)
        return _beyond(y < 0.0, y >= 1.0, zero + within * below, one + within * above)

    return tails


def _beyond(before: Array, after: Array, below: Array, above: Array) -> Tails:
    below = jnp.where(before, 0.0, jnp.where(after, 1.0, below))
    return below, jnp.where(before, 1.0, jnp.where(after, 0.0, above))


class Line(NamedTuple):
    """y = value(t), place(y) = t and log dy/dt; t is looked for between -reach and reach.

    Below them y is `bottom`, above `top`; `atoms` are the ends that have a probability.
    """

    value: Callable[[Array], Array]
    place: Callable[[Array], Array]
    log_slope: Callable[[Array], Array]
    reach: float
    bottom: float
    top: float
    atoms: tuple[float, ...] = ()


def line(support: str, dtype: np.dtype) -> Line:
    """The line of a support that is not one of counts."""
    info = jnp.finfo(dtype)
    log_most, digits = float(np.log(info.max)) - 1.0, float(-np.log(info.eps))
    if support == "real":
        real = (jnp.sinh, jnp.arcsinh, lambda t: jnp.log(jnp.cosh(t)))
        return Line(*real, log_most, -np.inf, np.inf)
    if support in ("positive", "nonnegative"):
        atoms = (0.0,) if support == "nonnegative" else ()
        return Line(jnp.exp, jnp.log, lambda t: t, log_most, 0.0, np.inf, atoms)
    atoms = {"unit_zero": (0.0,), "unit_closed": (0.0, 1.0)}.get(support, ())
    return Line(lax.logistic, _logit, _log_logistic_slope, digits, 0.0, 1.0, atoms)


def _logit(y: Array) -> Array:
    return jnp.log(y) - jnp.log1p(-y)


def _log_logistic_slope(t: Array) -> Array:
    return -softplus(t) - softplus(-t)
