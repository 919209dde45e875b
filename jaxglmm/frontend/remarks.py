"""What a fit's status has to say beyond its sentence: names, causes, and the simpler model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from jaxglmm import status as codes
from jaxglmm.ascent.alone import can_be_alone
from jaxglmm.families.base import BOUNDARY
from jaxglmm.frontend import tables

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM

_BOUNDS_SHOWN = 4
_WITHOUT_LIMIT = (
    " Coefficients of a zero-inflation formula do so where it has no zeros to add (or none are "
    "left to the law), those of a dispersion formula where the law reaches a simpler one."
)


def remarks(fit: GLMM, code: int) -> str:
    """Sentences, each after a space, for a fit of that status code."""
    found = _at_limit(fit)
    if code == codes.CONVERGED_BOUNDARY:
        found = _at_bounds(tables.at_bounds(fit)) + found
    if code == codes.SEPARATED:
        found += _separated(fit)
    if code == codes.RANK_DEFICIENT and _has_single_trials(fit):
        found += (
            f" Every row has a single trial, which says nothing of {fit.family.phi_names[0]}: "
            "'binomial' is the same model without it."
        )
    if code == codes.RANK_DEFICIENT:
        found += _alone(fit)
    if fit.labels.dropped:
        found += f" Dropped columns: {', '.join(fit.labels.dropped)}."
    return found


def _at_limit(fit: GLMM) -> str:
    law = fit.family
    if int(fit.estimate.limit) != BOUNDARY or not law.at_limit:
        return ""
    return f" The family '{law.name}' is at its limit: {law.at_limit}"


def _separated(fit: GLMM) -> str:
    nothing = not np.any(fit.problem.y[fit.counted])
    cause = f" Every response '{fit.labels.response}' is zero." if nothing else ""
    return cause + (_WITHOUT_LIMIT if fit.data.further else "")


def _has_single_trials(fit: GLMM) -> bool:
    law = fit.family
    return bool(law.weight_role == "trials" and law.phi_names and np.all(fit.problem.trials <= 1))


def _alone(fit: GLMM) -> str:
    """The factors whose levels have one response each where that tells next to nothing of them."""
    if not can_be_alone(fit.family):
        return ""
    counted = np.asarray(fit.counted)
    if fit.family.weight_role == "trials" and np.any(fit.problem.trials > 1):
        return ""
    alone = [
        f"'{name}'"
        for name, grouping in zip(fit.labels.groups, fit.problem.groupings, strict=True)
        if np.bincount(np.asarray(grouping.codes)[counted]).max(initial=0) <= 1
    ]
    if not alone:
        return ""
    return (
        f" Each level of {' and '.join(alone)} has one response, which tells next to nothing of "
        "random effects: leave them out."
    )


def _at_bounds(found: list[str]) -> str:
    """A sentence that names the parameters, and how many more there are."""
    if not found:
        return ""
    shown = ", ".join(found[:_BOUNDS_SHOWN])
    more = f" and {len(found) - _BOUNDS_SHOWN} more" if len(found) > _BOUNDS_SHOWN else ""
    return f" At its bound: {shown}{more}."
