"""A pool of lanes: iterations of many tasks side by side, none of which waits for the slowest.

A batched loop runs until its last member has ended, and computes all others along: with iterations
between 3 and 13 in number that is most of its time. Here a lane whose task has ended stores what
came of it and takes the next task, within the compiled loop. What a task computes does not depend
on its lane, on its neighbours or on the number of tasks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax


class Task(NamedTuple):
    """What every lane does; functions of one task, vectorised over lanes here.

    begin: its data -> state; advance: (data, state, live) -> state, `live` being false in a lane
    without a task, whose state is of no interest; unfinished: state -> bool; end: (data, state) ->
    what is kept.
    """

    begin: Callable[[Any], Any]
    advance: Callable[[Any, Any, Array], Any]
    unfinished: Callable[[Any], Array]
    end: Callable[[Any, Any], Any]


class _Lanes(NamedTuple):
    state: Any
    number: Array  # of the task in each lane, beyond the last where there is none
    following: Array  # the next task to begin
    kept: Packed


def pool(task: Task, data: Any, count: Array, width: int) -> Any:
    """What `task.end` makes of the first `count` tasks, along a leading axis; others are zero.

    Args:
        task: what is done.
        data: pytree of arrays, one entry a task along their leading axes.
        count: number of tasks to do, at most the length of that axis.
        width: number of lanes, static.
    """
    size = jax.tree.leaves(data)[0].shape[0]
    if width == 1:
        return _in_turn(task, data, size, count)

    def of_lanes(number: Array) -> Any:
        return jax.tree.map(lambda a: a[jnp.minimum(number, size - 1)], data)

    def begin(number: Array) -> Any:
        return jax.vmap(task.begin)(of_lanes(number))

    def working(lanes: _Lanes) -> Array:
        return jnp.any(lanes.number < count)

    def step(lanes: _Lanes) -> _Lanes:
        own, live = of_lanes(lanes.number), lanes.number < count
        state = jax.vmap(task.advance)(own, lanes.state, live)
        done = live & ~jax.vmap(task.unfinished)(state)
        kept = _put(lanes.kept, jax.vmap(task.end)(own, state), lanes.number, done)
        number = jnp.where(done, lanes.following + jnp.cumsum(done) - 1, lanes.number)
        state = _choose(done, begin(number), state)
        return _Lanes(state, number, lanes.following + jnp.sum(done), kept)

    number = jnp.arange(width)
    first = begin(number)
    ends = jax.eval_shape(lambda: jax.vmap(task.end)(of_lanes(number), first))
    lanes = _Lanes(first, number, jnp.asarray(width), _nothing(ends, size))
    return _unpacked(lax.while_loop(working, step, lanes).kept, ends)


Packed = dict[Any, Array]
"""Arrays of one type and leading axis side by side, by that type; (entry, number) each."""


def _by_type(tree: Any) -> dict[Any, list[Any]]:
    """Leaves, in their order."""
    found: dict[Any, list[Any]] = {}
    for leaf in jax.tree.leaves(tree):
        found.setdefault(leaf.dtype.name, []).append(leaf)
    return found


def _nothing(shapes: Any, size: int) -> Packed:
    """For so many entries like those of `shapes`."""
    return {
        name: jnp.zeros((size, sum(math.prod(leaf.shape[1:]) for leaf in leaves)), name)
        for name, leaves in _by_type(shapes).items()
    }


def _unpacked(packed: Packed, shapes: Any) -> Any:
    leaves, first = [], dict.fromkeys(packed, 0)
    for leaf in jax.tree.leaves(shapes):
        name, shape = leaf.dtype.name, leaf.shape[1:]
        begin = first[name]
        first[name] = end = begin + math.prod(shape)
        leaves.append(packed[name][:, begin:end].reshape(packed[name].shape[0], *shape))
    return jax.tree.unflatten(jax.tree.structure(shapes), leaves)


def _put(kept: Packed, ends: Any, number: Array, done: Array) -> Packed:
    """The ends of lanes that are done, each where its task belongs.

    One after another: XLA's scatter on CPUs goes through all lanes, for every array anew.
    """
    by_type = _by_type(ends)

    def store(state: tuple[Array, Packed]) -> tuple[Array, Packed]:
        left, kept = state
        at = lax.argmax(left, 0, jnp.int32)

        def row(name: str, whole: Array) -> Array:
            own = jnp.concatenate([leaf[at].ravel() for leaf in by_type[name]])
            return lax.dynamic_update_index_in_dim(whole, own, number[at], 0)

        return left.at[at].set(False), {name: row(name, whole) for name, whole in kept.items()}

    return lax.while_loop(lambda state: jnp.any(state[0]), store, (done, kept))[1]


def _in_turn(task: Task, data: Any, size: int, count: Array) -> Any:
    """The tasks one after another: what costs so much that there is one lane is not vectorised,
    so that a `cond` within computes one of its branches."""

    def one(k: Array) -> Any:
        own = jax.tree.map(lambda a: a[k], data)
        state = lax.while_loop(
            task.unfinished,
            lambda state: task.advance(own, state, jnp.asarray(True)),
            task.advance(own, task.begin(own), jnp.asarray(True)),
        )
        return task.end(own, state)

    return _collected(one, size, 1, count)


def _collected(of: Callable[[Array], Any], size: int, width: int, count: Array) -> Any:
    """What `of` makes of block 0, 1, ... of `width` entries, the last one holding entry
    `count` - 1, along a leading axis of that size; zero beyond. With a width of one, `of` gives an
    entry without that axis."""

    def step(k: Array, found: Packed) -> Packed:
        parts = _by_type(of(k))

        def write(name: str, whole: Array) -> Array:
            own = [leaf.reshape(width, -1) for leaf in parts[name]]
            return lax.dynamic_update_slice_in_dim(whole, jnp.concatenate(own, 1), k * width, 0)

        return {name: write(name, whole) for name, whole in found.items()}

    of = jax.jit(of, inline=True)  # traced once for its shapes and the loop
    shapes = jax.eval_shape(of, jnp.asarray(0))
    if width == 1:
        shapes = jax.tree.map(lambda s: jax.ShapeDtypeStruct((1, *s.shape), s.dtype), shapes)
    found = lax.fori_loop(0, -(-jnp.asarray(count) // width), step, _nothing(shapes, size))
    return _unpacked(found, shapes)


def in_blocks(function: Callable[[Any], Any], data: Any, count: Array, width: int) -> Any:
    """The function of the first `count` entries of the leading axis, `width` at a time; of others
    what it makes of their neighbours' blocks, or zero.

    The length of that axis is a multiple of `width`. As `count` is known to the program alone, its
    loop is the same however long the axis is: XLA would take one of a single turn apart, whose
    results differ in their last bits.
    """

    def of(k: Array) -> Any:
        if width == 1:
            return function(jax.tree.map(lambda leaf: leaf[k], data))

        def block(leaf: Array) -> Array:
            return lax.dynamic_slice_in_dim(leaf, k * width, width)

        return jax.vmap(function)(jax.tree.map(block, data))

    return _collected(of, jax.tree.leaves(data)[0].shape[0], width, count)


def _choose(which: Array, yes: Any, no: Any) -> Any:
    """Lane by lane."""

    def leaf(a: Array, b: Array) -> Array:
        return jnp.where(which.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(leaf, yes, no)
