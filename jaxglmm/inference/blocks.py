"""Rows by clusters, padded to the largest one: dense matrices a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Blocks(NamedTuple):
    """The rows of each cluster.

    Attributes:
        index: number of the row in each slot, some row where none is; (block, slot).
        filled: whether a slot has a row; (block, slot).
    """

    index: np.ndarray
    filled: np.ndarray

    @property
    def size(self) -> int:
        """Number of slots."""
        return self.index.shape[1]

    def gather(self, values: np.ndarray) -> np.ndarray:
        """values[row] in each slot, zero where none is; (block, slot, ...)."""
        found = values[self.index]
        mask = self.filled.reshape(self.filled.shape + (1,) * (found.ndim - 2))
        return np.where(mask, found, 0)


def blocks_of(cluster: np.ndarray) -> Blocks:
    """The blocks of rows that lie in clusters 0, 1, ..., each with a row at least."""
    number = np.bincount(cluster)
    order = np.argsort(cluster, kind="stable")
    slots = np.arange(int(number.max(initial=0)))
    filled = slots < number[:, None]
    places = (np.cumsum(number) - number)[:, None] + np.where(filled, slots, 0)
    return Blocks(order[places], filled)


def independent_clusters(codes: Sequence[np.ndarray], num_obs: int) -> np.ndarray:
    """The finest clusters of rows such that no level of a grouping factor lies in two of them:
    cluster of each row, numbered from zero."""
    if not codes:
        return np.arange(num_obs)
    from scipy import sparse
    from scipy.sparse import csgraph

    first = num_obs
    links = []
    for own in codes:
        links.append(first + np.asarray(own, np.int64))
        first += int(own.max(initial=-1)) + 1
    ends = np.concatenate(links)
    starts = np.tile(np.arange(num_obs), len(codes))
    graph = sparse.coo_matrix((np.ones(len(ends), bool), (starts, ends)), shape=(first, first))
    found = csgraph.connected_components(graph, directed=False)[1][:num_obs]
    return np.unique(found, return_inverse=True)[1]
