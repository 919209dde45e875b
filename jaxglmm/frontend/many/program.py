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
    """Models where their ascents end, and what each has for itself, in chunk order."""

    own: Own
    ascended: Ascended | Estimate


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
    """The ascents of the first `count` models of a micro-batch, whose size is a multiple of
    `width`; `raised` as in `maximise_many`."""
    del modes
    return _ascend(rows, _laid(slots, given), count, raised, control, width)


def describe_micro_batch(
    ended: Ended,
    rows: Rows,
    slots: Slots,
    given: Given,
    count: Array,
    raised: Array | None = None,
    *,
    control: Control,
    width: int,
    modes: bool,
) -> Outcome:
    """What came of them."""
    del slots, given, raised
    return _describe(rows, ended, count, control, width, modes)


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
    del modes
    own = jax.vmap(lambda part: own_of(table, part))(parts)
    rows = _like_parts(table, own, groupings, one_to_one)
    return _ascend(rows, own, count, raised, control, width)


def describe_parts(
    ended: Ended,
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
) -> Outcome:
    """What came of these."""
    del parts, raised
    rows = _like_parts(table, ended.own, groupings, one_to_one)
    return _describe(rows, ended, count, control, width, modes)


def _like_parts(table: Rows, own: Own, groupings: tuple[Structure, ...], one_to_one: bool) -> Rows:
    """The rows of one of them, as what all share."""
    like = dataclasses.replace(table, groupings=groupings, one_to_one=one_to_one)
    return own_rows(like, jax.tree.map(lambda leaf: leaf[0], own))


def _ascend(
    rows: Rows, own: Own, count: Array, raised: Array | None, control: Control, width: int
) -> Ended:
    def whole(rows: Rows, own: Own, count: Array, raised: Array | None) -> Ended:
        return Ended(own, ascend_many(rows, own, count, control, raised=raised, width=width))

    return beside_others(whole)(rows, own, count, raised)


def _describe(
    rows: Rows, ended: Ended, count: Array, control: Control, width: int, modes: bool
) -> Outcome:
    then = functools.partial(outcome_of, modes=modes)

    def whole(rows: Rows, ended: Ended, count: Array) -> Outcome:
        return each_estimate(rows, *ended, count, control, then, width=width)

    return beside_others(whole)(rows, ended, count)


maximise_micro_batch = Stages(ascend_micro_batch, describe_micro_batch)
maximise_parts = Stages(ascend_parts, describe_parts)


def beside_others(whole: Callable[..., Any]) -> Callable[..., Any]:
    """A program as it may run beside others."""
    return in_turn(whole) if jax.default_backend() == "cpu" else whole


def outcome_of(rows: Rows, estimate: Estimate, modes: bool) -> Outcome:
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
