"""The maxima of many models that share a design."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import jax
from jax import Array

from jaxglmm.arrays import AnyArray
from jaxglmm.ascent.climb import Climb, Ends, advance, begin, idle_unless, land, unfinished
from jaxglmm.ascent.estimate import Estimate
from jaxglmm.ascent.maximum import AbstractRoute, Maximum, Prepared
from jaxglmm.ascent.optimum import choose_route, ends, estimate, maximise_rows
from jaxglmm.ascent.start import start
from jaxglmm.batch.dependence import depends
from jaxglmm.batch.pool import Task, in_blocks, pool
from jaxglmm.control import Control
from jaxglmm.params import Params
from jaxglmm.pattern import AbstractPattern
from jaxglmm.rows import Rows

T = TypeVar("T")

_UNCHANGED = 2e-5  # of the Hessian by the last step: standard errors are right to 1e-5


class Own(NamedTuple):
    """What each model has for itself, with a leading model axis: y, say, is (model, slot, chunk);
    None for what all share, which is in the rows. The fields mean what those of `rows.Rows` do."""

    y: AnyArray
    weight: AnyArray | None = None
    multiplier: AnyArray | None = None
    offset: AnyArray | None = None
    offsets: tuple[AnyArray, ...] | None = None
    X: AnyArray | None = None
    Z: tuple[AnyArray, ...] | None = None
    codes: tuple[AnyArray, ...] | None = None
    pattern: AbstractPattern | None = None
    free: AnyArray | None = None


def own_rows(rows: Rows, own: Own) -> Rows:
    """The rows of one model."""
    given = {name: value for name, value in own._asdict().items() if value is not None}
    return dataclasses.replace(rows, **given)


class Split(NamedTuple):
    """What many models have: `each` for itself, with a leading model axis, and all of them shared;
    None in one where the other has it."""

    each: Any
    shared: Any


class Ascended(NamedTuple):
    """Where the ascents of many models began (`ascent.start.Start`) and where they ended."""

    begun: Split
    tops: Maximum


def maximise_many(
    rows: Rows,
    own: Own,
    count: AnyArray,
    control: Control = Control(),
    first: Params | None = None,
    raised: Array | None = None,
    *,
    width: int,
) -> Estimate:
    """The fit of each model by the route of a single one; a pytree with a leading model axis.

    Args:
        rows: what the models share; its other arrays are those of a model like them.
        own: what they do not; the number of models must be a multiple of `width`.
        count: how many of them there are: what is returned for others means nothing.
        control: settings of the optimiser, static.
        first: parameters to start all from; None for starting values of their own. Judgements of
            what is small and what is far are then relative to the response of `rows`.
        raised: how far starting values of their own are raised (`ascent.start`); one for all.
        width: number of lanes that iterate together, static. No estimate depends on it.

    A model that fails has its status and disturbs no other.
    """
    ascended = ascend_many(rows, own, count, control, first, raised, width=width)
    return each_estimate(rows, own, ascended, count, control, lambda _, found: found, width=width)


def ascend_many(
    rows: Rows,
    own: Own,
    count: AnyArray,
    control: Control,
    first: Params | None = None,
    raised: Array | None = None,
    *,
    width: int,
) -> Ascended | Estimate:
    """The first part of `maximise_many`, or all of it where there are no parts."""
    if rows.by_pseudo_data or control.staged:
        return in_blocks(
            lambda mine: maximise_rows(own_rows(rows, mine), control, first), own, count, width
        )
    route = choose_route(rows)

    def prepare(own: Own) -> Any:
        mine = own_rows(rows, own)
        from_ = start((mine if first is None else rows).random_only, raised)
        return from_, route.prepare(mine, from_.params if first is None else first)

    (begun, prepared), shared = _shared_apart(prepare, own, count, width)
    climb = _Climbing(route, rows, ends(rows, control, _UNCHANGED), shared[1])
    tops = pool(climb.task(), (own, prepared), count, width)
    return Ascended(Split(begun, shared[0]), tops)


def each_estimate(
    rows: Rows,
    own: Own,
    ascended: Ascended | Estimate,
    count: AnyArray,
    control: Control,
    then: Callable[[Rows, Estimate], T],
    *,
    width: int,
) -> T:
    """The second part: then(its rows, its estimate) of each model, with a leading model axis."""
    if isinstance(ascended, Estimate):
        return in_blocks(
            lambda of: then(own_rows(rows, of[0]), of[1]), (own, ascended), count, width
        )
    last, shared = ends(rows, control, _UNCHANGED), ascended.begun.shared

    def finish(of: tuple[Own, Any, Maximum]) -> T:
        mine, from_ = own_rows(rows, of[0]), _merged(of[1], shared)
        return then(mine, estimate(mine, from_, of[2], last))

    return in_blocks(finish, (own, ascended.begun.each, ascended.tops), count, width)


@dataclasses.dataclass(frozen=True)
class _Climbing:
    """The ascent of one model as a task of the pool; data are (own, what it prepared for itself),
    and `shared` is what all have of the latter."""

    route: AbstractRoute
    rows: Rows
    ends: Ends
    shared: Any

    def task(self) -> Task:
        return Task(self._begin, self._advance, self._unfinished, self._end)

    def _parts(self, data: Any) -> tuple[Rows, Prepared]:
        return own_rows(self.rows, data[0]), _merged(data[1], self.shared)

    def _begin(self, data: Any) -> Climb:
        rows, prepared = self._parts(data)
        return begin(self.route.objective(rows, prepared), prepared.psi, prepared.u)

    def _advance(self, data: Any, state: Climb, live: Array) -> Climb:
        objective = self.route.objective(*self._parts(data))
        return advance(objective, idle_unless(live, state), self.ends)

    def _unfinished(self, state: Climb) -> Array:
        return unfinished(state, self.ends)

    def _end(self, data: Any, state: Climb) -> Any:
        rows, prepared = self._parts(data)
        return self.route.maximum(rows, prepared, land(self.route.objective(rows, prepared), state))


def _shared_apart(function: Callable[[Any], Any], data: Any, count: AnyArray, width: int) -> Split:
    """function(data) of each model, what all share of it once."""
    function = jax.jit(function, inline=True)  # traced once
    one = jax.tree.map(lambda a: a[0], data)
    differs = depends(function, one)

    def parted(found: Any, own: bool) -> Any:
        leaves, tree = jax.tree.flatten(found)
        kept = [leaf if of is own else None for leaf, of in zip(leaves, differs, strict=True)]
        return jax.tree.unflatten(tree, kept)

    each = in_blocks(lambda data: parted(function(data), True), data, count, width)
    return Split(each, parted(function(one), False))


def _merged(own: Any, shared: Any) -> Any:
    return jax.tree.map(
        lambda a, b: b if a is None else a, own, shared, is_leaf=lambda leaf: leaf is None
    )
