"""The threads of the BLAS library behind XLA's LAPACK calls on a CPU.

jaxlib calls SciPy's LAPACK, whose OpenBLAS shares matrices of a hundred rows among threads of its
own that wait by spinning, and take the cores from XLA's. With one thread a call (two cores, a model
of 56 x 8 crossed with 32 x 8 random effects) a fit takes 0.7 instead of 1.2 s, and a batch on both
cores 0.5 instead of 1.1 s a fit.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_held = threading.Lock()


@contextmanager
def one_thread() -> Iterator[None]:
    """BLAS libraries use one thread a call meanwhile, for all threads of the process.

    Who comes while another is inside leaves things to that one, which puts back what it found.
    """
    if not _held.acquire(blocking=False):
        yield
        return
    try:
        with _controller().limit(limits=1, user_api="blas"):
            yield
    finally:
        _held.release()


@functools.cache
def _controller() -> Any:
    """Of the libraries that are loaded; importing JAX loads the one it calls."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")
