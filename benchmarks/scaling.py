"""Cost against the number of rows: binomial `y ~ x + (1 | g)`, n / 20 groups, fresh processes.

    python -m benchmarks.scaling [--sizes 10000 100000 1000000] [--backends jaxglmm glmm ...]

Each process makes the data, fits twice and reports the first and the second time and the greatest
resident memory, before the first fit (imports, data) and at the end. Rows: results/scaling.json.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import machine, store


@dataclass(frozen=True)
class ScalingRow:
    """Seconds of the first and of a warm fit; MiB resident before the fits and at most."""

    backend: str
    n: int
    groups: int
    first_s: float | None
    warm_s: float | None
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


def child(backend_name: str, num_rows: int) -> ScalingRow:
    """Runs in the fresh process: two fits of one backend."""
    from benchmarks.backends import R_BACKENDS, make
    from benchmarks.problems import scaling_problem
    from benchmarks.run import Lane

    problem = scaling_problem(num_rows)
    backend = make(backend_name)
    data = problem.load()
    lane = Lane(backend, backend.prepare(problem, data))
    process = "self"
    if backend_name in R_BACKENDS:
        backend.r.use(problem, data)  # type: ignore[attr-defined]
        process = str(backend.r.process.pid)  # type: ignore[attr-defined]
    base = peak_mb(process)
    first, warm = lane.once(), lane.once()
    assert lane.outcome is not None
    return ScalingRow(
        backend=backend_name,
        n=num_rows,
        groups=int(data[problem.group].nunique()),
        first_s=first,
        warm_s=warm,
        base_mb=base,
        peak_mb=peak_mb(process),
        loglik=lane.outcome.loglik,
        status=lane.outcome.status,
    )


def measure(backend: str, num_rows: int, limit_s: float) -> ScalingRow:
    """One fresh process; a failure or a time over `limit_s` is a row as well."""
    command = [sys.executable, "-m", "benchmarks.scaling", "--child", backend, str(num_rows)]
    none = (None, None, None, None, None)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired:
        return ScalingRow(backend, num_rows, num_rows // 20, *none, f"over {limit_s:.0f} s")
    lines = [line for line in done.stdout.splitlines() if line.startswith("@@")]
    if not lines:
        last = (done.stderr.strip().splitlines() or ["no output"])[-1]
        return ScalingRow(backend, num_rows, num_rows // 20, *none, f"error: {last[-200:]}")
    return ScalingRow(**json.loads(lines[0][2:]))


def main() -> None:
    from benchmarks.backends import NAMES, R_BACKENDS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--child", nargs=2, metavar=("BACKEND", "ROWS"), help=argparse.SUPPRESS)
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 100_000, 1_000_000])
    usual = [name for name in NAMES if name != "glmm-lean"]
    parser.add_argument("--backends", nargs="+", default=usual, choices=NAMES)
    parser.add_argument("--slow-rows", type=int, default=100_000, help="most rows for R")
    parser.add_argument("--limit", type=float, default=170.0, help="seconds a process")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=machine.RESULTS)
    arguments = parser.parse_args()
    machine.limit_threads(arguments.threads)
    os.environ.setdefault("JAXGLMM_CACHE_DIR", "off")
    if arguments.child:
        print("@@" + json.dumps(asdict(child(arguments.child[0], int(arguments.child[1])))))
        return
    about, rows = machine.describe(arguments.threads), []
    for size in arguments.sizes:
        for backend in arguments.backends:
            if backend in R_BACKENDS and size > arguments.slow_rows:
                continue
            rows.append(measure(backend, size, arguments.limit))
            print(rows[-1], flush=True)
            store.write(arguments.out, "scaling", about, rows)


if __name__ == "__main__":
    main()
