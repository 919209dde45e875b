"""Correlations through the sine of an angle: the bounds are interior, smooth points."""

from __future__ import annotations

import math

import jax.numpy as jnp
from jax import Array


def fold(angle: Array) -> tuple[Array, Array]:
    """The angle in [-pi/2, pi/2] with the same sine, and its slope (+1 or -1) in the angle."""
    turned = angle - 2 * math.pi * jnp.round(angle / (2 * math.pi))
    beyond = jnp.abs(turned) > math.pi / 2
    mirrored = jnp.where(turned > 0, math.pi, -math.pi) - turned
    return jnp.where(beyond, mirrored, turned), jnp.where(beyond, -1.0, 1.0).astype(angle.dtype)
