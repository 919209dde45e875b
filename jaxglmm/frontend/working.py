"""The working linear model of a fit: its compiled pieces as arrays in the order of the rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from jaxglmm.ascent import Estimate
from jaxglmm.design import PSEUDO, Grouping, Problem
from jaxglmm.families import AbstractFamily
from jaxglmm.frontend import fitting
from jaxglmm.inference import working
from jaxglmm.inference.basis import Basis
from jaxglmm.layout import Layout
from jaxglmm.restriction import Restriction, joined


def is_linear(law: AbstractFamily) -> bool:
    """Whether the working model is the model: the normal law of one variance, identity link."""
    one = law.num_predictors == 1 and law.base.name == "gaussian"
    return one and law.link.name == "identity"


class Seen(NamedTuple):
    """The model, in the basis of the fit; `rows` are the rows of the problem that it has."""

    model: working.Working
    rows: np.ndarray
    basis: Basis | None


def working_model(problem: Problem, estimate: Estimate) -> Seen | None:
    """The working model at the estimate; None where a weight is negative, which no model has."""
    free = _free(problem.restriction)
    pseudo = problem.method in PSEUDO
    at = fitting.run_at_estimate(
        working.pieces, problem, estimate, linear=free is None, pseudo=pseudo
    )
    pieces, problem = at.outputs, at.problem
    weights = _by_row(problem.layout, pieces.weights)
    if np.any(weights < 0):
        return None
    rows = np.flatnonzero(weights > 0)
    slopes = [_by_row(problem.layout, slope)[rows] for slope in pieces.weight_slopes]
    W = weights[rows]
    model = working.Working(
        X=np.asarray(problem.X)[rows],
        residual=1.0 / W,
        residual_slopes=-np.array(slopes).reshape(-1, len(rows)) / W**2,
        terms=_terms(problem, rows, pieces),
        free=free,
    )
    return Seen(model, rows, at.basis)


def _free(restriction: Restriction | None) -> np.ndarray | None:
    """What takes (theta, phi) from the parameters that are free; None where all are."""
    if restriction is None or not restriction.inner:
        return None
    return joined(restriction.theta, restriction.phi, xp=np).matrix


def _terms(
    problem: Problem, rows: np.ndarray, pieces: working.Pieces
) -> tuple[working.Random, ...]:
    owners = [place for g in problem.groupings for place in _places(g)]
    return tuple(
        working.Random(codes[rows], Z if len(Z) == 1 else Z[rows], np.array(C), np.array(D))
        for (codes, Z), C, D in zip(owners, pieces.covariances, pieces.directions, strict=True)
    )


def _places(grouping: Grouping) -> list[tuple[np.ndarray, np.ndarray]]:
    """Codes and columns of each term of a grouping factor."""
    ends = np.cumsum([term.covariance.dim for term in grouping.terms])
    starts = [0, *ends[:-1].tolist()]
    return [(grouping.codes, grouping.Z[:, a:b]) for a, b in zip(starts, ends, strict=True)]


def _by_row(layout: Layout, values: np.ndarray) -> np.ndarray:
    """Values (slot, chunk) of a padded layout in the order of the rows."""
    own = np.asarray(values)[:, : len(layout.levels)]
    found = np.empty(int(np.count_nonzero(layout.filled)), own.dtype)
    found[layout.rows[layout.filled]] = own[layout.filled]
    return found
