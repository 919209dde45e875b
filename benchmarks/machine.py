"""What the figures were measured on, and the threads that all backends get."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "RAYON_NUM_THREADS",
    "BENCHMARK_GLMMTMB_THREADS",
)


def limit_threads(threads: int) -> None:
    """Same cores for all: pins this process and its children, and names `threads` to every pool.

    Call before NumPy, JAX or R start; XLA takes its number of threads from the pinned cores.
    """
    for variable in _THREAD_VARIABLES:
        os.environ[variable] = str(threads)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(ROOT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(names, "")


def describe(threads: int) -> dict[str, Any]:
    """Processor, cores used, load, operating system, Python, commit (dirty or not) and date."""
    code = ("jaxglmm", "benchmarks/*.py", "benchmarks/backends")
    changed = _git("status", "--porcelain", "--", *code)
    commit = _git("rev-parse", "--short", "HEAD") or "none"
    return {
        "processor": _processor(),
        "threads": threads,
        "openmp_wait": os.environ.get("OMP_WAIT_POLICY", "default"),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.system() + " " + platform.machine(),
        "python": platform.python_version(),
        "commit": commit + (" with changes" if changed else ""),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"),
    }
