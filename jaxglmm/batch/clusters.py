"""Clusters of rows that share no level of any grouping factor, and models put together from them.

The rows of a table lie in chunks, each within one level of the leading factor and so within one
cluster. A model is a sequence of clusters, each of which may occur several times: every copy brings
levels of its own. Host arithmetic on index arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxglmm.batch.parts import Part


class Lists(NamedTuple):
    """Members of each cluster: members[first[c] : first[c] + number[c]]."""

    members: np.ndarray
    first: np.ndarray
    number: np.ndarray

    @property
    def places(self) -> np.ndarray:
        """The number of each member within its cluster."""
        found = np.empty(len(self.members), np.int64)
        found[self.members] = np.arange(len(found)) - np.repeat(self.first, self.number)
        return found


def lists(cluster: np.ndarray, num_clusters: int) -> Lists:
    """Members by the cluster of each, in ascending order within one."""
    number = np.bincount(cluster, minlength=num_clusters)
    return Lists(np.argsort(cluster, kind="stable"), np.cumsum(number) - number, number)


class Shape(NamedTuple):
    """Sizes that models have in common: chunks, and levels of each grouping factor."""

    chunks: int
    levels: tuple[int, ...]


class Clusters(NamedTuple):
    """The clusters of a table.

    Attributes:
        chunks: of the rows.
        code: level of the leading factor of each chunk, numbered within the cluster.
        num_levels: of each factor in each cluster; (factor, cluster).
        levels: of each factor but the last of a chain of nested ones; empty otherwise.
        parents: the level of the next factor that each level lies in, numbered within the cluster.
    """

    chunks: Lists
    code: np.ndarray
    num_levels: np.ndarray
    levels: tuple[Lists, ...]
    parents: tuple[np.ndarray, ...]

    def sizes(self, which: np.ndarray) -> np.ndarray:
        """Chunks and levels of models of these clusters (model, copy): (model, 1 + factor)."""
        counts = np.vstack([self.chunks.number[None], self.num_levels])
        return counts[:, which].sum(axis=2).T

    def parts(self, which: np.ndarray, shape: Shape, *, one_to_one: bool) -> Part:
        """The models of these clusters (model, copy), with a leading model axis.

        `one_to_one`: every chunk is a level of the leading factor, and so are those that pad.
        """
        runs = _runs(self.chunks, which, shape.chunks)
        shifts = [_before(number[which]) for number in self.num_levels]
        codes = np.broadcast_to(np.arange(shape.chunks, dtype=np.int32), runs.filled.shape)
        if not one_to_one:
            codes = self.code[runs.members] + _at(shifts[0], runs.copy)
            codes = np.where(runs.filled, codes, shape.levels[0] - 1)
        parents = []
        for own, parent, shift, size in zip(
            self.levels, self.parents, shifts[1:], shape.levels, strict=False
        ):
            of_levels = _runs(own, which, size)
            up = parent[of_levels.members] + _at(shift, of_levels.copy)
            parents.append(np.where(of_levels.filled, up, 0).astype(np.int32))
        members = runs.members.astype(np.int32)
        return Part(members, runs.filled, codes.astype(np.int32), tuple(parents))


def find_clusters(
    of_chunk: np.ndarray,
    chunk_level: np.ndarray,
    of_level: Sequence[np.ndarray],
    parents: Sequence[np.ndarray],
    num_clusters: int,
) -> Clusters:
    """The clusters of a table.

    Args:
        of_chunk: cluster of each chunk.
        chunk_level: level of the leading factor of each chunk, ascending.
        of_level: cluster of each level, (level,) for each grouping factor.
        parents: as in `pattern.Nested`; empty where factors are not nested.
        num_clusters: how many there are.
    """
    by_level = [lists(cluster, num_clusters) for cluster in of_level]
    counts = [own.number for own in by_level]
    within = [own.places for own in by_level]
    return Clusters(
        chunks=lists(of_chunk, num_clusters),
        code=within[0][chunk_level] if within else np.zeros(len(chunk_level), np.int64),
        num_levels=np.array(counts, np.int64).reshape(len(counts), num_clusters),
        levels=tuple(by_level[: len(parents)]),
        parents=tuple(within[k + 1][parent] for k, parent in enumerate(parents)),
    )


class _Runs(NamedTuple):
    """Members of models, one copy of a cluster after another; (model, size) each."""

    members: np.ndarray  # a member of the first copy where nothing is left to fill
    copy: np.ndarray
    filled: np.ndarray


def _runs(of: Lists, which: np.ndarray, size: int) -> _Runs:
    number, slots = of.number[which], np.arange(size)
    filled = slots < number.sum(axis=1)[:, None]
    copy = np.zeros(filled.shape, np.int64)
    copy[filled] = np.repeat(np.tile(np.arange(which.shape[1]), len(which)), number.ravel())
    places = np.where(filled, slots - _at(_before(number), copy), 0)
    places = np.minimum(_at(of.first[which], copy) + places, len(of.members) - 1)
    return _Runs(of.members[places], copy, filled)


def _before(number: np.ndarray) -> np.ndarray:
    """Sums over the copies before each."""
    return np.cumsum(number, axis=1) - number


def _at(values: np.ndarray, copy: np.ndarray) -> np.ndarray:
    """values[model, copy[model, .]]."""
    return np.take_along_axis(values, copy, axis=1)
