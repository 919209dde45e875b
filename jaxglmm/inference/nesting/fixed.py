"""Fixed parts of linear predictors: whether those of a model are among those of another."""

from __future__ import annotations

import numpy as np

from jaxglmm.ascent.reduction import reduce
from jaxglmm.design import Problem
from jaxglmm.rank import independent_columns

_ROUNDING = 1e-12  # share of an offset that its computation may be off by


def fixed_within(small: Problem, large: Problem) -> tuple[str, ...]:
    """Components of the larger law whose fixed part is no special case; () where all are.

    The fixed part of a predictor is origin + columns @ free, with held coefficients and offsets in
    the origin. It is a special case if its columns, and the difference of the origins, lie in the
    span of the larger model's columns, to 1e-7 of their length (by QR, as for linearly dependent
    columns). A component that the smaller law does not have is a constant there.

    Args:
        small, large: of the same rows and weights.
    """
    counted = np.broadcast_to(np.asarray(large.weights), large.num_obs) > 0
    models = reduce(small, xp=np), reduce(large, xp=np)
    wrong = []
    for component in large.family.components:
        (origin, columns), (theirs, span) = (_affine(of, component, counted) for of in models)
        if large.family.num_thresholds and component == "cond":
            span = np.column_stack([span, np.ones(len(span))])  # what moves all thresholds
        moved = origin - theirs
        size = np.maximum(np.abs(origin), np.abs(theirs))
        moved[np.abs(moved) <= _ROUNDING * size] = 0.0
        kept = independent_columns(np.column_stack([span, columns, moved]))
        if kept[span.shape[1] :].any():
            wrong.append(component)
    return tuple(wrong)


def _affine(problem: Problem, component: str, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The origin, (row,), and the columns, (row, free), of a predictor, in the rows that count."""
    if component not in problem.family.components:
        number = int(np.count_nonzero(counted))
        return np.zeros(number), np.ones((number, 1))
    place = problem.family.components.index(component)
    offset = np.zeros(1)
    if place == 0:
        offset = problem.offset
    elif problem.offsets:
        offset = problem.offsets[place - 1]
    own = [column for column, a in enumerate(problem.predictors) if a == place]
    origin = np.broadcast_to(np.asarray(offset, float), problem.num_obs)[counted]
    return origin, np.asarray(problem.X)[counted][:, own]


def same_inside(small: Problem, large: Problem) -> bool:
    """Whether the same fixed effects, in one coding, are integrated out."""
    models = reduce(small, xp=np), reduce(large, xp=np)
    a, b = (np.asarray(of.X)[:, list(of.inside)] for of in models)
    return np.array_equal(a, b)
