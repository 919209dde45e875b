"""Arrays and names of a model to the problem that the core has."""

from __future__ import annotations

from typing import Any

import numpy as np

from jaxglmm import covariance as structures
from jaxglmm.design import Grouping, Problem, Term, make_problem
from jaxglmm.families import AbstractFamily
from jaxglmm.frontend.model import ModelData, TermData
from jaxglmm.host import is_constant


def groupings_of(data: ModelData) -> tuple[Grouping, ...]:
    """The grouping factors as the core has them."""
    return tuple(
        Grouping(
            codes=g.codes,
            Z=g.Z[:1].copy() if is_constant(g.Z) else g.Z,
            num_levels=len(g.levels),
            terms=tuple(_term(t, data.components) for t in g.terms),
            constants=tuple(t.constants for t in g.terms),
        )
        for g in data.groupings
    )


def problem_of(
    law: AbstractFamily,
    data: ModelData,
    groupings: tuple[Grouping, ...],
    **settings: Any,
) -> Problem:
    """The problem of a law and its data; settings are those of `make_problem`."""
    # One number in memory where nothing is given.
    weights, offset = (
        np.broadcast_to(usual, data.y.shape) if v is None else np.array(v)
        for v, usual in ((data.weights, 1.0), (data.offset, 0.0))
    )
    return make_problem(
        data.y,
        data.X,
        law,
        groupings,
        weights=weights,
        trials=np.ones(1) if data.trials is None else np.array(data.trials),
        offset=offset,
        predictors=tuple(map(data.components.index, data.fixed_components)),
        offsets=_offsets(data),
        **settings,
    )


def _offsets(data: ModelData) -> tuple[np.ndarray, ...]:
    """Of the predictors behind the first; nothing where none has any."""
    if all(own is None for own in data.offsets):
        return ()
    return tuple(np.zeros_like(data.y) if own is None else own for own in data.offsets)


def _term(term: TermData, components: tuple[str, ...]) -> Term:
    structure: Any = structures.REGISTRY[term.structure]
    feeds = tuple(map(components.index, term.components))
    one = len(set(feeds)) == 1
    return Term(structure(len(term.names), **term.arguments), feeds[0] if one else feeds)
