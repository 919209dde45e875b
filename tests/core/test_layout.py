"""The arrangement of rows in memory loses none and adds none."""

from __future__ import annotations

import numpy as np
import pytest

from jaxglmm import families
from jaxglmm.design import make_problem
from jaxglmm.layout import bucket, make_layout
from jaxglmm.predictor import expand, reduce
from jaxglmm.rows import arrange

from .zoo import grouping

RNG = np.random.default_rng(7)
GROUPS = {
    "one row": (np.zeros(1, int), 1),
    "one level": (np.zeros(50, int), 1),
    "one row a level": (RNG.permutation(40), 40),
    "balanced": (np.tile(np.arange(9), 7), 9),
    "one giant": (np.where(RNG.uniform(size=900) < 0.9, 3, RNG.integers(0, 40, 900)), 40),
    "empty first and last": (RNG.integers(2, 7, 60), 9),
    "long tail": (np.minimum(RNG.geometric(0.02, 3000), 400) - 1, 400),
    "two levels, many rows": (RNG.integers(0, 2, 5000), 2),
}


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("codes", "num_levels"), GROUPS.values(), ids=GROUPS)
def test_every_row_has_one_slot(codes, num_levels, padded):
    num_levels = bucket(num_levels) if padded else num_levels
    layout = make_layout(codes.size, codes, num_levels, padded=padded)
    rows, filled = np.asarray(layout.rows), np.asarray(layout.filled)
    np.testing.assert_array_equal(np.sort(rows[filled]), np.arange(codes.size))
    levels = np.broadcast_to(layout.levels, rows.shape)
    np.testing.assert_array_equal(codes[rows[filled]], levels[filled])
    assert np.all(np.diff(layout.levels) >= 0)
    assert rows.shape[1] == bucket(rows.shape[1]) or not padded
    if layout.one_to_one:
        np.testing.assert_array_equal(layout.levels, np.arange(num_levels))


def test_rows_without_groups():
    layout = make_layout(5)
    assert np.all(layout.filled)
    np.testing.assert_array_equal(np.sort(np.ravel(layout.rows)), np.arange(5))


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("codes", "num_levels"), GROUPS.values(), ids=GROUPS)
def test_sums_over_levels_are_those_of_numpy(codes, num_levels, padded):
    num_levels = bucket(num_levels) if padded else num_levels
    n, second = codes.size, RNG.integers(0, 3, codes.size)
    groups = (
        grouping(codes, np.ones((n, 1)), num_levels=num_levels),
        grouping(second, np.ones((n, 1)), num_levels=4),
    )
    y = RNG.normal(size=n)
    problem = make_problem(y, np.ones((n, 1)), families.get("gaussian"), groups)
    layout = make_layout(n, codes, num_levels, padded=padded)
    rows = arrange(problem.replace(layout=layout))
    for k, (code, size) in enumerate([(codes, num_levels), (second, 4)]):
        expected = np.zeros(size)
        np.add.at(expected, code, y)
        sums = reduce(rows, k, rows.multiplier * rows.y)
        np.testing.assert_allclose(sums, expected, rtol=1e-11, atol=1e-11)
        # `expand` is the transpose: <reduce(r), v> = <r, expand(v)>.
        v = RNG.normal(size=size)
        pulled = np.sum(rows.multiplier * rows.y * expand(rows, k, np.asarray(v)))
        np.testing.assert_allclose(pulled, expected @ v, rtol=1e-10, atol=1e-10)


def test_buckets_are_a_coarse_grid_above():
    sizes = np.arange(1, 20_000)
    grid = np.array([bucket(int(size)) for size in sizes])
    assert np.all(grid >= sizes) and np.all(np.diff(grid) >= 0)
    assert all(bucket(int(size)) == size for size in np.unique(grid))
    assert np.max(grid[sizes <= 64] / sizes[sizes <= 64]) <= 1.5
    middle = (sizes > 64) & (sizes <= 4096)
    assert np.max(grid[middle] / sizes[middle]) <= 1.25
    assert np.max(grid[sizes > 4096] / sizes[sizes > 4096]) <= 1.07
    assert np.unique(grid).size <= 80  # 20,000 sizes share 80 programs
