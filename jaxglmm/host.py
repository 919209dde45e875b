"""Arrays of the host, read and written a part at a time on all cores.

Memory that a process touches for the first time costs more than the arithmetic on it: page faults
take 0.1 to 0.4 s a GiB, on a virtual machine that has lent its free memory out 2 s and more. At
10,000,000 rows every temporary of full length is fresh; those of a part stay in the cache and are
used again.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

_ALIGNMENT = 64  # bytes
_PART = 1 << 17  # entries
_WORTH_A_THREAD = 16  # parts: fewer take as long as it does to start a thread and wait for it
_MOST_CORES = 8  # beyond these memory is the limit

T = TypeVar("T")


def by_parts(function: Callable[[slice], T], size: int, width: int = 1) -> list[T]:
    """function(part) for the parts of range(size), in their order; a row has `width` entries.

    Several at once where there are many: NumPy leaves the interpreter to others while it computes.
    """
    step = max(_PART // max(width, 1), 1)
    parts = [slice(start, min(start + step, size)) for start in range(0, size, step)]
    cores = min(len(parts) // _WORTH_A_THREAD, num_cores(), _MOST_CORES)
    if cores < 2:
        return [function(part) for part in parts]

    def share(k: int) -> list[T]:
        return [function(part) for part in parts[k::cores]]

    with ThreadPoolExecutor(cores - 1) as pool:
        others = [pool.submit(share, k) for k in range(1, cores)]
        shares = [share(0), *(other.result() for other in others)]
    return [shares[i % cores][i // cores] for i in range(len(parts))]


def num_cores() -> int:
    """The cores that this process may use."""
    own = getattr(os, "sched_getaffinity", None)
    return len(own(0)) if own else os.cpu_count() or 1


def everywhere(test: Callable[..., np.ndarray], *arrays: np.ndarray) -> bool:
    """Whether the test holds of all entries of these arrays of one length, without a mask of all.

    A few entries alone answer most often where the answer is no.
    """
    failed: list[slice] = []

    def look(part: slice) -> None:
        if not failed and not np.all(test(*(a[part] for a in arrays))):
            failed.append(part)

    look(slice(0, 100))
    if not failed:
        by_parts(look, len(arrays[0]), max(math.prod(a.shape[1:]) for a in arrays))
    return not failed


def empty(shape: int | tuple[int, ...], dtype: Any = np.float64) -> np.ndarray:
    """`np.empty` where XLA takes it as it is.

    Programs on a CPU read host arrays in place if they begin at a multiple of 64 bytes, which those
    of NumPy do not, and copy others: at 10,000,000 rows that is most of what a call costs beside
    the fit.
    """
    shape = (shape,) if isinstance(shape, int) else shape
    size = math.prod(shape) * np.dtype(dtype).itemsize
    raw = np.empty(size + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + size].view(dtype).reshape(shape)


def copied(values: np.ndarray, dtype: Any = None) -> np.ndarray:
    """A copy of an array (n,), made like `empty`."""
    out = empty(values.shape, values.dtype if dtype is None else dtype)
    by_parts(lambda part: np.copyto(out[part], values[part], casting="unsafe"), len(values))
    return out


def gather(values: np.ndarray, index: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """values[index] along the first axis, in `out` or made like `empty`; indices are in range.

    index has shape (n,) or (slot, n); axes of values behind the first come first in the result.
    """
    values = np.ascontiguousarray(values)
    rest = values.shape[1:]
    out = empty((*rest, *index.shape), values.dtype) if out is None else out

    def take(part: slice) -> None:
        # With mode "raise" NumPy would gather into a buffer first.
        found = values.take(index[..., part], axis=0, mode="clip")
        out[..., part] = np.moveaxis(found, -1, 0) if rest else found

    by_parts(take, index.shape[-1], index.size // max(index.shape[-1], 1) * math.prod(rest))
    return out


def count(codes: np.ndarray, num_levels: int) -> np.ndarray:
    """How often each of the codes 0, 1, ..., num_levels - 1 is there; int64, (level,).

    NumPy counts 64-bit numbers, to which it turns all others first: a few parts, each with a table
    of all levels.
    """
    step = max(8 * _PART, num_levels)
    counts = np.zeros(num_levels, np.int64)
    for start in range(0, len(codes), step):
        counts += np.bincount(codes[start : start + step], minlength=num_levels)
    return counts


def is_constant(values: np.ndarray) -> bool:
    """Whether all entries along the first axis are the same; a look at a few answers most often."""
    if values.strides[0] == 0:
        return True  # one entry in memory
    first = values[:1]
    return everywhere(lambda part: part == first, values)
