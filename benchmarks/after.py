"""What follows a fit: profile intervals, leaving out groups, degrees of freedom; lme4 beside it.

    python -m benchmarks.after [--repeats 5]

The sides take turns within each repeat, each call on a fit made before the clock starts. lme4's are
timed in R, around the call alone. Rows: results/after.json, .csv.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import machine, store

NUM_GROUPS, NUM_ROWS = 1000, 10

# In R: what is timed, after a fit of the same model to the same file.
IN_R = {
    "cbpp, all profile intervals": (
        "glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), d, family = binomial)",
        'confint(fit, method = "profile", quiet = TRUE)',
    ),
    "1,000 groups left out, one by one": (
        "lmer(y ~ x + (1 | g), d, REML = FALSE)",
        'influence(fit, "g")',
    ),
}
SCRIPT = """suppressPackageStartupMessages(library(lme4))
d <- read.csv("{path}")
for (name in c("period", "herd", "g")) if (name %in% names(d)) d[[name]] <- factor(d[[name]])
fit <- suppressMessages({fit})
cat("@@", system.time(suppressMessages({call}))[["elapsed"]], "\\n")
"""


@dataclass(frozen=True)
class AfterRow:
    """One task of one side: seconds of the first call (it compiles) and the median of all later
    ones; of R's, which compiles nothing, the median of all."""

    task: str
    backend: str
    first_s: float
    warm_s: float
    repeats: int
    ratio: float | None  # of R's time to ours


def tasks(folder: Path) -> dict[str, Callable[[], Any]]:
    """Our calls, and the files for R."""
    import numpy as np

    import jaxglmm as jg

    cbpp = jg.datasets.load("cbpp")
    cbpp.to_csv(folder / "cbpp.csv", index=False)
    binomial = jg.glmm("incidence / size ~ period + (1 | herd)", cbpp, family="binomial")

    rng = np.random.default_rng(1)
    g = np.repeat(np.arange(NUM_GROUPS), NUM_ROWS)
    x = rng.normal(size=len(g))
    y = 1.0 + 0.5 * x + rng.normal(size=NUM_GROUPS)[g] + rng.normal(size=len(g))
    table = {"y": y, "x": x, "g": g}
    lines = [f"{a!r},{b!r},{c}" for a, b, c in zip(y.tolist(), x.tolist(), g, strict=True)]
    (folder / "groups.csv").write_text("\n".join(["y,x,g", *lines]) + "\n")
    normal = jg.glmm("y ~ x + (1 | g)", table)

    sleep = jg.datasets.load("sleepstudy")
    restricted = jg.glmm("Reaction ~ Days + (Days | Subject)", sleep, method="reml")

    def kenward_roger() -> Any:
        restricted.__dict__.pop("adjusted_covariance", None)  # what the fit keeps
        return restricted.fixed_effects(df="kenward_roger")

    first, second = IN_R
    return {
        first: lambda: binomial.confint(method="profile"),
        second: lambda: normal.influence(by="g"),
        "sleepstudy, Kenward-Roger table": kenward_roger,
    }


def in_r(task: str, folder: Path) -> float:
    """Seconds in R."""
    fit, call = IN_R[task]
    path = folder / ("cbpp.csv" if "cbpp" in task else "groups.csv")
    script = SCRIPT.format(path=path, fit=fit, call=call)
    done = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True, check=True)
    line = next(line for line in done.stdout.splitlines() if line.startswith("@@"))
    return float(line.split()[1])


def measure(repeats: int, folder: Path) -> list[AfterRow]:
    """Rows of all tasks and sides."""
    ours = tasks(folder)
    with_r = shutil.which("Rscript") is not None
    rows: list[AfterRow] = []
    for task, call in ours.items():
        taken: list[float] = []
        by_r: list[float] = []
        for turn in range(repeats + 1):
            began = time.perf_counter()
            call()
            taken.append(time.perf_counter() - began)
            if turn and with_r and task in IN_R:
                by_r.append(in_r(task, folder))
        warm = statistics.median(taken[1:])
        rows.append(AfterRow(task, "jaxglmm", taken[0], warm, repeats, None))
        if by_r:
            theirs = statistics.median(by_r)
            rows.append(AfterRow(task, "lme4", theirs, theirs, repeats, theirs / warm))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=machine.RESULTS)
    arguments = parser.parse_args()
    machine.limit_threads(arguments.threads)
    about = machine.describe(arguments.threads)
    with tempfile.TemporaryDirectory(prefix="benchmark-after-") as name:
        rows = measure(arguments.repeats, Path(name))
    for row in rows:
        beside = "" if row.ratio is None else f"  {row.ratio:.0f} x"
        print(f"{row.task:36s} {row.backend:8s} {row.first_s:8.3f} {row.warm_s:8.4f} s{beside}")
    store.write(arguments.out, "after", about, rows)


if __name__ == "__main__":
    main()
