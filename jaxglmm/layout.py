"""How rows lie in memory: chunks of equal width, each within one level of the leading factor.

Sums over a level are then dense sums over a chunk, which fuse with the arithmetic before them and
vectorise on any device, followed by a short segment sum over chunks (none at all when every level
fits one chunk). The chunk axis is the last one: it is the long one, so inner loops are long and
neighbouring threads read neighbouring numbers. Slots that no row fills repeat a row of the same
level with multiplicity zero, so that every intermediate stays finite.
"""

from __future__ import annotations

import dataclasses

import jax
import numpy as np

from jaxglmm.arrays import AnyArray

# Cost of one chunk's gather and scatter-add, in units of one row's share of a pass (measured on
# CPU: 2 ns a scatter-add against 5-10 ns a row, several of each in a pass).
_CHUNK_COST = 2.0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Layout:
    """The arrangement of rows as chunks.

    Attributes:
        rows: row that fills each slot; shape (slot, chunk).
        filled: whether the slot holds a row of its own or only pads; shape (slot, chunk).
        levels: level of the leading factor of each chunk, ascending; shape (chunk,).
        one_to_one: chunk k is level k, static: no segment sum is needed.
    """

    rows: AnyArray
    filled: AnyArray
    levels: AnyArray
    one_to_one: bool = dataclasses.field(metadata={"static": True})


def bucket(size: int, *, fine: bool = False) -> int:
    """The next shape of a coarse grid, so that similar data sets share a compiled program.

    Steps are a half of a power of two up to 64, a quarter up to 4096 and a sixteenth above: padding
    wastes at most 50 % of a tiny problem, 25 % of a small one and 6 % of a large one. A `fine` grid
    has sixteenths from 256 on, for sizes that cost enters with the third power.
    """
    small = 256 if fine else 4096
    return _round_up(size, 2 if size <= 64 else 3 if size <= small else 5)


def _round_up(size: int, digits: int) -> int:
    """The next number with `digits` binary digits followed by zeros."""
    step = 1 << max(size.bit_length() - digits, 0)
    return -(-size // step) * step


def make_layout(
    num_obs: int, codes: np.ndarray | None = None, num_levels: int = 1, *, padded: bool = False
) -> Layout:
    """Plan the chunks for rows whose leading factor has these codes.

    Args:
        num_obs: number of rows.
        codes: level of each row in the leading grouping factor, or None without random effects.
        num_levels: number of levels of that factor.
        padded: round the number of chunks up to `bucket`; added chunks hold no row. Levels must
            then be counted as `bucket(num_levels)` too.
    """
    if codes is None:
        # No sums over levels: every row is a chunk of its own.
        codes, num_levels = np.arange(num_obs, dtype=np.int32), num_obs
    codes = np.asarray(codes)
    sizes = np.bincount(codes, minlength=num_levels)
    width = _width(sizes)
    chunks = -(-sizes // width)
    one_to_one = bool(np.all(chunks <= 1))
    if one_to_one:
        chunks = np.ones_like(chunks)
    level, order = _by_level(codes)
    first_chunk = np.cumsum(chunks) - chunks
    first_row = np.cumsum(sizes) - sizes
    position = np.arange(num_obs) - first_row[level]
    total = int(chunks.sum())
    num_chunks = _padded_chunks(total, num_levels, one_to_one) if padded else total
    levels = np.zeros(num_chunks, np.int32)
    levels[:total] = np.repeat(np.arange(num_levels, dtype=np.int32), chunks)
    levels[total:] = num_levels - 1 if not one_to_one else np.arange(total, num_chunks)
    rows = np.zeros((width, num_chunks), np.int32)
    # A level without rows (an empty one) borrows row 0; a padding slot its level's first row.
    rows[:, :total] = order[np.minimum(first_row, num_obs - 1)][levels[:total]]
    filled = np.zeros((width, num_chunks), bool)
    slot = (position % width, first_chunk[level] + position // width)
    rows[slot] = order
    filled[slot] = True
    return Layout(rows=rows, filled=filled, levels=levels, one_to_one=one_to_one)


def _by_level(codes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The levels in ascending order and their rows, those of a level in the order of the data.

    One sort of numbers that hold both: seven times as fast as a stable `argsort`.
    """
    both = (codes.astype(np.int64) << 32) | np.arange(len(codes), dtype=np.int64)
    both.sort()
    return both >> 32, (both & 0xFFFFFFFF).astype(np.int32)


def _padded_chunks(total: int, num_levels: int, one_to_one: bool) -> int:
    return bucket(num_levels) if one_to_one else bucket(total)


def _width(sizes: np.ndarray) -> int:
    """The chunk width on the bucket grid with the least cost: slots plus chunk overheads.

    A few long chunks would leave nothing to vectorise over: at least 64 chunks from 1024 rows on.
    """
    largest = int(sizes.max(initial=1))
    limit = min(largest, max(16, int(sizes.sum()) // 64))
    best_width, best_cost, width = 1, np.inf, 1
    while True:
        num_chunks = int((-(-sizes // width)).sum())
        cost = num_chunks * (width + (_CHUNK_COST if width < largest else 0.0))
        if cost < best_cost:
            best_width, best_cost = width, cost
        if width >= limit:
            return best_width
        # From 8 on a multiple of 4, which `predictor.reduce` can halve twice.
        width = _round_up(width + 1, 2 if 8 <= width < 16 else 3)
