"""The core follows the precision of its inputs: double here, single where a test says so."""

from __future__ import annotations

from collections.abc import Iterator

import jax
import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "single: runs with 64-bit types switched off")


@pytest.fixture(autouse=True)
def precision(request: pytest.FixtureRequest) -> Iterator[None]:
    """64-bit types for the length of a test, unless it is marked `single`."""
    with jax.enable_x64("single" not in request.keywords):
        yield
