"""Models of a batch that are looked at again, put aside until there is a micro-batch of them."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import jax
import numpy as np


class Waiting(NamedTuple):
    """Some models: their places in the batch, and what they have for themselves, filled up with
    the first of them to a micro-batch."""

    places: np.ndarray
    given: Any


class Aside:
    """Several threads put models aside and take them."""

    def __init__(self, size: int) -> None:
        """size: models of a micro-batch."""
        self._size, self._lock = size, threading.Lock()
        self._places: list[np.ndarray] = []
        self._given: list[Any] = []

    def put(self, places: np.ndarray, given: Any) -> None:
        """Models of these places; `given` has a leading model axis."""
        if len(places):
            with self._lock:
                self._places.append(places)
                self._given.append(given)

    def __len__(self) -> int:
        with self._lock:
            return sum(map(len, self._places))

    def take(self, number: int) -> Waiting | None:
        """The first so many models; None where there are fewer."""
        with self._lock:
            places = np.concatenate([np.zeros(0, int), *self._places])
            if len(places) < number:
                return None
            given = jax.tree.map(lambda *parts: np.concatenate(parts), *self._given)
            left, rest = jax.tree.map(lambda leaf: leaf[number:], given), places[number:]
            self._places, self._given = ([rest], [left]) if len(rest) else ([], [])
        index = np.append(np.arange(number), np.zeros(self._size - number, int))
        return Waiting(places[:number], jax.tree.map(lambda leaf: leaf[index], given))
