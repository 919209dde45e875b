"""Warm single fits: every problem by every backend, interleaved; rows to results/fits.json, .csv.

    python -m benchmarks.run [--problems cbpp ...] [--backends jaxglmm glmm ...] [--repeats 15]

The first fit of each backend is the cold one. Then each repeat gives each backend its turn, so that
a change of the machine's load meets all of them: a turn is 60 ms of untimed fits (where fits
take less than 0.2 s), then one timed fit, or as many as go into 20 ms (at most 10). A backend whose
fits have used up `--budget` seconds on a problem has no further turn; where the first fit alone did
and nothing is compiled, that fit is the row's warm time. Problems marked long run only when named.
"""

from __future__ import annotations

import argparse
import gc
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import machine, store, turn

if TYPE_CHECKING:
    from benchmarks.problems import Problem
    from benchmarks.protocol import Backend, Outcome, Row

EQUAL = 1e-3
TURN_SECONDS, TURN_FITS = 0.02, 10
QUICK_SECONDS = 0.2


@dataclass
class Lane:
    """One backend on one problem while it is measured; `failure` says why there is no fit."""

    backend: Backend
    fit: Callable[[], Any] | None = None
    failure: str = ""
    cold_s: float | None = None
    warm: list[float] = field(default_factory=list)
    outcome: Outcome | None = None

    def once(self) -> float:
        """Fit once; the seconds it took, by R's clock where R fits."""
        assert self.fit is not None
        started = time.perf_counter()
        result = self.fit()
        seconds = time.perf_counter() - started
        self.outcome = self.backend.read(result)
        return seconds if self.outcome.seconds is None else self.outcome.seconds

    def turn(self, budget: float) -> None:
        """One turn of warm fits; none when the fit has failed or the budget is used up.

        It begins with untimed ones where they are quick.
        """
        if self.fit is None or (self.warm and sum(self.warm) > budget):
            return
        if not self.warm or self.warm[-1] < QUICK_SECONDS:
            turn.begin(self.once)
        else:
            gc.collect()
        taken: list[float] = []
        while not taken or (sum(taken) < TURN_SECONDS and len(taken) < TURN_FITS):
            taken.append(self.once())
        self.warm += taken


def start(backend: Backend, problem: Problem, data: Any, budget: float) -> Lane | None:
    """Prepare and fit for the first time; whatever goes wrong becomes the lane's failure.

    None where the backend is not for this problem.
    """
    from benchmarks.protocol import NotApplicable, Unsupported

    lane = Lane(backend)
    try:
        lane.fit = backend.prepare(problem, data)
        if problem.iterative and backend.exact_only:
            raise Unsupported("the exact factor of this design does not fit into memory")
        lane.cold_s = lane.once()
        if lane.cold_s > budget and not backend.compiles:
            lane.warm.append(lane.cold_s)
    except NotApplicable:
        return None
    except Unsupported as reason:
        lane.failure, lane.fit = f"unsupported: {reason}", None
    except Exception as error:
        lane.failure, lane.fit = f"error: {type(error).__name__}: {error}", None
    return lane


def row_of(lane: Lane, problem: Problem, data: Any) -> Row:
    """The lane as a row; `equal_loglik` waits for the other lanes."""
    from benchmarks.protocol import Row

    backend, outcome = lane.backend, lane.outcome
    warm = statistics.median(lane.warm) if lane.warm else None
    compiled = None
    if backend.compiles and warm is not None and lane.cold_s is not None:
        compiled = lane.cold_s - warm
    status, _, reason = lane.failure.partition(": ")
    return Row(
        problem=problem.name,
        backend=backend.name,
        version=backend.version(),
        n=len(data),
        groups=problem.num_levels(data),
        cold_s=lane.cold_s,
        compile_s=compiled,
        warm_s=warm,
        warm_min_s=min(lane.warm, default=None),
        repeats=len(lane.warm),
        loglik=outcome.loglik if outcome else None,
        status=status or (outcome.status if outcome else ""),
        equal_loglik=None,
        note=reason or backend.note(problem),
        estimates=outcome.estimates if outcome else (),
    )


def flag_equal(rows: list[Row], comparable: list[bool]) -> list[Row]:
    """Fill `equal_loglik`: within `EQUAL` of the best log-likelihood among the comparable rows."""
    fitted = [ok and row.loglik is not None and row.loglik == row.loglik
              for row, ok in zip(rows, comparable, strict=True)]  # fmt: skip
    best = max((row.loglik for row, ok in zip(rows, fitted, strict=True) if ok), default=0.0)
    return [
        replace(row, equal_loglik=abs(row.loglik - best) < EQUAL) if ok else row
        for row, ok in zip(rows, fitted, strict=True)
    ]


def measure(problem: Problem, backends: list[Backend], repeats: int, budget: float) -> list[Row]:
    """All backends on one problem, interleaved."""
    data = problem.load()
    started = (start(backend, problem, data, budget) for backend in backends)
    lanes = [lane for lane in started if lane is not None]
    for _ in range(repeats):
        for lane in lanes:
            lane.turn(budget)
    rows = [row_of(lane, problem, data) for lane in lanes]
    comparable = [not problem.iterative and lane.backend.same_criterion(problem) for lane in lanes]
    return flag_equal(rows, comparable)


def available(names: list[str]) -> list[Backend]:
    """The backends that are installed; the others are named on standard error."""
    from benchmarks.backends import make
    from benchmarks.protocol import Unavailable

    found = []
    for name in names:
        try:
            found.append(make(name))
        except Unavailable as reason:
            print(f"left out: {reason}", file=sys.stderr)
    return found


def line_of(row: Row) -> str:
    """One row for the terminal."""
    warm = "-" if row.warm_s is None else f"{row.warm_s * 1e3:10.2f} ms"
    loglik = "-" if row.loglik is None else f"{row.loglik:.5f}"
    place = f"{row.problem:24s} {row.backend:16s}"
    return f"{place} {warm:>13s} {loglik:>16s} {row.equal_loglik} {row.status}"


def main() -> None:
    from benchmarks.backends import NAMES, R_BACKENDS

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--problems", nargs="+", help="names in problems.py; default: all but the long ones"
    )
    parser.add_argument("--backends", nargs="+", default=list(NAMES), choices=NAMES)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--budget", type=float, default=8.0, help="seconds of warm fits, each lane")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=machine.RESULTS)
    arguments = parser.parse_args()
    machine.limit_threads(arguments.threads)
    os.environ.setdefault("JAXGLMM_CACHE_DIR", "off")  # compile times are those of a compilation
    from benchmarks.data import Absent
    from benchmarks.problems import PROBLEMS

    usual = [name for name, problem in PROBLEMS.items() if not problem.long]
    names = arguments.problems or usual
    if unknown := set(names) - set(PROBLEMS):
        parser.error(f"no problem {sorted(unknown)}; there are {', '.join(PROBLEMS)}")
    about = machine.describe(arguments.threads)
    backends = available(arguments.backends)
    before = store.read(arguments.out, "fits")
    about["includes"] = before[0]["includes"] if before else {}
    about["includes"] |= {backend.name: backend.includes for backend in backends}
    with_r = [backend for backend in backends if backend.name in R_BACKENDS]
    about["r"] = with_r[0].r.describe() if with_r else None  # type: ignore[attr-defined]
    for name in names:
        try:
            new = measure(PROBLEMS[name], backends, arguments.repeats, arguments.budget)
        except Absent as reason:
            print(f"left out: {name}: {reason}", file=sys.stderr)
            continue
        print("\n".join(map(line_of, new)), flush=True)
        rows = [asdict(row) for row in new]
        store.merge(arguments.out, "fits", about, rows, key="problem", order=list(PROBLEMS))


if __name__ == "__main__":
    main()
