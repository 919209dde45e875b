"""Whole levels of the outermost grouping factor, drawn with replacement: refits to such tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jaxglmm.batch import Clusters, Part, Shape, find_clusters
from jaxglmm.design import Problem
from jaxglmm.frontend.batch import Batch
from jaxglmm.frontend.many.design import Design, Fitted, make_design
from jaxglmm.frontend.many.execution import carry_out
from jaxglmm.frontend.many.progress import Progress
from jaxglmm.frontend.many.sizes import Needs, needs_of_part
from jaxglmm.frontend.many.table import AbstractParts
from jaxglmm.pattern import Independent, Nested
from jaxglmm.rows import Rows, arrange

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM

Draw = Callable[[int, int], np.ndarray]
"""(first, number) -> the clusters of these draws, (draw, cluster)."""

_NUMBERS = 1 << 20  # of drawn clusters looked at together


@dataclass(frozen=True, eq=False)
class Draws(AbstractParts):
    """Tables made of drawn clusters.

    Attributes:
        design: of the table that is drawn from; table: its rows, in its own layout.
        clusters: of its rows.
        counted: rows of each that count.
        draw: which clusters a draw has.
        number: of draws.
        room: the shape that all draws fit in.
    """

    design: Design
    table: Rows
    clusters: Clusters
    counted: np.ndarray
    draw: Draw
    number: int
    room: Shape

    def __len__(self) -> int:
        return self.number

    @property
    def rows(self) -> Rows:
        return self.table

    @property
    def needs(self) -> Needs:
        return needs_of_part(self.design.problem)

    @property
    def shape(self) -> Shape:
        return self.room

    def given(self, start: int, stop: int, size: int) -> tuple[Part, np.ndarray]:
        which = self.draw(start, stop - start)
        filled = np.concatenate([which, np.repeat(which[:1], size - len(which), axis=0)])
        parts = self.clusters.parts(filled, self.shape, one_to_one=self.rows.one_to_one)
        return parts, self.counted[which].sum(axis=1)


def refit_draws(
    fit: GLMM, nesting: Nested | None, draw: Draw, number: int, progress: bool | None
) -> Batch:
    """The model of a fit on tables of drawn levels of its outermost factor, or of drawn rows where
    it has no factors. `nesting`: of its factors, if they are several."""
    problem = fit.problem.replace(pattern=nesting or Independent())
    design = make_design(problem)
    rows = arrange(design.problem, xp=np)
    clusters, counted = _clusters(design.problem, rows)
    work = Draws(design, rows, clusters, counted, draw, number, _shape(clusters, draw, number))
    with Progress(number, progress) as report:
        done = carry_out(work, fit.arguments["control"], chunk=None, modes=False, report=report)
    return Batch(fit.formula, range(number), fit.problem, fit.labels, Fitted(design, *done))


def _clusters(problem: Problem, rows: Rows) -> tuple[Clusters, np.ndarray]:
    """Of the rows of a problem, and how many rows of each count."""
    layout, levels = problem.layout, np.asarray(problem.layout.levels)
    of_level = _outermost_of(problem)
    of_chunk = of_level[0][levels] if of_level else levels
    number = problem.groupings[-1].num_levels if of_level else len(levels)
    parents = getattr(problem.pattern, "parents", ())
    counted = (np.broadcast_to(rows.multiplier, layout.rows.shape) > 0).sum(axis=0)
    return (
        find_clusters(of_chunk, levels, of_level, parents, number),
        np.bincount(of_chunk, counted, number).astype(np.int64),
    )


def _outermost_of(problem: Problem) -> list[np.ndarray]:
    """The level of the outermost factor that each level lies in, by factor."""
    if not problem.groupings:
        return []
    last = len(problem.groupings) - 1
    pattern, own = problem.pattern, np.arange(problem.groupings[-1].num_levels)
    if not isinstance(pattern, Nested):
        return [own]
    return [*(np.asarray(pattern.ancestors(k, last)) for k in range(last)), own]


def _shape(clusters: Clusters, draw: Draw, number: int) -> Shape:
    """Room for the largest of all draws."""
    step = max(_NUMBERS // len(clusters.chunks.number), 1)
    largest = [
        clusters.sizes(draw(first, min(step, number - first))).max(axis=0)
        for first in range(0, number, step)
    ]
    chunks, *levels = map(int, np.max(largest, axis=0))
    return Shape(chunks, tuple(levels))
