"""Compile time of every law: its fit program traced, lowered and compiled in a fresh process.

    python -m benchmarks.compile [--laws poisson beta ...] [--repeats 3] [--rows 500 5000]

The model is `y ~ x + (1 | g)` at each law's default link, with ten rows a group. What is compiled
depends on the shapes and the law, not on the numbers: laws of one support share a response. A table
of 500 rows is compiled for quick compilation, one of 5,000 for speed, as a fit compiles it. Nothing
is read from a cache. The laws take turns within each repeat; seconds are the processor's (user and
system, all threads), the least of the repeats: other work on the machine moves them less than it
moves the time on the clock. Rows go to results/compile.json and .csv, each with its ratio to the
Poisson law's total at that number of rows.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine, store

REFERENCE = "poisson"


@dataclass(frozen=True)
class CompileRow:
    """One law: processor seconds of each step, their sum, and that over the Poisson law's.

    rows: of the table; operations: of the program as JAX hands it over; instructions: of the one
    that XLA makes.
    """

    law: str
    rows: int
    trace_s: float
    lower_s: float
    compile_s: float
    total_s: float
    to_poisson: float
    operations: int
    instructions: int
    repeats: int


def response(support: str, rows: int, seed: int = 1) -> Any:
    """Numbers of that support: counts, proportions, ... that a model can be built for."""
    import numpy as np

    rng = np.random.default_rng(seed)
    share = rng.uniform(0.05, 0.95, rows)
    made = {
        "real": rng.normal(size=rows),
        "positive": rng.gamma(2.0, size=rows),
        "nonnegative": rng.gamma(2.0, size=rows) * (share > 0.2),
        "count": rng.negative_binomial(3, 0.5, rows),
        "positive_count": 1 + rng.negative_binomial(3, 0.5, rows),
        "binomial": rng.integers(0, 7, rows),
        "unit_open": share,
        "unit_closed": np.clip(1.3 * share - 0.15, 0.0, 1.0),
        "ordinal": rng.integers(0, 4, rows),
    }
    return made[support].astype(float)


def measure(law: str, rows: int) -> dict[str, float]:
    """Seconds of each step, in this process; the counts of `CompileRow`."""
    import jax
    import numpy as np
    import pandas as pd

    import jaxglmm as jg
    from jaxglmm import families
    from jaxglmm.control import Control
    from jaxglmm.frontend.fitting import maximise_and_describe, padded_rows
    from jaxglmm.frontend.programs import compiler_options, garbage_kept

    support = families.get(law).support
    data = pd.DataFrame({"y": response(support, rows), "g": np.arange(rows) % (rows // 10)})
    data["x"] = np.random.default_rng(2).normal(size=rows)
    data["n"] = 6.0
    left = "y / n" if support == "binomial" else "y"
    problem, _ = jg.build(f"{left} ~ x + (1 | g)", data, family=law)
    arranged = padded_rows(problem)
    fit = functools.partial(maximise_and_describe, control=Control())
    with jax.enable_x64(True):
        with garbage_kept():
            at = [time.process_time()]
            traced = jax.jit(fit).trace(arranged, None, np.bool_(False))
            at.append(time.process_time())
            lowered = traced.lower()
            at.append(time.process_time())
        compiled = lowered.compile(
            compiler_options=compiler_options((arranged, None), arranged.family.num_nodes)
        )
        at.append(time.process_time())
    steps = dict(zip(("trace_s", "lower_s", "compile_s"), np.diff(at).tolist(), strict=True))
    operations = lowered.as_text().count(" = ")
    text = compiled.as_text() or ""
    return {**steps, "operations": operations, "instructions": text.count(" = ")}


def fresh(law: str, rows: int) -> dict[str, float]:
    """`measure` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.compile", "--rows", str(rows), "--measure", law]
    environment = {**os.environ, "JAXGLMM_CACHE_DIR": "off"}
    done = subprocess.run(
        command, cwd=machine.ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def to_row(law: str, rows: int, runs: list[dict[str, float]], reference: float) -> CompileRow:
    """The repeat of least processor time."""
    least = min(runs, key=_total)
    total = _total(least)
    return CompileRow(
        law=law,
        rows=rows,
        **{step: least[step] for step in ("trace_s", "lower_s", "compile_s")},
        total_s=total,
        to_poisson=total / reference,
        operations=int(least["operations"]),
        instructions=int(least["instructions"]),
        repeats=len(runs),
    )


def _total(run: dict[str, float]) -> float:
    return run["trace_s"] + run["lower_s"] + run["compile_s"]


def main() -> None:
    """Parse the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--laws", nargs="+")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--rows", type=int, nargs="+", default=[500, 5000])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=machine.RESULTS)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    machine.limit_threads(arguments.threads)
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, *arguments.rows)))
        return
    from jaxglmm.families import REGISTRY

    chosen = arguments.laws or list(REGISTRY)
    laws = [REFERENCE, *(law for law in chosen if law != REFERENCE)]
    about = machine.describe(arguments.threads)
    cells = [(law, rows) for rows in arguments.rows for law in laws]
    runs: dict[tuple[str, int], list[dict[str, float]]] = {cell: [] for cell in cells}
    for _ in range(arguments.repeats):
        for cell in cells:
            runs[cell].append(fresh(*cell))
    reference = {rows: min(map(_total, runs[REFERENCE, rows])) for rows in arguments.rows}
    found = [to_row(law, rows, runs[law, rows], reference[rows]) for law, rows in cells]
    for row in found:
        print(
            f"{row.law:20s} {row.rows:5d} {row.total_s:6.2f} s  {row.to_poisson:5.2f}", flush=True
        )
    store.write(arguments.out, "compile", about, found)


if __name__ == "__main__":
    main()
