"""Settings of the whole test run, made before JAX is imported."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Compiling takes most of the time of these tests; with the options of `frontend.programs` for small
# problems it takes a third.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
)

# Compiled programs are kept in a folder of this run, which the workers of pytest-xdist inherit:
# never in the user's own.
os.environ.setdefault("JAXGLMM_CACHE_DIR", tempfile.mkdtemp(prefix="jaxglmm-tests-"))


import jax  # noqa: E402
import pytest  # noqa: E402

from jaxglmm.frontend import programs  # noqa: E402

_DEAR = Path(__file__).with_name("dear.txt")
_AREAS = Path("/proc/self/maps")
_MOST = 25_000  # of the 65,530 that Linux gives a process; one test maps some thousands at most


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Those of dear.txt are slow. The README's examples come first: they take longest, and at the
    end one worker would run alone."""
    dear = {line for line in _DEAR.read_text().splitlines() if not line.startswith("#")}
    for item in items:
        if item.nodeid in dear:
            item.add_marker(pytest.mark.slow)
    _check(dear, items, config)
    items.sort(key=lambda item: "test_readme" not in item.nodeid)


def _check(dear: set[str], items: list[pytest.Item], config: pytest.Config) -> None:
    """Every test of the list is there, as far as whole modules were collected."""
    if any("::" in argument for argument in config.args):
        return
    found = {item.nodeid for item in items}
    modules = {name.split("::")[0] for name in found}
    gone = sorted(name for name in dear - found if name.split("::")[0] in modules)
    if gone:
        raise pytest.UsageError(f"{_DEAR.name} names tests that are not there: {', '.join(gone)}")


@pytest.fixture(autouse=True)
def release_programs() -> Iterator[None]:
    """Drop compiled programs before they fill the table of mapped areas, which kills a process."""
    yield
    if _AREAS.exists() and _AREAS.read_bytes().count(b"\n") > _MOST:
        jax.clear_caches()
        programs._memory.clear()
