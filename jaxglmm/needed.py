"""What is computed only where some model of a batch needs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax


def where_needed(needed: Array, of: Callable[[Any], Any], what: Any, known: Any) -> Any:
    """of(what) where that is needed, else what is known: then nothing is computed.

    A loop, as a batched `cond` would compute both; one that changes what it computes from, as XLA
    would take what rests on anything else out of it. In a batch all are computed if one needs it.

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


def where_rarely_needed(needed: Array, of: Callable[[Any], Any], what: Any, known: Any) -> Any:
    """The same for what few of a batch need: on a CPU one after another, and no other is computed.

    `of` takes all arrays it rests on from `what`. Not to be differentiated.
    """

    @jax.custom_batching.custom_vmap
    def alone(needed: Array, what: Any, known: Any) -> Any:
        return where_needed(needed, of, what, known)

    @alone.def_vmap
    def of_batch(size: int, batched: Any, needed: Array, what: Any, known: Any) -> Any:
        def each(is_batched: bool, leaf: Array) -> Array:
            leaf = jnp.asarray(leaf)
            return leaf if is_batched else jnp.broadcast_to(leaf, (size, *leaf.shape))

        given = jax.tree.map(each, tuple(batched), (needed, what, known))
        # An accelerator computes all of them in the time of one.
        each_or_all = one_by_one if jax.default_backend() == "cpu" else jax.vmap(at_once)
        return each_or_all(*given), jax.tree.map(lambda _: True, known)

    def at_once(needed: Array, what: Any, known: Any) -> Any:
        return where_needed(needed, of, what, known)

    def one_by_one(needed: Array, what: Any, known: Any) -> Any:
        def one(state: tuple[Array, Any]) -> tuple[Array, Any]:
            left, found = state
            at = lax.argmax(left, 0, jnp.int32)
            new = of(jax.tree.map(lambda leaf: leaf[at], what))
            found = jax.tree.map(
                lambda all_, own: lax.dynamic_update_index_in_dim(all_, own, at, 0), found, new
            )
            return left.at[at].set(False), found

        return lax.while_loop(lambda state: jnp.any(state[0]), one, (needed, known))[1]

    return alone(needed, what, known)
