"""How often do intervals hold the truth? Simulated data sets of published designs; lme4 beside.

    python -m benchmarks.coverage [--designs cbpp ...] [--data-sets 10000] [--draws 400]

A design's fit to its data is the truth. Every data set drawn from it is fitted, and each 95 %
interval that `confint` gives (Wald, profile, parametric bootstrap by percentiles) either holds the
truth or not. lme4 gets the first data sets (`--r-wald`, `--r-profile` of them): the difference of
its coverage from ours on these tells whether an interval that misses its level does so because of
the method or because of us. Workers have one core each. Rows of the designs that ran replace theirs
in results/coverage.json, .csv.
"""

from __future__ import annotations

import argparse
import functools
import math
import multiprocessing
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import machine, store

LEVEL = 0.95
SEED = 20261122
METHODS = ("wald", "profile", "bootstrap")
_SHARD = 50  # data sets that a worker takes at once


class Design(NamedTuple):
    """A model of a bundled data set, and the same in R with the names that lme4 gives."""

    data: str
    formula: str
    family: str
    in_r: str
    response_in_r: str  # of a data set's numbers y
    names_in_r: dict[str, str]


DESIGNS = {
    "sleepstudy": Design(
        "sleepstudy",
        "Reaction ~ Days + (Days | Subject)",
        "gaussian",
        "lmer(Reaction ~ Days + (Days | Subject), d, REML = FALSE)",
        "y",
        {
            "(Intercept)": "Intercept",
            "Days": "Days",
            ".sig01": "sd(Subject, Intercept)",
            ".sig02": "corr(Subject, Days, Intercept)",
            ".sig03": "sd(Subject, Days)",
            ".sigma": "sigma",
        },
    ),
    "cbpp": Design(
        "cbpp",
        "incidence / size ~ period + (1 | herd)",
        "binomial",
        "glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), d, family = binomial)",
        "cbind(y, d$size - y)",
        {
            "(Intercept)": "Intercept",
            "period2": "period[T.2]",
            "period3": "period[T.3]",
            "period4": "period[T.4]",
            ".sig01": "sd(herd, Intercept)",
        },
    ),
    "epil": Design(
        "epil",
        "y ~ lbase * trt + (1 | subject)",
        "poisson",
        "glmer(y ~ lbase * trt + (1 | subject), d, family = poisson)",
        "y",
        {
            "(Intercept)": "Intercept",
            "lbase": "lbase",
            "trtprogabide": "trt[T.progabide]",
            "lbase:trtprogabide": "lbase:trt[T.progabide]",
            ".sig01": "sd(subject, Intercept)",
        },
    ),
}

# "@@" data set, parameter, low, high
SCRIPT = """suppressPackageStartupMessages(library(lme4))
d <- read.csv("{folder}/data.csv")
for (name in c("period", "herd", "Subject", "subject", "trt"))
  if (name %in% names(d)) d[[name]] <- factor(d[[name]])
Y <- as.matrix(read.csv("{folder}/responses.csv", header = FALSE))
fit <- suppressMessages({fit})
for (i in seq_len({number})) {{
  y <- Y[i, ]
  limits <- tryCatch(suppressWarnings(suppressMessages(
    confint(refit(fit, {response}), method = "{method}", level = {level}, quiet = TRUE))),
    error = function(e) NULL)
  if (!is.null(limits)) for (name in rownames(limits))
    cat("@@", i - 1, limits[name, 1], limits[name, 2], name, "\\n")
}}
"""


@dataclass(frozen=True)
class CoverageRow:
    """One parameter of a design by one method.

    Attributes:
        used: data sets in which both limits were found, of `data_sets` attempted.
        coverage: share of them whose interval holds the truth; `mc_error` its Monte-Carlo error.
        below, above: shares whose interval lies below the truth, and above it.
        lme4_used, lme4_coverage: of lme4's intervals, on data sets where both have limits.
        ours_there: our coverage on the same.
        apart: the difference in its own Monte-Carlo errors: of k data sets in which one holds the
            truth and the other does not, (k_ours - k_lme4) / sqrt(k); 0 where there are none.
    """

    design: str
    parameter: str
    method: str
    data_sets: int
    used: int
    coverage: float
    mc_error: float
    below: float
    above: float
    lme4_used: int | None
    lme4_coverage: float | None
    ours_there: float | None
    apart: float | None


@functools.cache
def truth(name: str) -> Any:
    """The fit of a design to its own data."""
    import jaxglmm as jg

    design = DESIGNS[name]
    return jg.glmm(design.formula, jg.datasets.load(design.data), family=design.family)


def responses(name: str, start: int, stop: int) -> Any:
    """Data sets start, ..., stop - 1, one a row."""
    return truth(name).simulate(num_draws=stop - start, seed=SEED, first=start)


def shard(name: str, start: int, stop: int, draws: int) -> Any:
    """Limits (data set, method, parameter, end) of these data sets; NaN where there are none."""
    import numpy as np

    fit = truth(name)
    number = len(fit.confint())
    found = np.full((stop - start, len(METHODS), number, 2), np.nan)
    for i, y in enumerate(responses(name, start, stop)):
        again = fit.refit(y)
        if not again.converged:
            continue
        for m, method in enumerate(METHODS):
            more = {"num_draws": draws, "seed": start + i} if method == "bootstrap" else {}
            table = again.confint(method, LEVEL, progress=False, **more)
            found[i, m] = table[["conf_low", "conf_high"]].to_numpy()
    return found


def _on_one_core(numbers: Any) -> None:
    """A worker, before it imports JAX."""
    core = numbers.get()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [core])
    machine.limit_threads(1)


def limits(name: str, number: int, draws: int, cores: list[int]) -> Any:
    """Those of all data sets, by one worker a core."""
    import numpy as np

    context = multiprocessing.get_context("spawn")
    numbers = context.Queue()
    for core in cores:
        numbers.put(core)
    starts = range(0, number, _SHARD)
    with ProcessPoolExecutor(len(cores), context, _on_one_core, (numbers,)) as pool:
        waiting = [pool.submit(shard, name, a, min(a + _SHARD, number), draws) for a in starts]
        parts = []
        for done, future in enumerate(waiting, 1):
            parts.append(future.result())
            if done % 20 == 0:
                print(f"{name}: {done * _SHARD} of {number}", flush=True)
    return np.concatenate(parts)


def limits_in_r(name: str, method: str, number: int) -> Any:
    """lme4's limits (data set, parameter, end), its parameters in our order."""
    import numpy as np

    import jaxglmm as jg

    design, order = DESIGNS[name], list(truth(name).confint()["parameter"])
    found = np.full((number, len(order), 2), np.nan)
    with tempfile.TemporaryDirectory(prefix="benchmark-coverage-") as folder:
        jg.datasets.load(design.data).to_csv(f"{folder}/data.csv", index=False)
        np.savetxt(f"{folder}/responses.csv", responses(name, 0, number), "%.17g", ",")
        script = SCRIPT.format(
            folder=folder,
            fit=design.in_r,
            number=number,
            response=design.response_in_r,
            method={"wald": "Wald", "profile": "profile"}[method],
            level=LEVEL,
        )
        done = subprocess.run(["Rscript", "-e", script], capture_output=True, text=True, check=True)
    for line in done.stdout.splitlines():
        if line.startswith("@@"):
            _, i, low, high, parameter = line.split()
            ends = [math.nan if end == "NA" else float(end) for end in (low, high)]
            found[int(i), order.index(design.names_in_r[parameter])] = ends
    return found


def summarise(name: str, ours: Any, theirs: dict[str, Any]) -> Iterator[CoverageRow]:
    """The rows of a design."""
    import numpy as np

    table = truth(name).confint()
    for m, method in enumerate(METHODS):
        for p, (parameter, true) in enumerate(
            zip(table["parameter"], table["estimate"], strict=True)
        ):
            ends = ours[:, m, p]
            used = ~np.isnan(ends).any(axis=1)
            if not used.any():
                continue
            low, high = ends[used].T
            inside = (low <= true) & (true <= high)
            share = float(np.mean(inside))
            yield CoverageRow(
                name,
                parameter,
                method,
                len(ours),
                int(used.sum()),
                share,
                math.sqrt(share * (1.0 - share) / used.sum()),
                float(np.mean(high < true)),
                float(np.mean(low > true)),
                *_beside(ends, theirs[method][:, p] if method in theirs else None, true),
            )


def _beside(ours: Any, theirs: Any, true: float) -> tuple[Any, ...]:
    """lme4's coverage beside ours, as the last columns of a row."""
    import numpy as np

    if theirs is None or not np.isfinite(theirs).any():
        return None, None, None, None
    ours = ours[: len(theirs)]
    both = ~(np.isnan(ours) | np.isnan(theirs)).any(axis=1)
    mine, other = ((e[both, 0] <= true) & (true <= e[both, 1]) for e in (ours, theirs))
    only_mine, only_other = int(np.sum(mine & ~other)), int(np.sum(other & ~mine))
    discordant = only_mine + only_other
    apart = (only_mine - only_other) / math.sqrt(discordant) if discordant else 0.0
    return int(both.sum()), float(np.mean(other)), float(np.mean(mine)), apart


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--designs", nargs="+", choices=list(DESIGNS), default=list(DESIGNS))
    parser.add_argument("--data-sets", type=int, default=10_000)
    parser.add_argument("--draws", type=int, default=400, help="of each bootstrap")
    parser.add_argument("--r-wald", type=int, default=1000)
    parser.add_argument("--r-profile", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=machine.RESULTS)
    arguments = parser.parse_args()
    machine.limit_threads(arguments.threads)
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    about = machine.describe(arguments.threads)
    for name in arguments.designs:
        began = time.perf_counter()
        ours = limits(name, arguments.data_sets, arguments.draws, cores)
        theirs = {}
        if shutil.which("Rscript") is not None:
            numbers = {"wald": arguments.r_wald, "profile": arguments.r_profile}
            for method, number in numbers.items():
                theirs[method] = limits_in_r(name, method, min(number, arguments.data_sets))
        rows = [asdict(row) for row in summarise(name, ours, theirs)]
        store.merge(arguments.out, "coverage", about, rows, key="design", order=list(DESIGNS))
        for row in rows:
            beside = "" if row["apart"] is None else f"  lme4 apart {row['apart']:+.1f}"
            print(
                f"{name:12s} {row['parameter']:32s} {row['method']:10s}"
                f" {row['coverage']:.4f} +- {row['mc_error']:.4f}{beside}"
            )
        print(f"{name}: {time.perf_counter() - began:.0f} s", flush=True)


if __name__ == "__main__":
    main()
