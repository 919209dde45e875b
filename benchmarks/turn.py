"""How a turn begins."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

_UNTIMED_SECONDS = 0.06


def begin(fit: Callable[[], Any]) -> None:
    """After another side's turn caches are cold, and a second core takes some 50 ms to join in
    again: `fit` is repeated untimed for that long. No one's garbage is another's."""
    gc.collect()
    began = time.perf_counter()
    while time.perf_counter() - began < _UNTIMED_SECONDS:
        fit()
