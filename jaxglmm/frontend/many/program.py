"""The programs of a micro-batch: responses by row, or parts of a table, in; estimates out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax import Array

from jaxglmm.arrays import AnyArray
from jaxglmm.ascent import Estimate
from jaxglmm.batch import Own, Part, maximise_many, own_of
from jaxglmm.batch.in_turn import in_turn
from jaxglmm.batch.many import own_rows
from jaxglmm.batch.pool import in_blocks
from jaxglmm.control import Control
from jaxglmm.factor import choose
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


def maximise_micro_batch(
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
    """The first `count` models of a micro-batch, whose size is a multiple of `width`; `raised` as
    in `maximise_many`."""
    return _maximise(rows, _laid(slots, given), count, raised, control, width, modes)


def maximise_parts(
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
    """The same of models that are parts of a table, with these numbers of levels; `one_to_one` as
    in `layout.Layout`."""
    own = jax.vmap(lambda part: own_of(table, part))(parts)
    like = dataclasses.replace(table, groupings=groupings, one_to_one=one_to_one)
    rows = own_rows(like, jax.tree.map(lambda leaf: leaf[0], own))
    return _maximise(rows, own, count, raised, control, width, modes)


def _maximise(
    rows: Rows,
    own: Own,
    count: Array,
    raised: Array | None,
    control: Control,
    width: int,
    modes: bool,
) -> Outcome:
    def whole(rows: Rows, own: Own, count: Array, raised: Array | None) -> Outcome:
        estimate = maximise_many(rows, own, count, control, raised=raised, width=width)
        return described(rows, own, estimate, count, width, modes)

    return beside_others(whole)(rows, own, count, raised)


def beside_others(whole: Callable[..., Any]) -> Callable[..., Any]:
    """A program as it may run beside others."""
    return in_turn(whole) if jax.default_backend() == "cpu" else whole


def described(
    rows: Rows, own: Own, estimate: Estimate, count: Array, width: int, modes: bool
) -> Outcome:
    """Estimates with what tables want to know of them."""

    def describe(of: tuple[Own, Estimate]) -> Any:
        mine = own_rows(rows, of[0]).random_only
        params, u = of[1].params, of[1].u
        about = natural(mine, params), bounds.at_bound(mine, params, u)
        if not modes:
            return *about, None, None
        keeps = choose(mine).keeps
        variance = None if keeps else effects.conditional_variances(mine, params, u)
        return *about, effects.modes(mine, params, u), variance

    about = in_blocks(describe, (own, estimate), count, width)
    return Outcome(estimate if modes else dataclasses.replace(estimate, u=()), *about)


def _laid(slots: Slots, given: Given) -> Own:
    """In chunk order: (model, slot, chunk)."""

    def laid(values: Array | None) -> Array | None:
        return None if values is None else values[:, slots.rows]

    own = jax.tree.map(laid, Own(*given))
    if own.multiplier is None:
        return own
    return own._replace(multiplier=own.multiplier * slots.filled)
