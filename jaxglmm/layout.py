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
from jaxglmm.host import by_parts, count, empty, everywhere

# Cost of one chunk's gather and scatter-add, in units of one row's share of a pass (measured on
# CPU: 2 ns a scatter-add against 5-10 ns a row, several of each in a pass).
_CHUNK_COST = 2.0
_REGISTER = 8  # doubles of the widest vector registers of a CPU


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

    def padded(self, num_levels: int) -> Layout:
        """The same in shapes of the coarse grid of `bucket`, with so many levels.

        Added chunks hold no row.
        """
        return self._with_chunks(bucket(len(self.levels)), num_levels)

    def aligned(self, num_levels: int) -> tuple[Layout, int]:
        """The same without slots that no chunk fills, and with so many chunks that every member of
        a batch begins where a vector register does; and the number of levels then."""
        used = int(np.flatnonzero(self.filled.any(axis=1))[-1]) + 1
        cut = dataclasses.replace(self, rows=self.rows[:used], filled=self.filled[:used])
        added = -len(self.levels) % _REGISTER
        num_levels += added if self.one_to_one else min(added, 1)
        return cut._with_chunks(len(self.levels) + added, num_levels), num_levels

    def _with_chunks(self, num_chunks: int, num_levels: int) -> Layout:
        held = len(self.levels)
        rows = empty((len(self.rows), num_chunks), np.int32)
        filled = empty(rows.shape, bool)
        levels = np.full(num_chunks, num_levels - 1, np.int32)
        rows[:, :held], filled[:, :held], levels[:held] = self.rows, self.filled, self.levels
        rows[:, held:], filled[:, held:] = 0, False
        if self.one_to_one:
            levels[held:] = np.arange(held, num_chunks)
        return dataclasses.replace(self, rows=rows, filled=filled, levels=levels)


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


def make_layout(num_obs: int, codes: np.ndarray | None = None, num_levels: int = 1) -> Layout:
    """Plan the chunks for rows whose leading factor has these codes.

    Args:
        num_obs: number of rows.
        codes: level of each row in the leading grouping factor, or None without random effects.
        num_levels: number of levels of that factor.
    """
    if codes is None:
        # No sums over levels: every row is a chunk of its own.
        codes, num_levels = np.arange(num_obs, dtype=np.int32), num_obs
    codes = np.asarray(codes)
    sizes = count(codes, num_levels)
    width = _width(sizes)
    chunks = -(-sizes // width)
    one_to_one = bool(np.all(chunks <= 1))
    if one_to_one:
        chunks = np.ones_like(chunks)
    levels = np.repeat(np.arange(num_levels, dtype=np.int32), chunks)
    rows, filled = empty((width, len(levels)), np.int32), empty((width, len(levels)), bool)
    first_chunk, first_row = np.cumsum(chunks) - chunks, np.cumsum(sizes) - sizes
    order, slots = _rows_by_level(codes), np.arange(width)[:, None]

    def lay(part: slice) -> None:
        level = levels[part]
        before = width * (np.arange(part.start, part.stop) - first_chunk[level])
        own = np.less(slots, sizes[level] - before, out=filled[:, part])
        first = first_row[level]
        # A padding slot borrows its level's first row, a level without rows that of another one.
        place = np.where(own, slots + (first + before), np.minimum(first, num_obs - 1))
        rows[:, part] = place if order is None else order.take(place, mode="clip")

    by_parts(lay, len(levels), width)
    return Layout(rows=rows, filled=filled, levels=levels, one_to_one=one_to_one)


def _rows_by_level(codes: np.ndarray) -> np.ndarray | None:
    """The rows by ascending level, those of a level in the order of the data; None if they are.

    The low halves of numbers that hold level and row, whose sort is seven times as fast as a
    stable `argsort`.
    """
    if everywhere(np.less_equal, codes[:-1], codes[1:]):
        return None
    both = np.empty(len(codes), np.int64)

    def join(part: slice) -> None:
        np.left_shift(codes[part], 32, out=both[part], dtype=np.int64)
        both[part] |= np.arange(part.start, part.stop)

    by_parts(join, len(codes))
    both.sort()
    return both


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
