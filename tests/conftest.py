"""Settings of the whole test run, made before JAX is imported."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

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


@pytest.fixture(scope="module", autouse=True)
def release_programs() -> Iterator[None]:
    """Drop a module's compiled programs: a process can map only so many (65,530 areas on Linux)."""
    yield
    jax.clear_caches()
