"""A progress bar: models a second, failures, time left."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import Any

import numpy as np

from jaxglmm import status as codes

_LONG = 1.0  # second: work that is over before is not reported


class Progress:
    """Counts models on standard error; several threads may add to it.

    wanted: None for a bar in a terminal or notebook, once the work has taken a second.
    """

    def __init__(self, total: int, wanted: bool | None) -> None:
        self._bar: Any = None
        self._failed = 0
        self._lock = threading.Lock()
        if wanted or (wanted is None and _is_watched()):
            from tqdm import tqdm

            delay = 0.0 if wanted else _LONG
            self._bar = tqdm(total=total, unit=" fits", delay=delay, file=sys.stderr)

    def add(self, status: np.ndarray) -> None:
        """Models that ended with these codes."""
        if self._bar is not None:
            self.count(len(status), int(np.sum(~np.isin(status, codes.ENDED_WELL))))

    def count(self, number: int, failed: int) -> None:
        """So many models, of which some failed."""
        if self._bar is None:
            return
        with self._lock:
            self._failed += failed
            self._bar.set_postfix({"failed": self._failed}, refresh=False)
            self._bar.update(number)

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()


def _is_watched() -> bool:
    return "ipykernel" in sys.modules or sys.stderr.isatty()
