"""Models that are parts of one table, fitted in common shapes."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxglmm.batch import Clusters, Part, Shape, find_clusters
from jaxglmm.design import Grouping, Problem
from jaxglmm.frontend.many.program import Outcome, maximise_parts
from jaxglmm.frontend.many.sizes import Needs, needs_of_part
from jaxglmm.frontend.many.split import Levels, Split, at_rows, levels_of
from jaxglmm.frontend.many.work import AbstractWork
from jaxglmm.layout import make_layout
from jaxglmm.pattern import Crossed, Independent, find_nesting
from jaxglmm.pattern.plan import MAX_BORDER, MAX_INNER
from jaxglmm.rows import Rows, arrange


class Table(NamedTuple):
    """The rows of some models in one layout, each model a cluster of it."""

    rows: Rows
    clusters: Clusters
    nested: bool


def make_table(of: Split, problem: Problem, which: np.ndarray, *, nested: bool) -> Table:
    """The rows of these models (model,); `problem` has the columns of every model.

    Factors are nested in all of these models, or taken for crossed.
    """
    index = np.flatnonzero(which[of.model])
    problem, model = at_rows(problem, index), of.model[index]
    own = [_some(levels, index) for levels in of.levels]
    codes = [levels.code.astype(np.int32) for levels in own]
    num_levels = [len(levels.model) for levels in own]
    within = codes if nested else [codes[0], *(v.within.astype(np.int32) for v in own[1:])]
    groupings = tuple(
        dataclasses.replace(g, codes=code, num_levels=size)
        for g, code, size in zip(problem.groupings, within, num_levels, strict=True)
    )
    several = len(codes) > 1
    nesting = find_nesting(codes, num_levels) if nested and several else None
    layout = make_layout(len(model), codes[0], num_levels[0]) if own else make_layout(len(model))
    problem = problem.replace(
        groupings=groupings,
        layout=layout,
        pattern=nesting or (Crossed() if several else Independent()),
    )
    of_level = [levels.model for levels in own]
    clusters = find_clusters(
        of_level[0][layout.levels] if own else model,
        layout.levels,
        of_level,
        nesting.parents if nesting is not None else (),
        of.num_models,
    )
    return Table(arrange(problem, xp=np), clusters, nested)


def _some(levels: Levels, index: np.ndarray) -> Levels:
    """Of some rows alone."""
    kept, code = np.unique(levels.code[index], return_inverse=True)
    return levels_of(code, levels.model[kept], levels.of_table[kept], len(levels.first))


class Bucket(NamedTuple):
    """Models of about one size, and a shape that all of them fit in."""

    models: np.ndarray
    shape: Shape


def buckets(table: Table, models: np.ndarray) -> Iterator[Bucket]:
    """Models by their size, none of them less than half of another one in its bucket: chunks, and
    levels of all factors but the first, whose levels are no more than chunks."""
    sizes = table.clusters.sizes(models[:, None])
    judged = np.delete(sizes, 1, axis=1) if sizes.shape[1] > 1 else sizes
    halvings = np.floor(np.log2(judged.max(axis=0) / np.maximum(judged, 1))).astype(int)
    _, of_model = np.unique(halvings, axis=0, return_inverse=True)
    for number in range(int(of_model.max()) + 1):
        mine = of_model == number
        chunks, *levels = map(int, sizes[mine].max(axis=0))
        yield Bucket(models[mine], Shape(chunks, tuple(levels)))


def is_too_large(table: Table, shape: Shape, groupings: tuple[Grouping, ...]) -> bool:
    """Whether a dense matrix of crossed factors of this shape is one."""
    if table.nested:
        return False
    columns = [g.num_columns for g in groupings]
    inner = sum(n * q for n, q in zip(shape.levels[1:], columns[1:], strict=True))
    return inner > MAX_INNER or shape.levels[0] * columns[0] * inner > MAX_BORDER


class AbstractParts(AbstractWork):
    """Models that are made of parts of one table, `rows`."""

    @property
    @abc.abstractmethod
    def shape(self) -> Shape:
        """That all of them fit in."""

    @property
    def num_rows(self) -> int:
        return self.shape.chunks * len(self.rows.y)

    @property
    def program(self) -> Callable[..., Outcome]:
        return maximise_parts

    @property
    def num_levels(self) -> tuple[int, ...]:
        return self.shape.levels

    @property
    def takes_raised(self) -> bool:
        return True

    @property
    def shared(self) -> tuple[Rows]:
        return (self.rows,)

    @property
    def static(self) -> dict[str, Any]:
        pairs = zip(self.rows.groupings, self.shape.levels, strict=True)
        groupings = tuple(dataclasses.replace(g, num_levels=size) for g, size in pairs)
        return {"groupings": groupings, "one_to_one": self.rows.one_to_one}


@dataclass(frozen=True, eq=False)
class Cut(AbstractParts):
    """The models of a bucket.

    Attributes:
        table: their rows.
        bucket: which they are.
        free: columns with a coefficient, (model of the table, fixed).
        counted: rows of each model of the table that count.
        largest: the problem of one of them without layout.
    """

    table: Table
    bucket: Bucket
    free: np.ndarray
    counted: np.ndarray
    largest: Problem

    def __len__(self) -> int:
        return len(self.bucket.models)

    @property
    def rows(self) -> Rows:
        return self.table.rows

    @property
    def shape(self) -> Shape:
        return self.bucket.shape

    @property
    def needs(self) -> Needs:
        return needs_of_part(self.largest, "auto" if self.table.nested else "crossed")

    def given(self, start: int, stop: int, size: int) -> tuple[Part, np.ndarray]:
        which = self.bucket.models[start:stop]
        filled = np.append(which, np.repeat(which[:1], size - len(which)))
        parts = self.table.clusters.parts(
            filled[:, None], self.bucket.shape, one_to_one=self.rows.one_to_one
        )
        return parts._replace(free=self.free[filled]), self.counted[which]
