"""Arrays that are written to memory, where XLA would compute them anew for each reader."""

from __future__ import annotations

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

T = TypeVar("T")

_MOST = 20_000  # numbers of one model


def written(values: T) -> T:
    """The same pytree of floating arrays, computed once.

    XLA's CPU backend fuses what takes additions and products alone into every loop that reads it:
    sums over rows into loops over pairs of parameters, and loops over a contiguous axis into those
    that transpose it, which no longer vectorise (Hessians of many small models: twice the time).
    Its optimisation barriers are gone by then, but nothing is fused across a loop of the program;
    this one never turns, and leaves its arrays where they are. Other backends take a round trip to
    the host for it, and get the arrays as they are, as does who asks for many numbers: to move
    these takes longer than to compute them. Derivatives are those of the identity.
    """
    few = sum(leaf.size for leaf in jax.tree.leaves(values)) <= _MOST
    return _once(values) if few and jax.default_backend() == "cpu" else values


@jax.custom_jvp
def _once(values: T) -> T:
    return _by_loop(values)


@_once.defjvp
def _once_jvp(primals: tuple[T], tangents: tuple[T]) -> tuple[T, T]:
    return _once(*primals), tangents[0]


@jax.custom_batching.custom_vmap
def _by_loop(values: Any) -> Any:
    filled = [leaf for leaf in jax.tree.leaves(values) if leaf.size]
    if not filled:
        return values
    one = filled[0].ravel()[0]
    never = (one > 0.0) & (one < 0.0)  # no compiler knows
    return lax.while_loop(
        lambda state: state[0],
        lambda state: (jnp.asarray(False), jax.tree.map(jnp.zeros_like, state[1])),
        (never, values),
    )[1]


@_by_loop.def_vmap
def _of_many(size: int, batched: Any, values: Any) -> Any:
    """With one condition for all: those of a batch's members would cost a choice."""

    def each(is_batched: bool, leaf: Any) -> Any:
        return leaf if is_batched else jnp.broadcast_to(leaf, (size, *leaf.shape))

    return _by_loop(jax.tree.map(each, *batched, values)), jax.tree.map(lambda _: True, values)
