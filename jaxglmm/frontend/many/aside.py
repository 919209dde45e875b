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

    def take(self, *, rest: bool = False) -> Waiting | None:
        """A micro-batch of models if there are as many, or the rest of them; else None."""
        with self._lock:
            number = sum(map(len, self._places))
            if number == 0 or (number < self._size and not rest):
                return None
            places = np.concatenate(self._places)
            given = jax.tree.map(lambda *parts: np.concatenate(parts), *self._given)
            now, later = slice(self._size), slice(self._size, None)
            self._places, self._given = [], []
            if number > self._size:
                self._places = [places[later]]
                self._given = [jax.tree.map(lambda leaf: leaf[later], given)]
        places = places[now]
        index = np.append(np.arange(len(places)), np.zeros(self._size - len(places), int))
        return Waiting(places, jax.tree.map(lambda leaf: leaf[index], given))
