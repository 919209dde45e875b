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
from jaxglmm.frontend import programs
from jaxglmm.frontend.many.design import Design
from jaxglmm.frontend.many.program import beside_others
from jaxglmm.frontend.many.sizes import Needs, needs_of
from jaxglmm.frontend.many.work import AbstractWork
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
class Walks(AbstractWork):
    """Walks from one maximum.

    Attributes:
        design: of the fit.
        frame: its maximum.
        aims: where to, along a leading axis.
    """

    design: Design
    frame: Frame
    aims: Aim

    def __len__(self) -> int:
        return len(self.aims.zeta)

    @property
    def rows(self) -> Rows:
        return self.design.rows

    @property
    def num_rows(self) -> int:
        return self.design.problem.num_obs

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
        """A few steps of a few walks: those of a single fit."""
        single = programs.compiler_options(self.shared, self.rows.family.num_nodes)
        return {**programs.SIDE_BY_SIDE, **single}

    def codes(self, outcome: Limits) -> np.ndarray:
        lost = np.asarray(outcome.reached.code) == LOST
        return np.where(lost, status.MAX_ITERATIONS, status.CONVERGED)

    def given(self, start: int, stop: int, size: int) -> tuple[Aim, np.ndarray]:
        place = np.minimum(np.arange(start, start + size), stop - 1)
        own = jax.tree.map(lambda leaf: leaf[place], self.aims)
        return own, np.zeros(stop - start, np.int64)
