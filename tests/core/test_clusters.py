"""Models put together from clusters of rows, beside the same by hand."""

from __future__ import annotations

import numpy as np
import pytest

from jaxglmm.batch import Shape, find_clusters
from jaxglmm.layout import make_layout
from jaxglmm.pattern import find_nesting

SIZES = (3, 1, 4, 2)  # leaves of each of four clusters


def table(largest):
    """Rows of leaves in clusters, out of order: the leaf and the cluster of each row."""
    rng = np.random.default_rng(0)
    outer = rng.permutation(np.repeat(np.arange(4), SIZES))
    leaf = rng.permutation(np.repeat(np.arange(10), rng.integers(1, largest, 10)))
    return leaf, outer[leaf]


def clusters_of(leaf, outer):
    layout, nesting = make_layout(len(leaf), leaf, 10), find_nesting([leaf, outer], [10, 4])
    up = nesting.ancestors(0, 1)
    found = find_clusters(up[layout.levels], layout.levels, [up, np.arange(4)], nesting.parents, 4)
    return layout, found


@pytest.mark.parametrize("largest", [4, 60])
def test_copies_bring_levels_of_their_own(largest):
    leaf, outer = table(largest)
    layout, clusters = clusters_of(leaf, outer)
    assert layout.one_to_one == (largest == 4)
    which = np.array([[2, 2, 0, 1], [1, 1, 1, 1], [3, 0, 2, 1]])
    sizes = clusters.sizes(which)
    shape = Shape(int(sizes[:, 0].max()) + 2, (int(sizes[:, 1].max()) + 2, 4))
    if layout.one_to_one:
        shape = shape._replace(levels=(shape.chunks, 4))
    part = clusters.parts(which, shape, one_to_one=layout.one_to_one)
    assert part.chunks.shape == part.codes.shape == (3, shape.chunks)
    assert part.parents[0].shape == (3, shape.levels[0])
    for m, drawn in enumerate(which):
        rows, leaves, copies = [], [], []
        for chunk, filled, code in zip(part.chunks[m], part.filled[m], part.codes[m], strict=True):
            own = layout.rows[layout.filled[:, chunk], chunk] if filled else []
            rows += [*own]
            leaves += [code] * len(own)
            copies += [part.parents[0][m][code]] * len(own)
        assert np.all(np.diff(part.codes[m]) >= 0)
        rows, leaves, copies = map(np.array, (rows, leaves, copies))
        assert sorted(rows) == sorted(np.concatenate([np.flatnonzero(outer == c) for c in drawn]))
        np.testing.assert_array_equal(outer[rows], drawn[copies])
        # A leaf of the model is one leaf of one copy.
        pairs = np.unique(np.stack([leaves, leaf[rows], copies]), axis=1)
        assert len(pairs[0]) == len(np.unique(leaves)) == sum(leaves_of(outer, leaf)[drawn])
        np.testing.assert_array_equal(np.unique(leaves), np.arange(len(pairs[0])))


def leaves_of(outer, leaf):
    """Leaves of each cluster."""
    pairs = np.unique(np.stack([leaf, outer]), axis=1)
    return np.bincount(pairs[1], minlength=4)


def test_clusters_without_factors():
    """Every row is a chunk."""
    layout = make_layout(7)
    model = np.array([0, 0, 2, 2, 2, 3, 3])
    clusters = find_clusters(model, layout.levels, [], (), 4)
    part = clusters.parts(np.array([[2], [0]]), Shape(3, ()), one_to_one=layout.one_to_one)
    np.testing.assert_array_equal(part.chunks[:, :2], [[2, 3], [0, 1]])
    np.testing.assert_array_equal(part.filled, [[True] * 3, [True, True, False]])
    assert part.parents == ()
