"""Three hundred of the fits of `benchmarks/hard.py`: every one ends in a named status."""

from __future__ import annotations

import itertools

import pytest

grid = pytest.importorskip("benchmarks.grid", reason="the benchmarks are not there")
hard = pytest.importorskip("benchmarks.hard", reason="the benchmarks are not there")

PROGRAMS = ["poisson slope, 5 x 5", "gamma slope, 5 x 5", "nbinom2 nested, 20 x unbalanced"]
MODELS = 25
STATUSES = (
    "converged",
    "converged_boundary",
    "separated",
    "rank_deficient",
    "max_iterations",
    "nonfinite",
)


@pytest.mark.slow
@pytest.mark.parametrize("program", PROGRAMS)
def test_hard_cells(program):
    cells = (cell for cell in grid.cells() if cell.name.startswith(program))
    rows = [hard.fit_cell(cell, MODELS)[2] for cell in itertools.islice(cells, 4)]
    assert len(rows) == 4
    for row in rows:
        assert sum(getattr(row, name) for name in STATUSES) == MODELS
        assert row.nan == 0 and len(row.failed) <= 1, row


@pytest.mark.slow
def test_the_best_of_many_starts():
    """Correlated slopes of counts from 0 to 1e9: a start beside the largest counts alone ended at
    a correlation of one, 23 in deviance above the maximum."""
    name = "poisson slope, 5 x 5, sigma 3, mean 1, x plain"
    cell = next(cell for cell in grid.cells() if cell.name == name)
    batch, Y, _ = hard.fit_cell(cell, 75)
    found = hard.try_starts(cell, batch, Y, [40])
    assert found[0].well > 0 and found[0].gap < hard.APART


@pytest.mark.slow
def test_a_dispersion_that_the_effects_of_rows_take_over():
    """It goes to zero, and the ascent ends where its rounding hides the maximum: five of these
    ended as `nonfinite`, with a maximum at the boundary."""
    name = "gamma crossed, 20 x 1, sigma 1, mean 1e6, x 1e6"
    cell = next(cell for cell in grid.cells() if cell.name == name)
    batch, _, row = hard.fit_cell(cell, 75)
    assert row.failed == []
    vanished = batch.phi[:, 0] < -15.0
    assert vanished.any() and (batch.status[vanished] == "converged_boundary").all()
