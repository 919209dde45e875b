"""Batches: thousands of fits of one design, beside loops of the peers over some of the same fits.

    python -m benchmarks.batch [--problems logistic_500 ...] [--repeats 3] [--models 10000]

Every side has all cores: jaxglmm by its own threads, the peers as a loop in a process for each.
They take turns, which begin with untimed fits (`turn`; R's without, whose loops take a second and
more); a row has the median rate in fits a second, the first call of jaxglmm (it
compiles), and how far the log-likelihoods and fixed effects of the models that both fitted lie
apart. Rows: results/batch.json, .csv.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine, store, turn

_SEED = 1
_UNTIMED = 16  # one in so many models is fitted untimed, again and again


@dataclass(frozen=True)
class BatchRow:
    """One side on one problem.

    models: fitted in a turn; rate: fits a second, all cores; first_s: the first call of jaxglmm;
    to_jaxglmm: our rate over this one; loglik_apart: the largest distance of a log-likelihood from
    ours, and below: how far ours lies below at most; beta_apart: of a fixed effect.
    """

    problem: str
    side: str
    models: int
    rate: float
    first_s: float | None
    repeats: int
    to_jaxglmm: float | None
    loglik_apart: float | None
    below: float | None
    beta_apart: float | None
    status: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--problems", nargs="+", metavar="NAME")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--models", type=int, help="instead of each problem's own number")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=machine.RESULTS)
    options = parser.parse_args()
    machine.limit_threads(options.threads)

    from benchmarks.batches import PROBLEMS

    names = options.problems or list(PROBLEMS)
    rows: list[dict[str, Any]] = []
    for name in names:
        number = options.models or PROBLEMS[name].num_models
        found = run(name, number, options.repeats, options.threads)
        rows += [row.__dict__ for row in found]
        for row in found:
            print(row, flush=True)
        about = machine.describe(options.threads)
        store.merge(options.out, "batch", about, rows, key="problem", order=list(PROBLEMS))


def run(name: str, number: int, repeats: int, threads: int) -> list[BatchRow]:
    """All sides of a problem, in turns."""
    import numpy as np

    from benchmarks import loops
    from benchmarks.batches import PROBLEMS

    problem = PROBLEMS[name]
    data, Y = problem.draw(number, _SEED)
    own, first = _own(problem, data, Y)
    context = multiprocessing.get_context("spawn")
    # One thread a process: they are as many as there are cores.
    os.environ.update({v: "1" for v in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS")})
    with ProcessPoolExecutor(threads, mp_context=context) as pool:
        sides: dict[str, tuple[int, Callable[[], Any]]] = {"jaxglmm": (number, own)}
        for peer, count in problem.peers.items():
            if loops.available(peer):
                count = min(count, number)
                sides[peer] = (count, _peer(pool, peer, name, data, Y[:count], threads))
        seconds: dict[str, list[float]] = {side: [] for side in sides}
        found: dict[str, Any] = {}
        for side, (_, fit) in sides.items():
            if side != "jaxglmm":
                fit()  # imports and warms up
        for _ in range(repeats):
            for side, (_, fit) in sides.items():
                found[side] = fit()
                seconds[side].append(found[side][0])
    ours = found["jaxglmm"]
    rate = {side: sides[side][0] / statistics.median(seconds[side]) for side in sides}
    rows = []
    for side, (count, _) in sides.items():
        _, value, beta, *status = found[side]
        apart = value - ours[1][:count]
        is_own = side == "jaxglmm"
        rows.append(
            BatchRow(
                problem=name,
                side=side,
                models=count,
                rate=rate[side],
                first_s=first if is_own else None,
                repeats=repeats,
                to_jaxglmm=None if is_own else rate["jaxglmm"] / rate[side],
                loglik_apart=None if is_own else float(np.nanmax(np.abs(apart))),
                below=None if is_own else float(np.nanmax(apart)),
                beta_apart=None if is_own else float(np.nanmax(np.abs(beta - ours[2][:count]))),
                status=status[0] if status else "",
            )
        )
    return rows


def _own(problem: Any, data: Any, Y: Any) -> tuple[Callable[[], Any], float]:
    """`jg.fit_many` as a user calls it, and the seconds of its first call."""
    import jaxglmm as jg

    def fit(Y: Any) -> Any:
        began = time.perf_counter()
        batch = jg.fit_many(
            problem.formula, data, responses=Y, family=problem.family, progress=False
        )
        value, beta = batch.log_likelihood, batch.coefficients
        return time.perf_counter() - began, value, beta, str(batch.counts())

    def warm() -> Any:
        turn.begin(lambda: fit(Y[: max(len(Y) // _UNTIMED, 1)]))
        return fit(Y)

    return warm, fit(Y)[0]


def _peer(pool: Any, peer: str, name: str, data: Any, Y: Any, threads: int) -> Callable[[], Any]:
    from benchmarks import loops

    if peer in loops.BY_R:
        return lambda: loops.by_r(peer, name, data, Y, threads)
    return lambda: loops.by_python(pool, peer, name, data, Y, threads)


if __name__ == "__main__":
    main()
