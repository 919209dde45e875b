"""Simulated responses: rows drawn in a second from `y ~ x + (1 | g)`, new random effects each time.

    python -m benchmarks.draws [--rows 500] [--draws 2000] [--repeats 5]

Ours is `jg.simulate`, warm; NumPy draws the same model by hand, a draw at a time, and lme4's
`simulate` from a fit (where R is there; laws that it has). They take turns within each repeat. Rows
go to results/draws.json and .csv.
"""

from __future__ import annotations

import argparse
import os
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

SD, GROUPS = 0.5, 50
OWN = {  # further parameters by the names of `jg.simulate`
    "gaussian": {"sigma": 0.7},
    "binomial": {},
    "poisson": {},
    "gamma": {"phi": 0.5},
    "nbinom2": {"size": 1.5},
    "beta": {"phi": 5.0},
}
R = """suppressPackageStartupMessages(library(lme4))
d <- read.csv("{path}")
d$y <- {start}
m <- suppressWarnings(suppressMessages({fit}))
for (k in 1:{repeats}) cat(system.time(simulate(m, {draws}))[["elapsed"]], "\n")
"""
R_FITS = {
    "gaussian": ("d$x + rnorm(nrow(d))", "lmer(y ~ x + (1 | g), d)"),
    "binomial": ("as.numeric(runif(nrow(d)) < 0.5)", "glmer(y ~ x + (1 | g), d, binomial)"),
    "poisson": ("rpois(nrow(d), exp(0.5 + 0.3 * d$x))", "glmer(y ~ x + (1 | g), d, poisson)"),
}


@dataclass(frozen=True)
class DrawRow:
    """Numbers drawn in a second by each (None where it does not draw from the law), medians, and
    ours over NumPy's; seconds to compile are apart."""

    law: str
    ours: float
    numpy: float
    lme4: float | None
    to_numpy: float
    compile_s: float
    rows: int
    draws: int
    repeats: int


def table(rows: int) -> Any:
    """x and a group of every row."""
    import numpy as np
    import pandas as pd

    x = np.random.default_rng(1).normal(size=rows)
    return pd.DataFrame({"y": 1.0, "x": x, "g": np.arange(rows) % GROUPS})


def ours(law: str, data: Any, draws: int) -> Callable[[], Any]:
    """`draws` draws."""
    import jaxglmm as jg

    values = {"Intercept": 0.5, "x": 0.3, "sd(g)": SD, **OWN[law]}

    def draw() -> Any:
        return jg.simulate("y ~ x + (1 | g)", data, values, family=law, num_draws=draws, seed=1)

    return draw


def by_hand(law: str, data: Any, draws: int) -> Callable[[], Any]:
    """The same with NumPy's generator."""
    import numpy as np

    x, g, rng = data["x"].to_numpy(), data["g"].to_numpy(), np.random.default_rng(1)

    def response(eta: Any) -> Any:
        if law == "gaussian":
            return rng.normal(eta, 0.7)
        if law in ("binomial", "beta"):
            mu = 1 / (1 + np.exp(-eta))
            return rng.binomial(1, mu) if law == "binomial" else rng.beta(5 * mu, 5 * (1 - mu))
        mu = np.exp(eta)
        if law == "gamma":
            return rng.gamma(2.0, mu / 2.0)
        return rng.poisson(mu if law == "poisson" else rng.gamma(1.5, mu / 1.5))

    def draw() -> Any:
        found = np.empty((draws, len(x)))
        for k in range(draws):
            found[k] = response(0.5 + 0.3 * x + SD * rng.normal(size=GROUPS)[g])
        return found

    return draw


def by_lme4(law: str, data: Any, draws: int, repeats: int) -> list[float]:
    """Seconds of lme4's `simulate`; none where it cannot."""
    if law not in R_FITS or shutil.which("Rscript") is None:
        return []
    start, fit = R_FITS[law]
    with tempfile.TemporaryDirectory() as folder:
        path, script = Path(folder, "d.csv"), Path(folder, "s.R")
        data.to_csv(path, index=False)
        script.write_text(R.format(path=path, start=start, fit=fit, draws=draws, repeats=repeats))
        done = subprocess.run(["Rscript", script], capture_output=True, text=True, check=False)
    return [float(line) for line in done.stdout.split()] if done.returncode == 0 else []


def measure(law: str, rows: int, draws: int, repeats: int) -> DrawRow:
    """One law."""
    data = table(rows)
    sides = [ours(law, data, draws), by_hand(law, data, draws)]
    began = time.perf_counter()
    sides[0]()
    first = time.perf_counter() - began
    seconds: list[list[float]] = [[], []]
    for _ in range(repeats):
        for side, own in zip(sides, seconds, strict=True):
            began = time.perf_counter()
            side()
            own.append(time.perf_counter() - began)
    mine, numpy = map(statistics.median, seconds)
    of_r = by_lme4(law, data, draws, repeats)
    number = rows * draws
    return DrawRow(
        law=law,
        ours=number / mine,
        numpy=number / numpy,
        lme4=number / statistics.median(of_r) if of_r else None,
        to_numpy=numpy / mine,
        compile_s=max(first - mine, 0.0),
        rows=rows,
        draws=draws,
        repeats=repeats,
    )


def main() -> None:
    """Parse the arguments, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=machine.RESULTS)
    arguments = parser.parse_args()
    machine.limit_threads(arguments.threads)
    os.environ["JAXGLMM_CACHE_DIR"] = "off"  # every law compiles
    about = machine.describe(arguments.threads)
    ours("gaussian", table(20), 1)()  # modules are imported, devices found
    found = []
    for law in OWN:
        row = measure(law, arguments.rows, arguments.draws, arguments.repeats)
        found.append(row)
        print(f"{law}: {row.ours:,.0f} a second, {row.to_numpy:.1f} x NumPy", flush=True)
    store.write(arguments.out, "draws", about, found)


if __name__ == "__main__":
    main()
