"""Many fits in one program: models of one design, or each of its own, in common shapes."""

from jaxglmm.batch.clusters import Clusters, Shape, find_clusters
from jaxglmm.batch.many import Own, maximise_many
from jaxglmm.batch.parts import Part, own_of
from jaxglmm.batch.pool import pool

__all__ = [
    "Clusters",
    "Own",
    "Part",
    "Shape",
    "find_clusters",
    "maximise_many",
    "own_of",
    "pool",
]
