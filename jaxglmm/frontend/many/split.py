"""A table cut into models: rows model by model, levels that are each model's own, its columns."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from jaxglmm.design import Problem
from jaxglmm.inference.basis import Basis, change_basis
from jaxglmm.rank import independent_columns


class Levels(NamedTuple):
    """The levels of a grouping factor, those of one model apart from those of others.

    Attributes:
        code: of each row, ascending by model.
        model: that each level belongs to.
        of_table: the level of the table that it is.
        first: of each model, its first one.
        number: how many each model has.
    """

    code: np.ndarray
    model: np.ndarray
    of_table: np.ndarray
    first: np.ndarray
    number: np.ndarray

    @property
    def within(self) -> np.ndarray:
        """Code of each row, numbered within its model."""
        return self.code - self.first[self.model[self.code]]


@dataclass(frozen=True, eq=False)
class Split:
    """A problem whose rows are those of one model after another.

    Attributes:
        problem: in that order; layout and pattern are those of no model.
        model: of each row, ascending.
        starts: first row of each model, and the end.
        levels: of each grouping factor.
    """

    problem: Problem
    model: np.ndarray
    starts: np.ndarray
    levels: tuple[Levels, ...]

    @property
    def num_models(self) -> int:
        return len(self.starts) - 1

    @property
    def num_rows(self) -> np.ndarray:
        """Of each model."""
        return np.diff(self.starts)

    def alone(self, model: int) -> Problem:
        """The rows of one model and its own levels, without a layout."""
        rows = slice(self.starts[model], self.starts[model + 1])
        problem = at_rows(self.problem, rows)
        groupings = [
            dataclasses.replace(
                g,
                codes=(own.code[rows] - own.first[model]).astype(np.int32),
                num_levels=int(own.number[model]),
            )
            for g, own in zip(problem.groupings, self.levels, strict=True)
        ]
        return problem.replace(groupings=tuple(groupings))

    def is_nested(self) -> np.ndarray:
        """Models whose factors each lie in the next; (model,)."""
        found = np.ones(self.num_models, bool)
        for inner, outer in zip(self.levels, self.levels[1:], strict=False):
            pairs = np.unique(inner.code.astype(np.int64) * len(outer.model) + outer.code)
            of_model = inner.model[pairs // len(outer.model)]
            found &= np.bincount(of_model, minlength=self.num_models) == inner.number
        return found


def split(problem: Problem, model: np.ndarray, num_models: int) -> Split:
    """Cut a problem by the model of each row."""
    order = np.argsort(model, kind="stable")
    model = model[order]
    problem = at_rows(problem, order)
    starts = np.searchsorted(model, np.arange(num_models + 1))
    return Split(
        problem,
        model,
        starts,
        tuple(_levels(g.codes, g.num_levels, model, num_models) for g in problem.groupings),
    )


def at_rows(problem: Problem, rows: np.ndarray | slice) -> Problem:
    """Some rows of a problem; what all rows share stays as it is."""

    def taken(values: np.ndarray) -> np.ndarray:
        return values if values.shape[0] == 1 else np.asarray(values)[rows]

    groupings = tuple(
        dataclasses.replace(g, codes=np.asarray(g.codes)[rows], Z=taken(g.Z))
        for g in problem.groupings
    )
    return problem.replace(
        y=np.asarray(problem.y)[rows],
        X=np.asarray(problem.X)[rows],
        weights=taken(problem.weights),
        trials=taken(problem.trials),
        offset=taken(problem.offset),
        offsets=tuple(map(taken, problem.offsets)),
        groupings=groupings,
    )


def _levels(codes: np.ndarray, num_levels: int, model: np.ndarray, num_models: int) -> Levels:
    keys, code = np.unique(model.astype(np.int64) * num_levels + codes, return_inverse=True)
    of_model, of_table = np.divmod(keys, num_levels)
    return levels_of(code, of_model, of_table, num_models)


def levels_of(code: np.ndarray, model: np.ndarray, of_table: np.ndarray, num_models: int) -> Levels:
    """Levels by what is known of each, ascending by model."""
    number = np.bincount(model, minlength=num_models)
    return Levels(code, model, of_table, np.cumsum(number) - number, number)


class Columns(NamedTuple):
    """The fixed effects of every model in a basis of its own.

    Attributes:
        problem: of the table with these columns, zero where a model has none.
        free: which columns have a coefficient in which model, (model, fixed).
        basis: of all models, (model, ...); None where all are the caller's.
        moved: models that have another basis or fewer columns, (model,).
    """

    problem: Problem
    free: np.ndarray
    basis: Basis | None
    moved: np.ndarray


def own_columns(of: Split) -> Columns:
    """Columns that depend on others in a model are zero there; see `inference.basis`."""
    problem, number, p = of.problem, of.num_models, of.problem.X.shape[1]
    X, y = problem.X.copy(), np.array(problem.y)
    offset = np.array(np.broadcast_to(problem.offset, y.shape))
    free, moved = np.ones((number, p), bool), np.zeros(number, bool)
    T = np.zeros((number, p, p)) + np.eye(p)
    A, origin = T.copy(), np.zeros((number, p))
    feeds = np.asarray(problem.predictors, int)
    for m in np.flatnonzero(of.num_rows):
        rows = slice(of.starts[m], of.starts[m + 1])
        kept = _independent(X[rows], feeds, problem.family.num_thresholds > 0)
        own, basis = change_basis(
            problem.replace(
                X=X[rows] if kept.all() else X[rows][:, kept],
                y=y[rows],
                offset=offset[rows],
                predictors=tuple(feeds[kept].tolist()),
                prior=None,
            )
        )
        free[m], moved[m] = kept, basis is not None or not kept.all()
        if not moved[m]:
            continue
        X[rows] = 0.0
        X[rows, kept], y[rows], offset[rows] = own.X, own.y, own.offset
        if basis is not None:
            T[m][np.ix_(kept, kept)], A[m][np.ix_(kept, kept)] = basis.T, basis.A
            origin[m, kept] = basis.origin
    columns = problem.replace(X=X, y=y, offset=offset if moved.any() else problem.offset)
    return Columns(columns, free, Basis(T, A, origin) if moved.any() else None, moved)


def _independent(X: np.ndarray, feeds: np.ndarray, beside_thresholds: bool) -> np.ndarray:
    """The columns to keep of each predictor; beside thresholds, which are intercepts, no constant
    one."""
    kept = np.ones(X.shape[1], bool)
    for a in np.unique(feeds):
        block, before = feeds == a, a == 0 and beside_thresholds
        own = np.column_stack([np.ones(len(X)), X[:, block]]) if before else X[:, block]
        kept[block] = independent_columns(own)[int(before) :]
    return kept
