"""The commands `study run | status | collect DIR`: a study in pieces, without its program."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from jaxglmm.errors import InputError

_SHOWN = (
    *("scenario", "analysis", "parameter", "truth", "bias", "bias_mcse", "sd", "std_error"),
    *("coverage", "coverage_mcse", "rejection", "rejection_mcse"),
    *("attempted", "converged", "boundary", "failed"),
)


def add_study(commands: Any) -> None:
    """The commands as those of a parser."""
    study = commands.add_parser("study", help="work on a simulation study, or read its results")
    kinds = study.add_subparsers(title="commands", required=True, metavar="COMMAND")
    run = _add(kinds, "run", _run, "make the shards that are missing")
    run.add_argument(
        "--shard",
        type=_piece,
        default=(1, 1),
        metavar="K/N",
        help="only shards K, K + N, K + 2 N, ... of 1, 2, ...: the K-th of N tasks of a job array",
    )
    run.add_argument("--strict", action="store_true", help="refuse shards of other versions")
    _add(kinds, "status", _status, "tell what is finished and what is missing")
    collect = _add(kinds, "collect", _collect, "print bias, coverage and power")
    collect.add_argument(
        "--out", type=Path, metavar="FILE", help="write the whole table: .csv or .parquet"
    )


def _add(kinds: Any, name: str, function: Any, text: str) -> argparse.ArgumentParser:
    parser = kinds.add_parser(name, help=text)
    parser.add_argument("directory", type=Path, metavar="DIR", help="made by Study.save or run")
    parser.set_defaults(run=function)
    return parser


def _run(options: argparse.Namespace) -> int:
    from jaxglmm.study import store
    from jaxglmm.study.run import UnfinishedStudy, missing, opened, run

    folder = options.directory
    manifest = opened(folder)
    spec = store.read(folder, manifest)
    first, step = options.shard
    mine = spec.shards[first - 1 :: step]
    try:
        run(spec, manifest, folder, mine, strict=options.strict)
    except UnfinishedStudy as error:
        print(f"jaxglmm: {error}", file=sys.stderr)
        return 1
    left = len(missing(manifest, folder))
    print(f"{len(mine)} shards are finished; {left} of all {len(spec.shards)} are missing")
    return 0


def _status(options: argparse.Namespace) -> int:
    from jaxglmm.study.run import listed, missing, opened

    manifest = opened(options.directory)
    left = missing(manifest, options.directory)
    total = len(manifest.shards)
    print(
        f"{len(manifest.scenarios)} scenarios x {manifest.num_replicates} replicates x "
        f"{len(manifest.analyses)} analyses: {total - len(left)} of {total} shards are finished"
    )
    if left:
        print(f"missing: {listed(left)}")
        print(f"to go on: python -m jaxglmm study run {options.directory}")
    return 0 if not left else 1


def _collect(options: argparse.Namespace) -> int:
    from jaxglmm.study.results import StudyResults

    out = options.out
    if out is not None and out.suffix.lower() not in (".csv", ".parquet"):
        raise InputError(f"--out {str(out)!r}: the name must end in .csv or .parquet")
    table = StudyResults(options.directory).table()
    if out is None:
        print(table[list(_SHOWN)].to_string(index=False, float_format="%.4g"))
        return 0
    try:
        if out.suffix.lower() == ".csv":
            table.to_csv(out, index=False)
        else:
            table.to_parquet(out, index=False)
    except OSError as error:
        raise InputError(f"cannot write: {error}") from error
    print(f"table written to {out}")
    return 0


def _piece(text: str) -> tuple[int, int]:
    first, _, step = text.partition("/")
    if first.isdecimal() and step.isdecimal() and 1 <= int(first) <= int(step):
        return int(first), int(step)
    raise argparse.ArgumentTypeError(f"expected K/N with 1 <= K <= N, got {text!r}")
