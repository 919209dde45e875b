"""Data in which most groups have no event."""

from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from jaxglmm import families
from jaxglmm.ascent.sparse import can_be_sparse, disperses, is_sparse
from jaxglmm.design import make_problem
from jaxglmm.rows import arrange

from .zoo import grouping

CODES = np.repeat(np.arange(8), 3)
OTHERS = np.tile(np.arange(3), 8)


def sparse(family: str, y: np.ndarray, factors: int = 2) -> bool:
    groups = [grouping(code, np.ones((24, 1))) for code in (CODES, OTHERS)][:factors]
    trials = np.full(24, 4.0) if family == "binomial" else None
    problem = make_problem(y, np.ones((24, 1)), families.get(family), groups, trials=trials)
    with jax.enable_x64(True):
        rows = arrange(problem)
        assert can_be_sparse(rows)
        return bool(jax.jit(is_sparse)(rows))


def with_events(levels: int, end: float, event: float) -> np.ndarray:
    """An event in the second row of so many levels."""
    y = np.full(24, end)
    y[1 : 3 * levels : 3] = event
    return y


@pytest.mark.parametrize(
    ("family", "end", "event"),
    [
        ("poisson", 0.0, 3.0),
        ("truncated_poisson", 1.0, 2.0),
        ("binomial", 0.0, 1.0),
        ("binomial", 4.0, 3.0),
    ],
)
@pytest.mark.parametrize("factors", [1, 2])
def test_three_quarters_of_the_levels(family: str, end: float, event: float, factors: int) -> None:
    assert sparse(family, with_events(2, end, event), factors=factors)
    assert not sparse(family, with_events(3, end, event), factors=1)


def test_by_any_of_the_factors() -> None:
    """Events in one of three levels of the other factor are too many of that, and so are those in
    three of eight of the first."""
    assert not sparse("poisson", with_events(3, 0.0, 1.0))
    y = np.zeros(24)
    y[:3] = 1.0  # all of the other factor's levels, one of the first one's
    assert sparse("poisson", y)


def test_levels_without_any_event_and_levels_without_anything_else() -> None:
    y = np.zeros(24)
    y[:12] = 4.0
    assert sparse("binomial", y)


@pytest.mark.parametrize(
    ("family", "disperse", "gather"),
    [("poisson", False, True), ("nbinom2", True, True), ("gaussian", True, False)],
)
def test_which_laws_these_are(family: str, disperse: bool, gather: bool) -> None:
    law = families.get(family)
    problem = make_problem(np.ones(24), np.ones((24, 1)), law, [grouping(CODES, np.ones((24, 1)))])
    assert disperses(law) is disperse
    assert can_be_sparse(arrange(problem)) is gather


def test_rows_that_say_nothing() -> None:
    """Neither rows of weight zero nor levels without trials count."""
    y = with_events(8, 0.0, 1.0)
    weights = np.where(y > 0, 1.0, 0.0)
    groups = [grouping(CODES, np.ones((24, 1)))]
    trials = np.where(CODES < 2, 4.0, 0.0)
    for given in ({"weights": weights}, {"trials": trials}):
        law, end = families.get("binomial" if "trials" in given else "poisson"), given.get("trials")
        responses = y if end is None else np.minimum(y, end)
        problem = make_problem(responses, np.ones((24, 1)), law, groups, **given)
        with jax.enable_x64(True):
            assert not is_sparse(arrange(problem)), given


def test_categories() -> None:
    """The lowest and the highest one are ends, one in the middle is none."""
    law = dataclasses.replace(families.get("cumulative"), num_categories=3)
    for end in range(3):
        y = np.full(24, float(end))
        y[1], y[4] = (end + 1) % 3, (end + 2) % 3
        problem = make_problem(y, np.ones((24, 1)), law, [grouping(CODES, np.ones((24, 1)))])
        with jax.enable_x64(True):
            assert bool(is_sparse(arrange(problem))) is (end != 1), end
