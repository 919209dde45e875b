"""Thresholds on the scale of a linear predictor: ordered by construction, and what they cut off.

With m thresholds t_1 < ... < t_m, phi is

"flexible"     (t_1, log(t_2 - t_1), ..., log(t_m - t_(m-1)));
"equidistant"  (t_1, log h): t_j = t_1 + (j - 1) h;
"symmetric"    (c, log of the half widths' increments): t_j + t_(m+1-j) = 2 c, as in ordinal::clm.
               Half widths grow from the middle outwards: from zero where m is odd.
"separate"     the thresholds themselves, so that some can be held: the likelihood has to see that
               they stay in order (`log_cell` is NaN where they do not).
"""

from __future__ import annotations

from typing import Any, Literal

import jax.numpy as jnp
import numpy as np
from jax import Array

from jaxglmm.links.base import AbstractLink

Spacing = Literal["flexible", "symmetric", "equidistant"]
Layout = Literal["separate"] | Spacing


def free_size(num: int, spacing: Layout) -> int:
    """Number of parameters of `num` thresholds."""
    if spacing in ("flexible", "separate"):
        return num
    return min(num, 2) if spacing == "equidistant" else 1 + num // 2


def to_thresholds(phi: Any, num: int, spacing: Layout, xp: Any = jnp) -> Any:
    """The thresholds, ascending; shape (num,)."""
    if spacing == "separate":
        return phi
    steps = xp.exp(phi[1:])
    if spacing == "flexible":
        return phi[0] + xp.concatenate([xp.zeros_like(phi[:1]), xp.cumsum(steps)])
    if spacing == "equidistant":
        return phi[0] + xp.arange(num, dtype=phi.dtype) * (steps[0] if num > 1 else 0.0)
    half = xp.cumsum(steps)
    middle = xp.zeros_like(phi[: num % 2])
    return phi[0] + xp.concatenate([-half[::-1], middle, half])


def to_phi(thresholds: Any, spacing: Layout, xp: Any = jnp) -> Any:
    """The parameters of the nearest thresholds of that spacing."""
    t = thresholds
    if spacing == "separate":
        return t
    num = t.shape[0]
    if spacing == "flexible":
        return xp.concatenate([t[:1], xp.log(xp.diff(t))])
    if spacing == "equidistant":
        if num == 1:
            return t
        step = (t[-1] - t[0]) / (num - 1)
        return xp.stack([xp.mean(t) - 0.5 * (num - 1) * step, xp.log(step)])
    half = 0.5 * (t - t[::-1])[(num + 1) // 2 :]
    inner = xp.diff(half, prepend=xp.zeros_like(half[:1]))
    return xp.concatenate([xp.mean(t)[None], xp.log(inner)])


def in_order(held: np.ndarray, thresholds: Array) -> Array:
    """These thresholds where they ascend, else those that are held with the others between them at
    equal steps, or at steps of one outside."""
    number, known = np.arange(len(held)), np.flatnonzero(held)
    if len(known) == 0:
        return thresholds
    outside = np.minimum(number - known[0], 0) + np.maximum(number - known[-1], 0)
    spread = jnp.interp(number.astype(float), known.astype(float), thresholds[known]) + outside
    ascending = jnp.all(thresholds[1:] > thresholds[:-1])
    return jnp.where(ascending, thresholds, spread.astype(thresholds.dtype))


def log_cell(link: AbstractLink, y: Array, thresholds: Array, eta: Array) -> Array:
    """log P(y) where P(y <= j) = F(t_(j+1) - eta): the mass of F between the thresholds about y.

    y = 0, ..., m counts the thresholds below; F is the link's inverse.
    """
    last = thresholds.shape[0] - 1
    cell = jnp.asarray(y, jnp.int32)
    high = thresholds[jnp.clip(cell, 0, last)]
    low = thresholds[jnp.clip(cell - 1, 0, last)]
    inside = (cell > 0) & (cell <= last)
    between = link.log_between(low - eta, jnp.where(inside, high - low, 1.0))
    outside = link.log_tail(jnp.where(cell == 0, high, low) - eta, cell > 0)
    return jnp.where(inside, between, outside)
