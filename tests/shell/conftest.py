"""Programs compiled by these tests are kept in a folder of the test run, never in a home."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jax import monitoring

from jaxglmm.frontend import programs

COMPILED = "/jax/core/compile/backend_compile_duration"


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache folder of this run, shared by the workers of pytest-xdist; or the one asked for."""
    base = tmp_path_factory.getbasetemp()
    if os.environ.get("PYTEST_XDIST_WORKER"):
        base = base.parent
    folder = Path(os.environ.get("JAXGLMM_CACHE_DIR") or base / "programs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JAXGLMM_CACHE_DIR", str(folder))
        programs._folder.cache_clear()
        yield folder
    programs._folder.cache_clear()


@pytest.fixture
def compiled() -> Iterator[list[str]]:
    """Grows by one entry with every program that XLA compiles during the test."""
    events: list[str] = []

    def listen(event: str, duration: float, **_: Any) -> None:
        if event == COMPILED:
            events.append(event)

    monitoring.register_event_duration_secs_listener(listen)
    yield events
    monitoring.unregister_event_duration_listener(listen)


@pytest.fixture
def nothing_compiles(monkeypatch: pytest.MonkeyPatch, compiled: list[str]) -> Iterator[None]:
    """Fail a test that reaches a compiled function."""

    def run(*arguments: Any, **static: Any) -> None:
        raise AssertionError("a compiled function was reached")

    monkeypatch.setattr(programs, "run", run)
    compiled.clear()
    yield
    assert compiled == []
