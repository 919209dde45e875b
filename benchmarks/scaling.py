"""Cost against the number of rows: binomial, one factor and nested factors, fresh processes.

    python -m benchmarks.scaling [--models nested] [--sizes 10000 ...] [--backends jaxglmm ...]
    python -m benchmarks.scaling --large      # n = 1e6 and 1e7, jaxglmm only: minutes, several GiB

The models are `y ~ x + (1 | g)` with n / 20 groups, and `y ~ x + (1 | g) + (1 | h)` with those
groups within n / 200. Each process makes the data, fits twice and reports the first and the second
time and the greatest resident memory: after the imports, before the first fit (with the data) and
at the end. Rows: results/scaling.json, of --large: results/large.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import machine, store

SIZES = (10_000, 100_000, 1_000_000)
LARGE_SIZES = (1_000_000, 10_000_000)
LARGE_BACKENDS = ("jaxglmm-engine", "jaxglmm")


@dataclass(frozen=True)
class ScalingRow:
    """Seconds of the first and of a warm fit; MiB resident at most: after the imports, before the
    fits, and in all. `groups`: levels of all factors together.
    """

    model: str
    backend: str
    n: int
    groups: int | None
    first_s: float | None
    warm_s: float | None
    import_mb: float | None
    base_mb: float | None
    peak_mb: float | None
    loglik: float | None
    status: str


def peak_mb(process: str = "self") -> float:
    """Greatest resident memory of a process, MiB.

    From Linux's VmHWM; where there is no /proc from ru_maxrss, which is the same figure but may be
    the parent's at the time it started this process.
    """
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


def child(model: str, backend_name: str, num_rows: int) -> ScalingRow:
    """Runs in the fresh process: two fits of one backend."""
    from benchmarks.backends import R_BACKENDS, make
    from benchmarks.problems import SCALED
    from benchmarks.run import Lane

    problem = SCALED[model](num_rows)
    backend = make(backend_name)
    in_r = backend_name in R_BACKENDS
    process = str(backend.r.process.pid) if in_r else "self"  # type: ignore[attr-defined]
    imports = peak_mb(process)
    data = problem.load()
    lane = Lane(backend, backend.prepare(problem, data))
    if in_r:
        backend.r.use(problem, data)  # type: ignore[attr-defined]
    base = peak_mb(process)
    first, warm = lane.once(), lane.once()
    assert lane.outcome is not None
    return ScalingRow(
        model=model,
        backend=backend_name,
        n=num_rows,
        groups=problem.num_levels(data),
        first_s=first,
        warm_s=warm,
        import_mb=imports,
        base_mb=base,
        peak_mb=peak_mb(process),
        loglik=lane.outcome.loglik,
        status=lane.outcome.status,
    )


def measure(model: str, backend: str, num_rows: int, limit_s: float) -> ScalingRow:
    """One fresh process; a failure or a time over `limit_s` is a row as well."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--child", model, backend, str(num_rows)]

    def failed(why: str) -> ScalingRow:
        return ScalingRow(model, backend, num_rows, None, None, None, None, None, None, None, why)

    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        return failed(f"over {limit_s:.0f} s")
    lines = [line for line in done.stdout.splitlines() if line.startswith("@@")]
    if not lines:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return failed(f"error: {last[-200:]}")
    return ScalingRow(**json.loads(lines[0][2:]))


def main() -> None:
    from benchmarks.backends import NAMES, R_BACKENDS
    from benchmarks.problems import SCALED

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    place = ("MODEL", "BACKEND", "ROWS")
    parser.add_argument("--child", nargs=3, metavar=place, help=argparse.SUPPRESS)
    parser.add_argument("--models", nargs="+", default=list(SCALED), choices=SCALED)
    parser.add_argument("--large", action="store_true", help="n = 1e6 and 1e7, to large.json")
    parser.add_argument("--sizes", nargs="+", type=int, help="numbers of rows")
    parser.add_argument("--backends", nargs="+", choices=NAMES)
    parser.add_argument("--slow-rows", type=int, default=100_000, help="most rows for R")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds a process")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=machine.RESULTS)
    arguments = parser.parse_args()
    machine.limit_threads(arguments.threads)
    os.environ.setdefault("JAXGLMM_CACHE_DIR", "off")
    if arguments.child:
        model, name, num_rows = arguments.child
        print("@@" + json.dumps(asdict(child(model, name, int(num_rows)))))
        return
    large = arguments.large
    sizes = arguments.sizes or (LARGE_SIZES if large else SIZES)
    left_out = ("glmm-lean", "gpboost-cholesky", "gpboost-tight", "gpboost-cholesky-tight")
    usual = LARGE_BACKENDS if large else [name for name in NAMES if name not in left_out]
    backends = arguments.backends or usual
    about, rows = machine.describe(arguments.threads), []
    for model, size, backend in itertools.product(arguments.models, sizes, backends):
        if backend in R_BACKENDS and size > arguments.slow_rows:
            continue
        rows.append(measure(model, backend, size, arguments.limit))
        print(rows[-1], flush=True)
        store.write(arguments.out, "large" if large else "scaling", about, rows)


if __name__ == "__main__":
    main()
