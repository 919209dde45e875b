"""Cold: a fresh process that imports, fits cbpp (or bootstraps it) and prints; wall time from start
to exit.

    python -m benchmarks.cold [--cases ...] [--repeats 5]

The cases run in turn within each repeat, each in its own process. Rows go to results/cold.json.
The last row is no time of a process: it counts the compilations of a second data set of similar
shape fitted after cbpp in one process, which must be none.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks import machine, store

JAXGLMM = """
import jaxglmm as jg
data = jg.datasets.load("cbpp")
formula = "incidence / size ~ period + (1 | herd)"
print(jg.glmm(formula, data, family="binomial", progress=False).summary())
"""
INTERVALS = """
import jaxglmm as jg
data = jg.datasets.load("cbpp")
formula = "incidence / size ~ period + (1 | herd)"
fit = jg.glmm(formula, data, family="binomial", progress=False)
print(fit.bootstrap(1000, seed=1, progress=False).confint())
"""
GLMM = """
import csv, glmm
rows = list(csv.DictReader(open({path!r})))
size = [float(row["size"]) for row in rows]
data = {{"p": [float(row["incidence"]) / n for row, n in zip(rows, size)],
        "period": [row["period"] for row in rows], "herd": [row["herd"] for row in rows]}}
glmm.fit(data, "p ~ period + (1 | herd)", family="binomial", weights=size).summary()
"""
GPBOOST = """
import gpboost, pandas
data = pandas.read_csv({path!r})
design = pandas.get_dummies(data["period"].astype(str), drop_first=True).astype(float)
design.insert(0, "Intercept", 1.0)
model = gpboost.GPModel(likelihood="binomial_logit", group_data=data["herd"], weights=data["size"])
model.fit(y=data["incidence"] / data["size"], X=design)
model.summary()
"""
R = """suppressPackageStartupMessages(library({package}))
data(cbpp, package = "lme4")
print({function}(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, family = binomial))
"""
R_INTERVALS = """suppressPackageStartupMessages(library(lme4))
data(cbpp, package = "lme4")
m <- glmer(cbind(incidence, size - incidence) ~ period + (1 | herd), cbpp, family = binomial)
print(confint(m, method = "boot", nsim = 1000, boot.type = "perc", quiet = TRUE, seed = 1))
"""
SECOND = """
import json, time
import jax, jaxglmm as jg, numpy as np
compiled = []
def listen(event, seconds, **_):
    if event == "/jax/core/compile/backend_compile_duration":
        compiled.append(seconds)
jax.monitoring.register_event_duration_secs_listener(listen)
first = jg.datasets.load("cbpp")
second = first[first["herd"].astype(str) != "8"].reset_index(drop=True)
rng = np.random.default_rng(2)
second["incidence"] = rng.binomial(second["size"].to_numpy(dtype=int), 0.2)
formula = "incidence / size ~ period + (1 | herd)"
result = {}
for name, data in (("first", first), ("second", second)):
    before, started = len(compiled), time.perf_counter()
    jg.glmm(formula, data, family="binomial", progress=False).summary()
    result[name] = [time.perf_counter() - started, len(compiled) - before]
print("@@" + json.dumps(result))
"""
_DRAWS = "1,000 draws of a parametric bootstrap"


@dataclass(frozen=True)
class ColdRow:
    """Wall seconds of a fresh process (median, least); `processor_s`: user and system time."""

    case: str
    wall_s: float | None
    wall_min_s: float | None
    processor_s: float | None
    repeats: int
    status: str
    note: str


@dataclass(frozen=True)
class Case:
    """A command; `cache` is JAXGLMM_CACHE_DIR: a folder, "off", or "new" (one each time)."""

    name: str
    command: list[str]
    note: str
    cache: str = ""


def cases(folder: Path) -> list[Case]:
    """Every case that this machine can run; `folder` has the compilation cache and the data."""
    from importlib.util import find_spec

    from benchmarks.data import bundled

    path = str(folder / "cbpp.csv")
    bundled("cbpp").to_csv(path, index=False)
    python = [sys.executable, "-c"]
    found = []
    if find_spec("jaxglmm") is not None:
        jaxglmm = [*python, JAXGLMM]
        found += [
            Case("jaxglmm, warm cache", jaxglmm, "compiled before", str(folder / "cache")),
            Case("jaxglmm, empty cache", jaxglmm, "compiles and fills the cache", "new"),
            Case("jaxglmm, cache off", jaxglmm, "compiles", "off"),
            Case("jaxglmm intervals", [*python, INTERVALS], _DRAWS + ", compiles", "off"),
        ]
    if find_spec("glmm") is not None:
        found.append(Case("glmm", [*python, GLMM.format(path=path)], "reads a CSV file, no pandas"))
    if find_spec("gpboost") is not None:
        found.append(Case("gpboost", [*python, GPBOOST.format(path=path)], "with standard errors"))
    if shutil.which("Rscript") is not None:
        for package, function in (("lme4", "glmer"), ("glmmTMB", "glmmTMB")):
            text = R.format(package=package, function=function)
            found.append(Case(package, ["Rscript", "-e", text], "prints the fit"))
        found.append(Case("lme4 intervals", ["Rscript", "-e", R_INTERVALS], _DRAWS))
    return found


def last_line(text: str) -> str:
    """The last line of an error message, cut to 200 characters."""
    return (text.strip().splitlines() or ["no message"])[-1][:200]


def once(case: Case, folder: Path) -> tuple[float, float, str]:
    """Wall and processor seconds of one process, and `ok` or the end of what it said."""
    environment = dict(os.environ)
    if case.cache:
        cache = tempfile.mkdtemp(dir=folder) if case.cache == "new" else case.cache
        environment["JAXGLMM_CACHE_DIR"] = cache
    before, started = os.times(), time.perf_counter()
    done = subprocess.run(
        case.command, capture_output=True, text=True, env=environment, cwd=Path.cwd(), check=False
    )
    wall, after = time.perf_counter() - started, os.times()
    used = sum(after[2:4]) - sum(before[2:4])  # user and system time of ended children
    return wall, used, "ok" if done.returncode == 0 else last_line(done.stderr)


def measure(chosen: list[Case], repeats: int, folder: Path) -> list[ColdRow]:
    """All cases in turn, `repeats` times, after one uncounted round that fills the caches."""
    times: dict[str, list[tuple[float, float]]] = {case.name: [] for case in chosen}
    status = {case.name: once(case, folder)[2] for case in chosen}
    for _ in range(repeats):
        for case in chosen:
            if status[case.name] == "ok":
                wall, used, status[case.name] = once(case, folder)
                times[case.name].append((wall, used))
    return [_row(case, times[case.name], status[case.name]) for case in chosen]


def _row(case: Case, taken: list[tuple[float, float]], status: str) -> ColdRow:
    def middle(values: list[float], how: Callable[[list[float]], float]) -> float | None:
        return how(values) if values else None

    walls = [wall for wall, _ in taken]
    used = middle([seconds for _, seconds in taken], statistics.median)
    wall, least = middle(walls, statistics.median), middle(walls, min)
    return ColdRow(case.name, wall, least, used, len(taken), status, case.note)


def second_data_set() -> ColdRow:
    """Seconds of a second fit of similar shape in one process; compilations in the note."""
    environment = dict(os.environ) | {"JAXGLMM_CACHE_DIR": "off"}
    done = subprocess.run(
        [sys.executable, "-c", SECOND], capture_output=True, text=True, env=environment, check=False
    )
    name = "jaxglmm, second data set"
    lines = [line for line in done.stdout.splitlines() if line.startswith("@@")]
    if not lines:
        return ColdRow(name, None, None, None, 0, last_line(done.stderr), "")
    result = json.loads(lines[0][2:])
    (first_s, first), (second_s, second) = result["first"], result["second"]
    note = f"compilations: {first} in the first fit ({first_s:.2f} s), {second} in the second"
    status = "ok" if second == 0 else "compiled again"
    return ColdRow(name, second_s, second_s, None, 1, status, note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--cases", nargs="+", help="beginnings of case names; all by default")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=machine.RESULTS)
    arguments = parser.parse_args()
    machine.limit_threads(arguments.threads)
    about = machine.describe(arguments.threads)
    wanted = tuple(arguments.cases or [""])
    with tempfile.TemporaryDirectory(prefix="benchmark-cold-") as name:
        folder = Path(name)
        chosen = [case for case in cases(folder) if case.name.startswith(wanted)]
        rows = measure(chosen, arguments.repeats, folder)
    if any("jaxglmm" in case.name for case in chosen):
        rows.append(second_data_set())
    for row in rows:
        print(f"{row.case:26s} {row.wall_s or float('nan'):8.3f} s  {row.status}  {row.note}")
    store.write(arguments.out, "cold", about, rows)


if __name__ == "__main__":
    main()
