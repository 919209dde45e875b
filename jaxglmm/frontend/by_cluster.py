"""The rows of a fit by clusters that share no level of any grouping factor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm.errors import InputError
from jaxglmm.frontend.columns import convert, factorise, is_missing
from jaxglmm.inference.blocks import Blocks, blocks_of, independent_clusters
from jaxglmm.inference.scores import Clusters
from jaxglmm.rows import constants_of, divides_dispersion, structure_of

if TYPE_CHECKING:
    from jaxglmm.frontend.result import GLMM

MOST = 2**27
"""Numbers that arrays by cluster may have: 1 GiB."""


def clusters_of(fit: GLMM, given: Any, rows: np.ndarray) -> np.ndarray:
    """Cluster of each of these rows, numbered from zero."""
    codes = [g.codes[rows] for g in fit.problem.groupings]
    if given is None:
        return independent_clusters(codes, len(rows))
    values = _codes(fit, given)[rows]
    if np.any(values < 0):
        raise InputError("vcov['cluster'] has missing values in rows that are used. Fill them in.")
    cluster = np.unique(values, return_inverse=True)[1]
    for grouping, own in zip(fit.data.groupings, codes, strict=True):
        of_level = np.zeros(len(grouping.levels), np.int64)
        of_level[own] = cluster
        if np.any(of_level[own] != cluster):
            raise InputError(
                f"vcov['cluster']: levels of the grouping factor '{grouping.name}' lie in several "
                "clusters, whose rows are then not independent. Use clusters that hold whole "
                "levels of every grouping factor."
            )
    return cluster


def _codes(fit: GLMM, given: Any) -> np.ndarray:
    """A code for each row used, -1 for a missing value."""
    data = fit.data
    if isinstance(given, str):
        for grouping in data.groupings:
            if grouping.name == given:
                return grouping.codes
        if given not in fit.labels.table:
            known = ", ".join([g.name for g in data.groupings] + list(fit.labels.table))
            raise InputError(
                f"vcov['cluster']: '{given}' is no grouping factor or column of this fit "
                f"({known}). Give an array with one entry a row."
            )
    column = fit.labels.table[given] if isinstance(given, str) else convert(given, "cluster")
    if len(column) not in (len(data.rows), data.num_rows):
        raise InputError(
            f"vcov['cluster'] has {len(column)} entries; give one for each of the {data.num_rows} "
            f"rows of the table, or of the {len(data.rows)} rows used."
        )
    codes = factorise(column).codes if isinstance(column, np.ndarray) else column.codes
    codes = np.where(is_missing(column), -1, codes)
    return codes if len(codes) == len(data.rows) else codes[data.rows]


def check_size(numbers: int) -> None:
    """Refuse arrays of so many numbers."""
    if numbers > MOST:
        raise InputError(
            "vcov: clusters of this size ask for too much memory; use smaller ones, or 'joint'."
        )


def by_cluster(fit: GLMM, cluster: np.ndarray, rows: np.ndarray) -> Clusters:
    """The rows and levels of the model by cluster."""
    problem, blocks = fit.problem, blocks_of(cluster)
    codes, u = _levels(fit, cluster, rows)
    held = sum(values.shape[1] * values.shape[2] for values in u) + len(fit.labels.fixed)
    check_size(blocks.index.size * held * fit.family.num_predictors)

    def known(values: Any) -> np.ndarray:
        return blocks.gather(np.broadcast_to(values, (problem.num_obs, *values.shape[1:]))[rows])

    weights, divides = np.asarray(problem.weights, float), divides_dispersion(problem)
    ones = np.ones(problem.num_obs)
    weight = problem.trials if fit.family.weight_role == "trials" else weights if divides else ones
    further = fit.family.num_predictors - 1
    offsets = (problem.offset, *(problem.offsets or (np.zeros(1),) * further))
    return Clusters(
        y=_filled(blocks, np.asarray(problem.y, float)[rows]),
        weight=_filled(blocks, np.broadcast_to(weight, problem.num_obs)[rows].astype(float)),
        multiplier=known(ones if divides else weights),
        offsets=np.stack([known(np.asarray(values, float)) for values in offsets], axis=1),
        X=known(np.asarray(problem.X)),
        Z=tuple(known(np.asarray(g.Z)) for g in problem.groupings),
        codes=tuple(_filled(blocks, own) for own in codes),
        u=u,
        constants=tuple(constants_of(g, float, np) for g in problem.groupings),
        groupings=tuple(structure_of(g) for g in problem.groupings),
        family=fit.family,
        predictors=problem.predictors,
    )


def _filled(blocks: Blocks, values: np.ndarray) -> np.ndarray:
    """Values in slots; where there is no row those of some other, which its law allows."""
    return values[blocks.index]


def _levels(
    fit: GLMM, cluster: np.ndarray, rows: np.ndarray
) -> tuple[list[np.ndarray], tuple[np.ndarray, ...]]:
    """Of each grouping factor the level of each row, numbered within its cluster; and the modes
    of the levels of each cluster, (cluster, latent, level)."""
    codes, modes = [], []
    for grouping, u in zip(fit.problem.groupings, fit.estimate.u, strict=True):
        levels, own = np.unique(grouping.codes[rows], return_inverse=True)
        of_level = np.zeros(len(levels), np.int64)
        of_level[own] = cluster
        blocks = blocks_of(of_level)
        place = np.zeros(len(levels), np.int32)
        place[blocks.index[blocks.filled]] = np.nonzero(blocks.filled)[1]
        codes.append(place[own])
        modes.append(np.swapaxes(blocks.gather(np.asarray(u).T[levels]), 1, 2))
    return codes, tuple(modes)
