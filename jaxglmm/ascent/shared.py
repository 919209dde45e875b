"""Information that the levels of two factors share: sums of its squares over pairs of levels."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxglmm.predictor import expand, total
from jaxglmm.rows import Rows

_TABLE = 1 << 14


class Columns(NamedTuple):
    """The columns of a factor as their scores see them; arrays are (column, level).

    Attributes:
        scores: sum w z r over the rows of a level.
        information: I = sum w z^2.
        sums: sum w z, what the column shares with a constant.
        trust: weight g of a level.
        own: sum g I^2; shape (column,).
        centred: the share of `own` that is left beside a constant; shape (column,).
    """

    scores: Array
    information: Array
    sums: Array
    trust: Array
    own: Array
    centred: Array


def shared_squares(
    rows: Rows, pair: tuple[int, int], of: tuple[Columns, Columns], weight: Array
) -> tuple[Array, Array]:
    """sum_l g_l sum_r I_lr^2, I_lr = sum w z_c z_d over the rows of level l of c and r of d.

    The mean is taken out, as a fixed intercept takes it out of the scores: levels that meet all
    levels of the other factor alike have none of its variance in their scores. What a factor
    keeps beside a constant is less than one as well: the smaller share counts as whole, so that
    nested factors lose nothing.

    Args:
        rows: the rows.
        pair: the two factors.
        of: their columns.
        weight: w of each predictor; shape (predictor, slot, chunk).

    Returns:
        By columns c of the first factor, l over its levels, and d of the second; and the other way
        round. Zero for columns that feed different predictors.
    """
    tiny = jnp.finfo(rows.dtype).tiny
    feeds = [jnp.asarray(rows.groupings[k].predictors) for k in pair]
    places = _places(rows, pair)

    def columns(index: tuple[Array, Array]) -> Array:
        a = feeds[0][index[0]]
        product = rows.Z[pair[0]][index[0]] * rows.Z[pair[1]][index[1]] * weight[a]
        constant = jnp.maximum(total(rows, weight[a]), tiny)
        sums = [one.sums[i] for one, i in zip(of, index, strict=True)]
        whole = jnp.minimum(of[0].centred[index[0]], of[1].centred[index[1]])

        def one_way(near: int, far: int) -> Array:
            k, m, g = pair[near], pair[far], of[near].trust[index[near]]
            c, d = sums[near], sums[far]
            squares = places.squares(product * expand(rows, k, jnp.sqrt(g)))
            met = total(rows, product * expand(rows, k, g * c) * expand(rows, m, d))
            mean = jnp.sum(g * c * c) * jnp.sum(d * d) / constant
            centred = jnp.maximum(squares - (2.0 * met - mean) / constant, 0.0)
            return jnp.minimum(centred / jnp.maximum(whole, tiny), squares)

        both = jnp.stack([one_way(0, 1), one_way(1, 0)])
        return jnp.where(a == feeds[1][index[1]], both, 0.0)

    shape = (feeds[0].shape[0], feeds[1].shape[0])
    grid = jnp.meshgrid(*(jnp.arange(n) for n in shape), indexing="ij")
    values = jax.lax.map(columns, (grid[0].ravel(), grid[1].ravel()))
    return values[:, 0].reshape(shape), values[:, 1].reshape(shape).T


class _Places(NamedTuple):
    """Where the rows of each pair of levels are summed, and with which sign."""

    place: Array
    sign: Array
    size: int

    def squares(self, values: Array) -> Array:
        """The sum over pairs of levels of the square of the sum of their rows' values."""
        signed = jnp.ravel(self.sign * values)
        sums = jax.ops.segment_sum(signed, self.place.ravel(), self.size)
        return jnp.sum(sums * sums)


def _places(rows: Rows, pair: tuple[int, int]) -> _Places:
    """A place for each pair of levels.

    Pairs too many for a table share its places at random, each with a random sign: what two of
    them add to a square by meeting has mean zero, and the sum of squares a relative error of
    sqrt(2 / places), 1 % (Charikar, Chen & Farach-Colton 2002, Theor. Comput. Sci. 312, 3-15).
    """
    k, m = (rows.groupings[f].num_levels for f in pair)
    first, second = (
        jnp.broadcast_to(expand(rows, f, jnp.arange(n, dtype=jnp.uint32)), rows.y.shape)
        for f, n in zip(pair, (k, m), strict=True)
    )
    if k * m <= _TABLE:
        place = first * jnp.uint32(m) + second
        return _Places(place.astype(jnp.int32), jnp.ones((1, 1), rows.dtype), k * m)
    mixed = _scramble(first * jnp.uint32(0x9E3779B1) + _scramble(second))
    sign = 1.0 - 2.0 * (mixed >> 31).astype(rows.dtype)
    return _Places((mixed % jnp.uint32(_TABLE)).astype(jnp.int32), sign, _TABLE)


def _scramble(x: Array) -> Array:
    """A fixed permutation of the 32-bit numbers without pattern (MurmurHash3's finaliser)."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
