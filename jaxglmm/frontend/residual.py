"""The residual variance of a gaussian model: left out, and told apart from the random effects."""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.families import AbstractFamily, Gaussian
from jaxglmm.frontend.checks import show_rows
from jaxglmm.frontend.model import GroupingData, ModelData

NO_RESIDUAL = float(np.finfo(np.float64).eps) ** 0.25
"""glmmTMB's residual standard deviation for "no residual": exp(log(sqrt(eps)) / 2)."""

# Of the responses' own spread s about the fixed effects. The score y - eta over sigma^2 has a
# rounding error of eps s / sigma^2, in standard errors (of the order of s) eps (s / sigma)^2: 6e-5
# at the lower bound. At the upper one sigma^2 is a millionth of the variance.
_LEAST, _MOST = 2e-6, 1e-3

# Structures without a bond between their columns that the residual variance could not mimic.
_UNBOUND = ("us", "pattern")


def without_residual(law: AbstractFamily, data: ModelData) -> AbstractFamily:
    """The law with the dispersion that `dispersion="~ 0"` fixes.

    That is glmmTMB's `NO_RESIDUAL`, moved to where it is small beside the spread of the responses
    and yet large enough to compute with.
    """
    assert isinstance(law, Gaussian)
    _check_every_row(data)
    spread = _spread(data)
    return dataclasses.replace(law, sigma=min(max(NO_RESIDUAL, _LEAST * spread), _MOST * spread))


def _spread(data: ModelData) -> float:
    """Root mean square of the responses about their least squares fit; 1 for a perfect one."""
    apart = data.y if data.offset is None else data.y - data.offset
    beta = np.linalg.lstsq(data.X, apart, rcond=None)[0] if data.X.shape[1] else np.zeros(0)
    spread = float(np.sqrt(np.mean((apart - data.X @ beta) ** 2)))
    return spread if spread > 0 else 1.0


def check_residual(law: AbstractFamily, data: ModelData) -> None:
    """Refuse gaussian models whose residual variance nothing tells from the random effects'."""
    if isinstance(law.base, Gaussian) and law.base.sigma is None:
        for grouping in data.groupings:
            _check_identified(grouping, len(data.y))


def _check_identified(grouping: GroupingData, num_rows: int) -> None:
    """lme4's rule: fewer random effects of an unstructured term than observations."""
    for term in grouping.terms:
        q, levels = term.components.count("cond"), len(grouping.levels)
        if term.structure in _UNBOUND and q > 1 and q * levels >= num_rows:
            raise InputError(
                f"{term.text} has more columns than a group can carry: {q} in each of {levels} "
                f"levels of '{grouping.name}' make {q * levels} random effects for {num_rows} "
                "rows, so that the residual variance cannot be told from theirs. Take columns "
                "out, use a structure such as cs(), ar1() or diag(), or dispersion='~ 0' for no "
                "residual variance."
            )


def _check_every_row(data: ModelData) -> None:
    """Without residual variance two rows with the same random effects contradict each other."""
    counted = (
        np.flatnonzero(data.weights > 0) if data.weights is not None else np.arange(len(data.y))
    )
    parts = [part for g in data.groupings for part in (g.codes[:, None], g.Z)]
    if not parts:
        raise InputError(
            "dispersion='~ 0' leaves no residual variance, and there are no random effects "
            "either. Leave the argument out, or add a random term."
        )
    design = np.concatenate(parts, axis=1)[counted]
    _, first, place = np.unique(design, axis=0, return_index=True, return_inverse=True)
    twin = first[place.ravel()]
    again = np.flatnonzero(twin != np.arange(len(counted)))
    if len(again):
        pair = data.rows[counted[[twin[again[0]], again[0]]]]
        raise InputError(
            f"dispersion='~ 0' leaves no residual variance, but {show_rows(pair)} have the same "
            "random effects, so nothing lets them differ. Leave the argument out, or add a random "
            "effect that tells them apart."
        )
