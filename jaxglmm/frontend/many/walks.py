"""Walks to the limits of profiles, as work of a batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import Array

from jaxglmm import status
from jaxglmm.batch.profiles import Aim, Limits, find_limits
from jaxglmm.control import Control
from jaxglmm.frontend.many.design import AbstractDesignWork
from jaxglmm.frontend.many.program import beside_others
from jaxglmm.frontend.many.sizes import Needs, needs_of
from jaxglmm.inference.level import LOST, Frame
from jaxglmm.rows import Rows


def walk_micro_batch(
    rows: Rows,
    frame: Frame,
    aims: Aim,
    count: Array,
    *,
    control: Control,
    width: int,
    modes: bool,
) -> Limits:
    """The first `count` walks of a micro-batch, whose size is a multiple of `width`."""
    del control, modes  # of fits
    whole = beside_others(functools.partial(find_limits, width=width))
    return whole(rows, frame, aims, count)


@dataclass(frozen=True, eq=False)
class Walks(AbstractDesignWork):
    """Walks from one maximum.

    Attributes:
        frame: the maximum of the fit.
        aims: where to, along a leading axis.
    """

    frame: Frame
    aims: Aim

    def __len__(self) -> int:
        return len(self.aims.zeta)

    @property
    def needs(self) -> Needs:
        return needs_of(self.design.problem, 0)

    @property
    def program(self) -> Callable[..., Limits]:
        return walk_micro_batch

    @property
    def shared(self) -> tuple[Any, ...]:
        return self.rows, self.frame

    @property
    def options(self) -> dict[str, Any]:
        return self.options_of_few  # a few steps of a few walks

    def codes(self, outcome: Limits) -> np.ndarray:
        lost = np.asarray(outcome.reached.code) == LOST
        return np.where(lost, status.MAX_ITERATIONS, status.CONVERGED)

    def given(self, start: int, stop: int, size: int) -> tuple[Aim, np.ndarray]:
        place = np.minimum(np.arange(start, start + size), stop - 1)
        own = jax.tree.map(lambda leaf: leaf[place], self.aims)
        return own, np.zeros(stop - start, np.int64)
