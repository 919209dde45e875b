"""The hard cases: 30,000 fits over the grid of `grid.py`, and the best of 20 starts on a sample.

    python -m benchmarks.hard [--limit N] [--cells TEXT ...] [--sampled] [--responses 75]
        [--starts 500]

Every cell is one batch. Counted are the statuses, estimates that are not finite under "converged",
and failures ("max_iterations", "nonfinite"), each of which is then fitted from 20 starts: it counts
where one of them finds a finite maximum. A sample of the fits that converged is fitted from 20
starts as well. Rows: results/hard.json, .csv (cells) and results/hard_starts.json, .csv (fits with
other starts). Cells that ran replace theirs; those of other cells stay.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import grid, machine, store
from benchmarks.grid import Cell

APART = 1e-3  # in deviance: what two ends of one maximum may differ by


@dataclass
class HardRow:
    """One cell.

    The six statuses count models. nan: estimates, log-likelihoods or standard errors that are not
    finite under "converged"; failed: numbers of the models with "max_iterations" or "nonfinite";
    finite: how many of these have a finite maximum, found from other starts and no lower than
    where the fit ended (a local one below a log-likelihood without bound is none).
    """

    cell: str
    family: str
    structure: str
    models: int
    converged: int
    converged_boundary: int
    separated: int
    rank_deficient: int
    max_iterations: int
    nonfinite: int
    nan: int
    iterations: int
    seconds: float
    failed: list[int] = field(default_factory=list)
    finite: int = 0


@dataclass
class StartsRow:
    """One fit and the best of 20 starts: gap is what the best deviance is below that of the fit."""

    cell: str
    model: int
    status: str
    loglik: float
    best: float
    best_status: str
    gap: float
    well: int


def fit_cell(cell: Cell, number: int) -> tuple[Any, np.ndarray, HardRow]:
    """The batch of a cell, its responses and its row."""
    import jaxglmm as jg

    data, Y = grid.draw(cell, number)
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        batch = jg.fit_many(
            cell.formula, data, responses=Y, family=cell.family, link=cell.link, progress=False
        )
    seconds = time.perf_counter() - began
    status = batch.status
    counts = {name: int(np.sum(status == name)) for name in jg.status.NAMES}
    failed = np.flatnonzero(np.isin(status, ("max_iterations", "nonfinite")))
    row = HardRow(
        cell=cell.name,
        family=cell.family,
        structure=cell.structure,
        models=number,
        **counts,
        nan=int(np.sum(_not_finite(batch))),
        iterations=int(batch.iterations.max()),
        seconds=seconds,
        failed=failed.tolist(),
    )
    return batch, Y, row


def _not_finite(batch: Any) -> np.ndarray:
    """Which models converged with a number that is not finite."""
    covariance = np.diagonal(batch.joint_covariance, axis1=1, axis2=2)
    parts = [batch.log_likelihood[:, None], batch.coefficients, batch.theta, batch.phi, covariance]
    finite = np.all(np.isfinite(np.concatenate(parts[:-1], axis=1)), axis=1)
    plain = batch.status == "converged"
    return batch.converged & ~finite | plain & ~np.isfinite(covariance).all(axis=1)


def try_starts(cell: Cell, batch: Any, Y: np.ndarray, models: Sequence[int]) -> list[StartsRow]:
    """Some models of a batch from 20 starts each."""
    from benchmarks.starts import search

    rows, own = [], np.asarray(batch.solution.estimate.log_likelihood)
    for model in models:
        found = search(batch, Y[model], model, seed=model)
        gap = 2.0 * (found.best - float(own[model]))
        row = StartsRow(
            cell.name,
            model,
            str(batch.status[model]),
            float(batch.log_likelihood[model]),
            float(batch.log_likelihood[model]) + 0.5 * gap,
            found.status,
            gap,
            found.well,
        )
        rows.append(row)
    return rows


def is_sampled(cell: Cell) -> bool:
    """Whether the cell is one of those that the sample of converged fits is from: one shape of each
    family and structure."""
    structures, families = list(grid.FORMULAS), grid.FAMILIES
    chosen = (families.index(cell.family) + structures.index(cell.structure)) % 2
    return (cell.groups, cell.size) == grid.shapes(cell.family, cell.structure)[chosen]


def sample(cell: Cell, batch: Any, number: int) -> list[int]:
    """Some models that converged."""
    well = np.flatnonzero(np.isin(batch.status, ("converged", "converged_boundary")))
    rng = cell.generator()
    return sorted(rng.choice(well, min(number, len(well)), replace=False).tolist())


def measure(cell: Cell, responses: int, per_cell: int) -> tuple[HardRow, list[StartsRow]]:
    """A cell, its failures and its part of the sample from other starts."""
    batch, Y, row = fit_cell(cell, responses)
    chosen = sample(cell, batch, per_cell) if per_cell and is_sampled(cell) else []
    tried = try_starts(cell, batch, Y, row.failed + chosen)
    row.finite = sum(
        found.well > 0 and not found.gap < -APART for found in tried[: len(row.failed)]
    )
    return row, tried


def describe(row: HardRow, tried: list[StartsRow]) -> str:
    """One line for the terminal."""
    counts = " ".join(
        f"{name} {count}"
        for name in ("converged", "converged_boundary", "separated", "rank_deficient")
        if (count := getattr(row, name))
    )
    failed = f"; {len(row.failed)} failed, {row.finite} with a maximum" if row.failed else ""
    gaps = [t.gap for t in tried if not np.isnan(t.gap)]
    worst = f"; gap at most {max(gaps):.2g}" if gaps else ""
    return f"{row.cell}: {counts}{failed}{worst} ({row.seconds:.1f} s)"


def conclude(rows: Sequence[dict[str, Any]], starts: Sequence[dict[str, Any]]) -> str:
    """Totals."""

    def count(name: str) -> int:
        return sum(row[name] for row in rows)

    names = ("converged", "converged_boundary", "separated", "rank_deficient", "max_iterations",
             "nonfinite")  # fmt: skip
    lines = [f"{count('models')} fits: " + ", ".join(f"{n} {count(n)}" for n in names)]
    lines.append(f"not finite under converged: {count('nan')}")
    lines.append(f"failures with a finite maximum: {count('finite')}")
    ended = [s for s in starts if s["status"].startswith("converged")]
    gaps = [s["gap"] for s in ended if s["gap"] is not None]
    beyond = sum(gap > APART for gap in gaps)
    if gaps:
        lines.append(
            f"{len(gaps)} converged fits from 20 starts: best deviance lower by {max(gaps):.2g} "
            f"at most, by more than {APART:g} in {beyond}"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--limit", type=int, help="stop after so many fits")
    parser.add_argument(
        "--cells", nargs="+", metavar="TEXT", help="cells whose names have them all"
    )
    parser.add_argument("--sampled", action="store_true", help="cells of the sample alone")
    parser.add_argument("--missing", action="store_true", help="cells without a row alone")
    parser.add_argument("--responses", type=int, default=75, help="of a cell")
    parser.add_argument("--starts", type=int, default=500, help="converged fits of all cells")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=machine.RESULTS)
    options = parser.parse_args()
    machine.limit_threads(options.threads)
    import jax

    every = list(grid.cells())
    chosen = [c for c in every if all(text in c.name for text in options.cells or ())]
    if options.sampled:
        chosen = list(filter(is_sampled, chosen))
    if options.missing:
        stored = store.read(options.out, "hard")
        known = {row["cell"] for row in stored[1]} if stored else set()
        chosen = [c for c in chosen if c.name not in known]
    if options.limit is not None:
        chosen = chosen[: max(options.limit // options.responses, 1)]
    per_cell = -(-options.starts // sum(map(is_sampled, every)))
    about, order = machine.describe(options.threads), [cell.name for cell in every]
    for k, cell in enumerate(chosen):
        row, tried = measure(cell, options.responses, per_cell)
        print(describe(row, tried), flush=True)
        store.merge(options.out, "hard", about, [asdict(row)], key="cell", order=order)
        _keep_starts(options.out, about, cell, tried, order)
        if k % grid.CELLS_OF_A_PROGRAM == grid.CELLS_OF_A_PROGRAM - 1:
            jax.clear_caches()
    found = [store.read(options.out, name) for name in ("hard", "hard_starts")]
    print(conclude(*(content[1] if content else [] for content in found)))


def _keep_starts(
    folder: Path, about: dict[str, Any], cell: Cell, tried: list[StartsRow], order: list[str]
) -> None:
    """In the place of those of the same cell."""
    stored = store.read(folder, "hard_starts")
    rows = [row for row in stored[1] if row["cell"] != cell.name] if stored else []
    rows += [asdict(row) for row in tried]
    if rows or stored:
        places = {name: place for place, name in enumerate(order)}
        rows.sort(key=lambda row: places.get(row["cell"], -1))
        if rows:
            store.write(folder, "hard_starts", about, rows)


if __name__ == "__main__":
    main()
