"""Factorisations of the penalised Hessian: one structure a file, chosen from the design."""

from __future__ import annotations

import jax.numpy as jnp

from jaxglmm.factor.base import AbstractFactor
from jaxglmm.factor.block import BlockFactor, choose_block
from jaxglmm.factor.bordered import BorderedFactor
from jaxglmm.factor.crossed import CrossedFactor
from jaxglmm.factor.dense import DenseFactor
from jaxglmm.factor.empty import EmptyFactor
from jaxglmm.factor.iterative import IterativeFactor
from jaxglmm.factor.nested import NestedFactor
from jaxglmm.factor.paired import PairedFactor
from jaxglmm.pattern import Crossed, Iterative, Nested, Paired
from jaxglmm.rows import Rows


def choose(rows: Rows) -> AbstractFactor:
    """The cheapest structure that carries this design."""
    if rows.fixed_inside:
        free = rows.free[jnp.asarray(rows.inside)]
        return BorderedFactor(choose(rows.random_only), free, rows.method == "reml")
    if not rows.groupings:
        return EmptyFactor()
    match rows.pattern:
        case Nested():
            return NestedFactor(rows.groupings, rows.pattern)
        case Paired():
            return PairedFactor(rows.groupings, rows.pattern)
        case Iterative():
            return IterativeFactor(rows.groupings, rows.pattern)
        case Crossed():
            return CrossedFactor(rows.groupings)
    return choose_block(rows)


__all__ = [
    "AbstractFactor",
    "BlockFactor",
    "BorderedFactor",
    "CrossedFactor",
    "DenseFactor",
    "EmptyFactor",
    "IterativeFactor",
    "NestedFactor",
    "PairedFactor",
    "choose",
]
