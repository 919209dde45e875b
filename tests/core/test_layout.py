"""The arrangement of rows in memory loses none and adds none."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxglmm import families
from jaxglmm.design import make_problem
from jaxglmm.engine import log_likelihood
from jaxglmm.layout import bucket, make_layout
from jaxglmm.predictor import expand, reduce
from jaxglmm.rows import arrange

from .zoo import grouping, make_case

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
    layout = make_layout(codes.size, codes, num_levels)
    if padded:
        num_levels = bucket(num_levels)
        layout = layout.padded(num_levels)
    rows, filled = np.asarray(layout.rows), np.asarray(layout.filled)
    np.testing.assert_array_equal(np.sort(rows[filled]), np.arange(codes.size))
    levels = np.broadcast_to(layout.levels, rows.shape)
    np.testing.assert_array_equal(codes[rows[filled]], levels[filled])
    assert np.all(np.diff(layout.levels) >= 0)
    assert rows.shape[1] == bucket(rows.shape[1]) or not padded
    if layout.one_to_one:
        np.testing.assert_array_equal(layout.levels, np.arange(num_levels))


@pytest.mark.parametrize("many", [0, 10**6])
@pytest.mark.parametrize("weights", [None, np.ones(1), np.full(900, 2.0), RNG.integers(0, 3, 900)])
@pytest.mark.parametrize("family", ["gaussian", "binomial", "poisson"])
def test_the_host_arranges_as_a_program_does(family, weights, many, monkeypatch):
    monkeypatch.setattr("jaxglmm.rows._MANY", many)
    codes, num_levels = GROUPS["one giant"]
    columns = np.column_stack([np.ones(900), RNG.normal(size=900)])
    groups = (
        grouping(codes, columns, num_levels=num_levels),
        grouping(codes % 5, np.full((900, 2), [1.0, 3.0])),
    )
    y = RNG.integers(0, 2, 900) * 1.0
    problem = make_problem(y, columns, families.get(family), groups, weights=weights)
    host, program = arrange(problem, num_fixed=3, xp=np), arrange(problem, num_fixed=3)
    assert host.Z[1].shape[1:] == (1, 1) and host.Z[0].shape[1:] == host.y.shape
    assert host.offset.shape == (host.y.shape if many else (1, 1))
    assert jax.tree.structure(host) == jax.tree.structure(program)
    for ours, theirs in zip(jax.tree.leaves(host), jax.tree.leaves(program), strict=True):
        np.testing.assert_array_equal(*np.broadcast_arrays(ours, theirs))
    assert host.y.ctypes.data % 64 == host.X.ctypes.data % 64 == 0


def test_numbers_that_all_rows_share_may_be_one():
    case = make_case("poisson", num_factors=2)
    full = case.problem
    shared = full.replace(
        weights=np.ones(1),
        offset=np.zeros(1),
        groupings=tuple(dataclasses.replace(g, Z=g.Z[:1]) for g in full.groupings),
    )
    values = [jax.jit(log_likelihood)(case.truth, problem) for problem in (full, shared)]
    np.testing.assert_allclose(values[0], values[1], rtol=1e-14)


def test_rows_without_groups():
    layout = make_layout(5)
    assert np.all(layout.filled)
    np.testing.assert_array_equal(np.sort(np.ravel(layout.rows)), np.arange(5))


@functools.partial(jax.jit, static_argnums=1)
def sums_and_transpose(rows, k, v):
    """Of the responses over levels, and their product with what `expand` makes of v."""
    y = rows.multiplier * rows.y
    return reduce(rows, k, y), jnp.sum(y * expand(rows, k, v))


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(("codes", "num_levels"), GROUPS.values(), ids=GROUPS)
def test_sums_over_levels_are_those_of_numpy(codes, num_levels, padded):
    n, second = codes.size, RNG.integers(0, 3, codes.size)
    layout = make_layout(n, codes, num_levels)
    if padded:
        num_levels = bucket(num_levels)
        layout = layout.padded(num_levels)
    groups = (
        grouping(codes, np.ones((n, 1)), num_levels=num_levels),
        grouping(second, np.ones((n, 1)), num_levels=4),
    )
    y = RNG.normal(size=n)
    problem = make_problem(y, np.ones((n, 1)), families.get("gaussian"), groups)
    rows = arrange(problem.replace(layout=layout))
    for k, (code, size) in enumerate([(codes, num_levels), (second, 4)]):
        expected = np.zeros(size)
        np.add.at(expected, code, y)
        v = RNG.normal(size=size)
        sums, pulled = sums_and_transpose(rows, k, v)
        np.testing.assert_allclose(sums, expected, rtol=1e-11, atol=1e-11)
        # `expand` is the transpose: <reduce(r), v> = <r, expand(v)>.
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
