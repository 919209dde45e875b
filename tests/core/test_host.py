"""Arrays of the host by parts: the same as NumPy on whole arrays, on one core and on several."""

from __future__ import annotations

import numpy as np
import pytest

from jaxglmm import host
from jaxglmm.layout import make_layout


@pytest.fixture(params=[1, 3])
def cores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    """Parts of a few entries, so that small arrays have many."""
    monkeypatch.setattr(host, "_PART", 8)
    monkeypatch.setattr(host, "_WORTH_A_THREAD", 2)
    monkeypatch.setattr(host, "num_cores", lambda: request.param)
    return request.param


@pytest.mark.parametrize(("size", "width"), [(0, 1), (1, 1), (8, 1), (101, 1), (101, 3), (20, 50)])
def test_parts_cover_all_rows_in_order(cores: int, size: int, width: int) -> None:
    parts = host.by_parts(lambda part: part, size, width)
    found = [row for part in parts for row in range(part.start, part.stop)]
    assert found == list(range(size))


def test_an_error_in_a_part_is_raised(cores: int) -> None:
    def fail(part: slice) -> None:
        if part.start > 80:
            raise ValueError("here")

    with pytest.raises(ValueError, match="here"):
        host.by_parts(fail, 101)


@pytest.mark.parametrize("place", [None, 0, 99, 100, 300])
def test_everywhere_finds_a_single_exception(cores: int, place: int | None) -> None:
    values = np.ones((301, 2))
    if place is not None:
        values[place, 1] = np.nan
    assert host.everywhere(np.isfinite, values) == (place is None)
    assert host.is_constant(values) == (place is None)


@pytest.mark.parametrize("shape", [(57,), (4, 57)])
@pytest.mark.parametrize("order", ["C", "F"])
def test_gathered_rows_are_those_of_fancy_indexing(cores: int, shape: tuple, order: str) -> None:
    rng = np.random.default_rng(1)
    index = rng.integers(0, 30, shape).astype(np.int32)
    values, matrix = rng.normal(size=30), np.asarray(rng.normal(size=(30, 3)), order=order)
    np.testing.assert_array_equal(host.gather(values, index), values[index])
    wanted = np.moveaxis(matrix[index], -1, 0)
    np.testing.assert_array_equal(host.gather(matrix, index), wanted)
    out = np.zeros_like(wanted)
    assert host.gather(matrix, index, out) is out
    np.testing.assert_array_equal(out, wanted)


def test_copies_and_counts(cores: int) -> None:
    codes = np.random.default_rng(2).integers(0, 7, 200).astype(np.int32)
    np.testing.assert_array_equal(host.count(codes, 9), np.bincount(codes, minlength=9))
    copy = host.copied(codes, np.float64)
    assert copy.dtype == np.float64 and not np.shares_memory(copy, codes)
    np.testing.assert_array_equal(copy, codes)


@pytest.mark.parametrize("ordered", [False, True])
def test_a_layout_by_parts_is_that_of_one_piece(
    cores: int, ordered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = np.random.default_rng(3).integers(0, 40, 500).astype(np.int32)
    codes = np.sort(codes) if ordered else codes
    by_parts = make_layout(500, codes, 42)
    monkeypatch.setattr(host, "_PART", 1 << 20)
    whole = make_layout(500, codes, 42)
    for name in ("rows", "filled", "levels"):
        np.testing.assert_array_equal(getattr(by_parts, name), getattr(whole, name))
    rows = whole.rows[whole.filled]
    np.testing.assert_array_equal(np.sort(rows), np.arange(500))
