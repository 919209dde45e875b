"""Methods of laws and structures, compiled once for all that are equal.

By itself every operation of theirs would be compiled, for each shape, which takes longer.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


@functools.partial(jax.jit, static_argnums=(0, 1))
def of(owner: Any, method: str, *arguments: Any) -> Any:
    """A method of something that is hashable."""
    return getattr(owner, method)(*arguments)


@functools.partial(jax.jit, static_argnums=0)
def log_probs(law: Any, y: Any, eta: Any, phi: Any, weight: Any) -> Array:
    """log p at each y, eta and weight, one of which has an axis at least."""
    points = [jnp.asarray(v, float) for v in (y, eta, weight)]
    y, eta, weight = jnp.broadcast_arrays(*points)
    return jax.vmap(law.log_prob, (0, 0, None, 0))(y, eta, phi, weight)


@functools.partial(jax.jit, static_argnums=0)
def log_probs_beside(law: Any, y: Any, eta: tuple[Any, ...], phi: Any, weight: Any) -> Array:
    """log p of a law with several linear predictors at each y, all else being the same."""
    return jax.vmap(lambda v: law.log_prob(v, eta, phi, weight))(jnp.asarray(y, float))


@functools.partial(jax.jit, static_argnums=(0, 5))
def tower(law: Any, y: Any, eta: Any, phi: Any, weight: Any, order: int) -> Array:
    """[l, l', l'', ...] in eta up to that order, elementwise; shape (order + 1, point)."""

    def further(f: Any, eta: Any) -> Any:
        found, slopes = jax.jvp(f, (eta,), (jnp.ones_like(eta),))
        return *found, slopes[-1]

    def all_of(eta: Any) -> Any:
        return (law.log_prob(y, eta, phi, weight),)

    for _ in range(order):
        all_of = functools.partial(further, all_of)
    return jnp.stack(all_of(jnp.asarray(eta)))
