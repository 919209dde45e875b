"""The programs of a micro-batch: responses by row, or parts of a table, in; estimates out."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import Array

from jaxglmm.arrays import AnyArray
from jaxglmm.ascent import Estimate
from jaxglmm.batch import Ascended, Own, Part, ascend_many, each_estimate, own_of
from jaxglmm.batch.in_turn import in_turn
from jaxglmm.batch.many import own_rows
from jaxglmm.control import Control
from jaxglmm.factor import choose
from jaxglmm.frontend.programs import Stages
from jaxglmm.inference import bounds, effects
from jaxglmm.inference.natural import Natural, natural
from jaxglmm.rows import Rows, Structure


class Slots(NamedTuple):
    """Which row is in which slot of the layout, and whether it is there for itself."""

    rows: AnyArray
    filled: AnyArray


class Given(NamedTuple):
    """What each model has for itself, (model, obs) in the order of the data; None for what all
    share. The fields mean what those of `rows.Rows` do."""

    y: AnyArray
    weight: AnyArray | None = None
    multiplier: AnyArray | None = None
    offset: AnyArray | None = None


class Outcome(NamedTuple):
    """Along a leading model axis; the modes of the random effects where they are asked for.

    `b_variance` is None where conditional variances cost as much as an evaluation of the
    log-likelihood.
    """

    estimate: Estimate
    natural: Natural
    at_bound: AnyArray
    b: tuple[AnyArray, ...] | None
    b_variance: tuple[AnyArray, ...] | None


class Ended(NamedTuple):
    """Models where their ascents end: what they share and what each has for itself, in chunk
    order, and how many there are."""

    rows: Rows
    own: Own
    ascended: Ascended | Estimate
    count: Array


def ascend_micro_batch(
    rows: Rows,
    slots: Slots,
    given: Given,
    count: Array,
    raised: Array | None = None,
    *,
    control: Control,
    width: int,
    modes: bool,
) -> Ended:
    """The first `count` models of a micro-batch, whose size is a multiple of `width`; `raised` as
    in `maximise_many`."""
    return _ascend(rows, _laid(slots, given), count, raised, control, width)


def ascend_parts(
    table: Rows,
    parts: Part,
    count: Array,
    raised: Array | None = None,
    *,
    groupings: tuple[Structure, ...],
    one_to_one: bool,
    control: Control,
    width: int,
    modes: bool,
) -> Ended:
    """The same of models that are parts of a table, with these numbers of levels; `one_to_one` as
    in `layout.Layout`."""
    own = jax.vmap(lambda part: own_of(table, part))(parts)
    like = dataclasses.replace(table, groupings=groupings, one_to_one=one_to_one)
    rows = own_rows(like, jax.tree.map(lambda leaf: leaf[0], own))
    return _ascend(rows, own, count, raised, control, width)


def _ascend(
    rows: Rows, own: Own, count: Array, raised: Array | None, control: Control, width: int
) -> Ended:
    def whole(rows: Rows, own: Own, count: Array, raised: Array | None) -> Ended:
        found = ascend_many(rows, own, count, control, raised=raised, width=width)
        return Ended(rows, own, found, count)

    return beside_others(whole)(rows, own, count, raised)


def describe(
    ended: Ended, *_: Any, control: Control, width: int, modes: bool, **__: Any
) -> Outcome:
    """What came of them; the arguments of the first stage have done their part."""
    then = functools.partial(outcome, modes=modes)

    def whole(ended: Ended) -> Outcome:
        rows, own, found, count = ended
        return each_estimate(rows, own, found, count, control, then, width=width)

    return beside_others(whole)(ended)


maximise_micro_batch = Stages(ascend_micro_batch, describe)
maximise_parts = Stages(ascend_parts, describe)


def beside_others(whole: Callable[..., Any]) -> Callable[..., Any]:
    """A program as it may run beside others."""
    return in_turn(whole) if jax.default_backend() == "cpu" else whole


def outcome(rows: Rows, estimate: Estimate, modes: bool) -> Outcome:
    """An estimate with what tables want to know of it."""
    rows, params, u = rows.random_only, estimate.params, estimate.u
    about = natural(rows, params), bounds.at_bound(rows, params, u)
    if not modes:
        return Outcome(dataclasses.replace(estimate, u=()), *about, None, None)
    variance = None if choose(rows).keeps else effects.conditional_variances(rows, params, u)
    return Outcome(estimate, *about, effects.modes(rows, params, u), variance)


def _laid(slots: Slots, given: Given) -> Own:
    """In chunk order: (model, slot, chunk)."""

    def laid(values: Array | None) -> Array | None:
        return None if values is None else values[:, slots.rows]

    own = jax.tree.map(laid, Own(*given))
    if own.multiplier is None:
        return own
    return own._replace(multiplier=own.multiplier * slots.filled)
