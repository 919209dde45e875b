"""Thresholds on the scale of a linear predictor: ordered by construction, and what they cut off.

With m thresholds t_1 < ... < t_m, phi is

"flexible"     (t_1, log(t_2 - t_1), ..., log(t_m - t_(m-1)));
"equidistant"  (t_1, log h): t_j = t_1 + (j - 1) h;
"symmetric"    (c, log of the half widths' increments): t_j + t_(m+1-j) = 2 c, as in ordinal::clm.
               Half widths grow from the middle outwards: from zero where m is odd.
"""

from __future__ import annotations

from typing import Any, Literal

import jax.numpy as jnp
from jax import Array

from jaxglmm.links.base import AbstractLink

Spacing = Literal["flexible", "symmetric", "equidistant"]


def free_size(num: int, spacing: Spacing) -> int:
    """Number of parameters of `num` thresholds."""
    if spacing == "flexible":
        return num
    return min(num, 2) if spacing == "equidistant" else 1 + num // 2


def to_thresholds(phi: Any, num: int, spacing: Spacing, xp: Any = jnp) -> Any:
    """The thresholds, ascending; shape (num,)."""
    steps = xp.exp(phi[1:])
    if spacing == "flexible":
        return phi[0] + xp.concatenate([xp.zeros_like(phi[:1]), xp.cumsum(steps)])
    if spacing == "equidistant":
        return phi[0] + xp.arange(num, dtype=phi.dtype) * (steps[0] if num > 1 else 0.0)
    half = xp.cumsum(steps)
    middle = xp.zeros_like(phi[: num % 2])
    return phi[0] + xp.concatenate([-half[::-1], middle, half])


def to_phi(thresholds: Any, spacing: Spacing, xp: Any = jnp) -> Any:
    """The parameters of the nearest thresholds of that spacing."""
    t = thresholds
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
