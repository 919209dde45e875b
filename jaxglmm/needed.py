"""What is computed only where some model of a batch needs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array


def where_needed(needed: Array, of: Callable[[Any], Any], what: Any, known: Any) -> Any:
    """of(what) where that is needed, else what is known: then nothing is computed.

    A loop, as a batched `cond` would compute both; one that changes what it computes from, as XLA
    would take what rests on anything else out of it.

    Args:
        needed: a scalar, of each model its own.
        of: from a pytree of arrays to one like `known`.
        what: the former.
        known: what stands where nothing is needed, a pytree of arrays.
    """
    nothing = jax.tree.map(jnp.zeros_like, what)
    _, found, _ = jax.lax.while_loop(
        lambda state: state[0],
        lambda state: (jnp.asarray(False), of(state[2]), nothing),
        (needed, known, what),
    )
    return found
