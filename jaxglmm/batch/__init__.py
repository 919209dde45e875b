"""Many fits in one program: models of one design, or each of its own, in common shapes."""

from jaxglmm.batch.clusters import Clusters, Shape, find_clusters
from jaxglmm.batch.many import Ascended, Own, ascend_many, each_estimate, maximise_many
from jaxglmm.batch.parts import Part, own_of
from jaxglmm.batch.pool import pool

__all__ = [
    "Ascended",
    "Clusters",
    "Own",
    "Part",
    "Shape",
    "ascend_many",
    "each_estimate",
    "find_clusters",
    "maximise_many",
    "own_of",
    "pool",
]
