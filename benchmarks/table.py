"""Writes the tables of README.md from results/, between `<!-- NAME -->` and `<!-- /NAME -->`.

python -m benchmarks.table
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import machine, store

README = Path(__file__).resolve().parent / "README.md"
Rows = list[dict[str, Any]]


def duration(seconds: float | None) -> str:
    """Three figures in ms below one second, in s above; a dash for None."""
    if seconds is None:
        return "–"
    value, unit = (seconds * 1e3, "ms") if seconds < 1 else (seconds, "s")
    digits = max(0, 2 - math.floor(math.log10(max(value, 1e-3))))
    return f"{value:.{min(digits, 2)}f} {unit}"


def markdown(header: list[str], body: list[list[str]]) -> str:
    """A Markdown table; all columns but the first are right-aligned."""
    escaped = [[cell.replace("|", "\\|") for cell in line] for line in body]
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *escaped]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def about(info: dict[str, Any]) -> str:
    """One line: what the rows were measured on, and when."""
    parts = [
        info["processor"],
        f"{info['threads']} threads",
        info["system"],
        f"Python {info['python']}",
        f"load {info['load_average']:.1f} at the start",
        *([info["r"]] if info.get("r") else []),
        f"commit {info['commit']}",
        info["date"],
    ]
    return "Measured on " + ", ".join(parts) + "."


def _fit_cell(row: dict[str, Any] | None) -> str:
    if row is None or row["warm_s"] is None:
        return "–" if row is None or row["status"] == "unsupported" else row["status"]
    mark = {True: "", False: " †", None: " ‡"}[row["equal_loglik"]]
    return duration(row["warm_s"]) + mark


def _titles() -> dict[str, str]:
    from benchmarks.problems import PROBLEMS

    return {name: problem.title for name, problem in PROBLEMS.items()}


def fits(info: dict[str, Any], rows: Rows) -> str:
    """Warm medians, problems down, backends across; then what was compiled, versions and gaps."""
    backends = list(dict.fromkeys(row["backend"] for row in rows))
    by_place = {(row["problem"], row["backend"]): row for row in rows}
    titles = _titles()
    body = []
    for problem in dict.fromkeys(row["problem"] for row in rows):
        cells = [by_place.get((problem, backend)) for backend in backends]
        logliks = [cell["loglik"] for cell in cells if cell and cell["equal_loglik"]]
        best = f"{max(logliks):.4f}" if logliks else "–"
        body.append([titles.get(problem, problem), best, *map(_fit_cell, cells)])
    parts = [about(info), markdown(["problem", "log-likelihood", *backends], body)]
    compiled = [[titles.get(r["problem"], r["problem"]), r["backend"], duration(r["compile_s"])]
                for r in rows if r["compile_s"] is not None]  # fmt: skip
    if compiled:
        parts.append("Tracing and compiling, once a process and shape, nothing cached:")
        parts.append(markdown(["problem", "backend", "compile"], compiled))
    versions = {row["backend"]: row["version"] for row in rows}
    parts.append("What one fit covers:")
    parts.append("\n".join(f"- {b} {versions[b]}: {info['includes'].get(b, '')}" for b in backends))
    parts.append(_gaps(rows, titles))
    return "\n\n".join(part for part in parts if part)


def _gaps(rows: Rows, titles: dict[str, str]) -> str:
    """One line for each fit that is unsupported, failed, warned, or ended elsewhere."""
    lines = []
    for row in rows:
        fine = row["equal_loglik"] and row["status"] in ("converged", "finished")
        if fine:
            continue
        found = "" if row["loglik"] is None else f" at {row['loglik']:.4f}"
        note = f" ({row['note']})" if row["note"] else ""
        place = titles.get(row["problem"], row["problem"])
        lines.append(f"- {place}, {row['backend']}: {row['status']}{found}{note}")
    return "Not an equal fit:\n\n" + "\n".join(lines) if lines else ""


def cold(info: dict[str, Any], rows: Rows) -> str:
    """Fresh processes."""
    body = [
        [r["case"], duration(r["wall_s"]), duration(r["wall_min_s"]), duration(r["processor_s"]),
         r["status"].splitlines()[-1] if r["status"] else "", r["note"]]
        for r in rows
    ]  # fmt: skip
    header = ["case", "wall, median", "wall, least", "processor", "status", "note"]
    return about(info) + "\n\n" + markdown(header, body)


def _smaller(rows: Rows, row: dict[str, Any]) -> Rows:
    """The fits of the same model and backend to fewer rows, by size."""
    same = [r for r in rows if (r["model"], r["backend"]) == (row["model"], row["backend"])]
    return sorted((r for r in same if r["n"] < row["n"] and r["warm_s"]), key=lambda r: r["n"])


def _growth(rows: Rows, row: dict[str, Any]) -> str:
    """Exponent k of warm time = c n^k against the next smaller size of the same backend."""
    smaller = _smaller(rows, row)
    if not smaller or not row["warm_s"]:
        return "–"
    last = smaller[-1]
    return f"{math.log(row['warm_s'] / last['warm_s']) / math.log(row['n'] / last['n']):.2f}"


def _by_size(rows: Rows) -> Rows:
    """Models, then backends, in the order of the rows; sizes from small to large."""
    places = list(dict.fromkeys((row["model"], row["backend"]) for row in rows))
    models = list(dict.fromkeys(model for model, _ in places))

    def key(r: dict[str, Any]) -> tuple[int, int, int]:
        return models.index(r["model"]), places.index((r["model"], r["backend"])), r["n"]

    return sorted(rows, key=key)


def _number(value: float | None, form: str = ",.0f") -> str:
    return "–" if value is None else f"{value:{form}}"


def scaling(info: dict[str, Any], rows: Rows) -> str:
    """Time and memory by size."""
    body = [
        [r["model"], r["backend"], _number(r["n"]), _number(r["groups"]), duration(r["first_s"]),
         duration(r["warm_s"]), _growth(rows, r), _number(r["base_mb"]), _number(r["peak_mb"]),
         _number(r["loglik"], ".3f"), r["status"]]
        for r in _by_size(rows)
    ]  # fmt: skip
    header = ["model", "backend", "n", "groups", "first fit", "warm fit", "exponent", "MiB before",
              "MiB at most", "log-likelihood", "status"]  # fmt: skip
    return about(info) + "\n\n" + markdown(header, body)


def _seconds_a_row(row: dict[str, Any]) -> float | None:
    return row["warm_s"] and row["warm_s"] / row["n"]


def _bytes_a_row(row: dict[str, Any]) -> float | None:
    """Greatest resident memory beyond that of the imports: with the data and the model."""
    if row["peak_mb"] is None or row["import_mb"] is None:
        return None
    return (row["peak_mb"] - row["import_mb"]) * 2**20 / row["n"]


def _relative(rows: Rows, row: dict[str, Any], cost: Callable[[Any], float | None]) -> str:
    """The cost of a row against that in the smallest fit of the same model and backend."""
    first, this = cost((_smaller(rows, row) or [row])[0]), cost(row)
    return "–" if not first or not this else f"{this / first:.2f}"


def large(info: dict[str, Any], rows: Rows) -> str:
    """Time and memory a row, and relative to the smallest size."""
    body = [
        [r["model"], r["backend"], _number(r["n"]), _number(r["groups"]), duration(r["first_s"]),
         duration(r["warm_s"]), _relative(rows, r, _seconds_a_row), _number(r["peak_mb"]),
         _number(_bytes_a_row(r)), _relative(rows, r, _bytes_a_row),
         _number(r["loglik"], ".3f"), r["status"]]
        for r in _by_size(rows)
    ]  # fmt: skip
    header = ["model", "backend", "n", "groups", "first fit", "warm fit", "relative, a row",
              "MiB at most", "bytes a row", "relative, a row", "log-likelihood",
              "status"]  # fmt: skip
    return about(info) + "\n\n" + markdown(header, body)


BAR = 200  # data sets for which the mean estimate is to lie within three Monte-Carlo errors


def recovery(info: dict[str, Any], rows: Rows) -> str:
    """Laws down: the worst of their parameters, and the coverage of every fixed effect."""
    laws = list(dict.fromkeys(row["law"] for row in rows))
    body = [_recovered(law, [row for row in rows if row["law"] == law]) for law in laws]
    header = ["law", "data sets", "Laplace - exact", "of", f"of {BAR} sets", "exact - truth", "of",
              "coverage of the fixed effects", "not used"]  # fmt: skip
    return about(info) + "\n\n" + markdown(header, body)


def _recovered(law: str, rows: Rows) -> list[str]:
    apart = max(rows, key=lambda row: abs(row["apart"]))
    bias = max(rows, key=lambda row: abs(row["bias"]))
    fixed = [r for r in rows if r["parameter"].startswith(("cond ", "disp ", "zi "))]
    used = rows[0]["used"]
    return [
        law,
        _number(used),
        _number(apart["apart"], "+.2f"),
        apart["parameter"],
        _number(apart["apart"] * math.sqrt(BAR / used), "+.2f"),
        _number(bias["bias"], "+.1f"),
        bias["parameter"],
        ", ".join(f"{100 * row['coverage']:.1f}" for row in fixed) + " %",
        rows[0]["statuses"] or "–",
    ]


_STATUSES = ("converged", "converged_boundary", "separated", "rank_deficient", "max_iterations",
             "nonfinite")  # fmt: skip


def batch(info: dict[str, Any], rows: Rows) -> str:
    """Rates of all sides of each batch, and how far their log-likelihoods lie from ours."""
    body = [
        [
            row["problem"],
            row["side"],
            f"{row['models']:,}",
            _number(row["rate"], ",.3g" if row["rate"] < 10 else ",.0f"),
            _number(row["to_jaxglmm"], ".1f"),
            duration(row["first_s"]),
            _number(row["loglik_apart"], ".1e"),
        ]
        for row in rows
    ]
    header = ["problem", "side", "models", "fits/s", "jaxglmm over it", "first call", "apart"]
    return about(info) + "\n\n" + markdown(header, body)


def hard(info: dict[str, Any], rows: Rows) -> str:
    """Families down, statuses across."""
    families = [*dict.fromkeys(row["family"] for row in rows), None]
    body = []
    for family in families:
        own = [row for row in rows if family in (None, row["family"])]
        names = ("models", *_STATUSES, "nan", "finite")
        sums = [_number(sum(row[name] for row in own)) for name in names]
        body.append([family or "all", _number(len(own)), *sums])
    header = ["family", "cells", "fits", *_STATUSES, "not finite, converged",
              "failed, with a maximum"]  # fmt: skip
    return about(info) + "\n\n" + markdown(header, body)


def hard_starts(info: dict[str, Any], rows: Rows) -> str:
    """The converged fits of the sample by family; then those with a higher maximum elsewhere."""
    from benchmarks.hard import APART

    ended = [row for row in rows if row["status"] in _STATUSES[:2]]
    body, lines = [], []
    for family in dict.fromkeys(row["cell"].split()[0] for row in ended):
        own = [row for row in ended if row["cell"].startswith(family + " ")]
        beyond = [row for row in own if (row["gap"] or 0.0) > APART]
        within = max(row["gap"] or 0.0 for row in own if row not in beyond)
        numbers = [_number(len(own)), _number(len(beyond))]
        body.append([family, *numbers, f"{max(within, 0.0):.1e}"])
        lines += [f"- {r['cell']}, model {r['model']}: {r['gap']:.3g}" for r in beyond]
    header = ["family", "fits", f"best lower by more than {APART:g}", "else at most"]
    parts = [about(info), markdown(header, body)]
    if lines:
        parts += ["Fits whose deviance is higher than the best of 20 starts:", "\n".join(lines)]
    return "\n\n".join(parts)


def after(info: dict[str, Any], rows: Rows) -> str:
    """What follows a fit."""
    body = [
        [
            r["task"],
            r["backend"],
            duration(r["first_s"]),
            duration(r["warm_s"]),
            _number(r["ratio"]),
        ]
        for r in rows
    ]
    header = ["task", "backend", "first call", "warm", "times ours"]
    return about(info) + "\n\n" + markdown(header, body)


def coverage(info: dict[str, Any], rows: Rows) -> str:
    """How often intervals hold the truth, a line for each parameter."""

    def cell(r: dict[str, Any] | None) -> str:
        return "–" if r is None else f"{r['coverage']:.4f} ± {r['mc_error']:.4f}"

    def beside(r: dict[str, Any] | None) -> str:
        if r is None or r["apart"] is None:
            return "–"
        return f"{r['ours_there']:.3f}, {r['lme4_coverage']:.3f} ({r['lme4_used']:,})"

    body = []
    for design, parameter in dict.fromkeys((r["design"], r["parameter"]) for r in rows):
        own = [r for r in rows if (r["design"], r["parameter"]) == (design, parameter)]
        by = {r["method"]: r for r in own}
        methods = [by.get(m) for m in ("wald", "profile", "bootstrap")]
        used = ", ".join("–" if r is None else f"{r['used']:,}" for r in methods)
        others = [beside(r) for r in methods[:2]]
        body.append([design, parameter, *map(cell, methods), used, *others])
    header = ["design", "parameter", "Wald", "profile", "bootstrap", "data sets used"]
    header += ["ours, lme4: Wald", "ours, lme4: profile"]
    return about(info) + "\n\n" + markdown(header, body)


def compiling(info: dict[str, Any], rows: Rows) -> str:
    """Processor seconds to compile a law's fit, and their ratio to the Poisson law's."""
    sizes = list(dict.fromkeys(r["rows"] for r in rows))
    by = {(r["law"], r["rows"]): r for r in rows}
    body = []
    for law in dict.fromkeys(r["law"] for r in rows):
        own = [by.get((law, size)) for size in sizes]
        cells = [("–", "–", "–") if r is None else _compile_cells(r) for r in own]
        body.append([law, *(cell for part in cells for cell in part)])
    header = ["law"]
    for size in sizes:
        header += [f"{size:,} rows: trace, lower", "compile", "ratio"]
    return about(info) + "\n\n" + markdown(header, body)


def _compile_cells(row: dict[str, Any]) -> tuple[str, str, str]:
    before = row["trace_s"] + row["lower_s"]
    return f"{before:.2f} s", f"{row['compile_s']:.2f} s", f"{row['to_poisson']:.2f}"


def draws(info: dict[str, Any], rows: Rows) -> str:
    """Millions of numbers a second."""

    def millions(value: float | None) -> str:
        return "–" if value is None else f"{value / 1e6:.1f}"

    body = [
        [r["law"], *(millions(r[side]) for side in ("ours", "numpy", "lme4")),
         f"{r['to_numpy']:.1f}", duration(r["compile_s"])]
        for r in rows
    ]  # fmt: skip
    header = ["law", "jaxglmm", "NumPy", "lme4", "ours / NumPy's", "compile"]
    return about(info) + "\n\n" + markdown(header, body)


Table = Callable[[dict[str, Any], Rows], str]
TABLES: dict[str, Table] = {
    "fits": fits,
    "several_factors/fits": fits,
    "crossed_large/fits": fits,
    "laws/fits": fits,
    "cold": cold,
    "compile": compiling,
    "scaling": scaling,
    "large": large,
    "recovery": recovery,
    "batch": batch,
    "draws": draws,
    "after": after,
    "coverage": coverage,
    "hard": hard,
    "hard_starts": hard_starts,
}


def update(text: str, results: Path) -> str:
    """`text` with each marked part replaced by the table of its rows; parts without rows stay."""
    for name, table in TABLES.items():
        stored = store.read(results, name)
        if stored is None:
            continue
        pattern = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        made = table(*stored)
        text, count = pattern.subn(lambda found, made=made: f"{found[1]}{made}\n{found[2]}", text)
        if count != 1:
            raise SystemExit(f"README.md needs one part from <!-- {name} --> to <!-- /{name} -->")
    return text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--results", type=Path, default=machine.RESULTS)
    parser.add_argument("--readme", type=Path, default=README)
    parser.add_argument("--check", action="store_true", help="fail where it is not up to date")
    arguments = parser.parse_args()
    old = arguments.readme.read_text()
    new = update(old, arguments.results)
    if arguments.check:
        raise SystemExit(None if new == old else "benchmarks/README.md differs from the rows")
    arguments.readme.write_text(new)


if __name__ == "__main__":
    main()
