"""The command line: `python -m jaxglmm fit | demo | datasets | study`.

Exit codes: 0 the fit converged, 1 it did not (the summary is still printed, the reason goes to
standard error) or a study is not finished, 2 the input cannot be fitted or a file cannot be read or
written.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxglmm.errors import InputError
from jaxglmm.study.command import add_study

if TYPE_CHECKING:
    import pandas as pd

_DEMO_DATA = "cbpp"
_DEMO_FORMULA = "incidence / size ~ period + (1 | herd)"
_NEXT_STEPS = f"""\
The same fit in Python:
    import jaxglmm as jg
    fit = jg.glmm("{_DEMO_FORMULA}", jg.datasets.load("{_DEMO_DATA}"), family="binomial")
    fit.fixed_effects(), fit.random_effects(), fit.predict()
Your own data: python -m jaxglmm fit DATA.csv "y ~ x + (1 | group)" --family poisson"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code (see the module's text)."""
    options = _parser().parse_args(arguments)
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            return options.run(options)
    except InputError as error:
        print(f"jaxglmm: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jaxglmm", description="Generalized linear mixed models on JAX."
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_fit(commands)
    demo = commands.add_parser("demo", help="fit a bundled data set and print the summary")
    demo.set_defaults(run=_run_demo)
    listing = commands.add_parser("datasets", help="list the bundled data sets, or describe one")
    listing.add_argument("name", nargs="?", help="describe this data set")
    listing.set_defaults(run=_run_datasets)
    add_study(commands)
    return parser


def _add_fit(commands: Any) -> None:
    fit = commands.add_parser("fit", help="fit one model and print its summary")
    fit.add_argument("data", metavar="DATA", help="a .csv or .parquet file, or a bundled data set")
    fit.add_argument("formula", metavar="FORMULA", help='"y ~ x + (1 | g)"')
    fit.add_argument("--family", default="gaussian", metavar="NAME", help="default: gaussian")
    fit.add_argument("--link", type=_number_or_name, help="name or power; default: the family's")
    fit.add_argument("--method", default="laplace", help="default: laplace")
    fit.add_argument("--quadrature-points", type=int, metavar="N", help="of --method agq")
    fit.add_argument("--weights", metavar="COLUMN", help="prior weights")
    fit.add_argument("--trials", metavar="COLUMN", help="binomial trials of a proportion")
    fit.add_argument("--offset", metavar="COLUMN", help="offset, on the scale of the link")
    fit.add_argument("--dispersion", metavar="FORMULA", help='"~ x": log of the dispersion')
    fit.add_argument("--zero-inflation", metavar="FORMULA", help='"~ x": logit of zeros')
    fit.add_argument("--contrasts", default="treatment", help="treatment (default), sum or full")
    fit.add_argument("--subset", metavar="COLUMN", help="keep the rows where this column is true")
    fit.add_argument("--missing", default="drop", help="drop (default) or raise")
    fit.add_argument("--out", type=Path, metavar="FILE", help="write the summary: .html or .txt")
    fit.add_argument("--save", type=Path, metavar="PATH", help="keep the fit for jaxglmm.load")
    fit.set_defaults(run=_run_fit)


def _run_fit(options: argparse.Namespace) -> int:
    if options.out is not None:
        _check_report_path(options.out)
    if options.save is not None:
        _check_folder(options.save, "--save")
    frame = read_table(options.data)
    import jaxglmm

    fit = jaxglmm.glmm(
        options.formula,
        frame,
        options.family,
        link=options.link,
        weights=options.weights,
        trials=options.trials,
        offset=options.offset,
        dispersion=options.dispersion,
        zero_inflation=options.zero_inflation,
        method=options.method,
        quadrature_points=options.quadrature_points,
        contrasts=options.contrasts,
        missing=options.missing,
        subset=options.subset,
    )
    summary = fit.summary()
    print(summary)
    try:
        _write_files(fit, summary, options)
    except OSError as error:
        raise InputError(f"cannot write: {error}") from error
    return _exit_code(fit)


def _write_files(fit: Any, summary: Any, options: argparse.Namespace) -> None:
    if options.out is not None:
        write_report(summary, options.out)
        print(f"summary written to {options.out}")
    if options.save is not None:
        fit.save(options.save)
        print(f"fit saved to {options.save}")


def _run_demo(options: argparse.Namespace) -> int:
    del options
    import jaxglmm
    from jaxglmm import datasets

    fit = jaxglmm.glmm(_DEMO_FORMULA, datasets.load(_DEMO_DATA), family="binomial")
    print(fit.summary())
    print()
    print(_NEXT_STEPS)
    return _exit_code(fit)


def _run_datasets(options: argparse.Namespace) -> int:
    from jaxglmm import datasets

    if options.name is None:
        for name in datasets.names():
            about = datasets.record(name)
            print(f"{name:<14} {about['num_rows']:>5} rows  {about['title']}")
        return 0
    about = datasets.record(options.name)
    print(f"{about['name']}: {about['title']}\n{about['num_rows']} rows")
    width = max(map(len, about["columns"]))
    for column, entry in about["columns"].items():
        print(f"  {column:<{width}}  {entry['kind']:<11}  {entry['description']}")
    print(datasets.citation(options.name))
    return 0


def read_table(source: str) -> pd.DataFrame:
    """A table from a .csv or .parquet file, or a bundled data set by its name.

    Fails with InputError when the file is missing, of another kind or unreadable.
    """
    path = Path(source)
    suffix = path.suffix.lower()
    if not path.exists() and not suffix:
        from jaxglmm import datasets

        return datasets.load(source)
    if suffix not in (".csv", ".parquet"):
        raise InputError(
            f"DATA {source!r}: expected a .csv or .parquet file or the name of a bundled data set"
        )
    if not path.is_file():
        raise InputError(f"DATA {source!r}: there is no such file")
    import pandas as pd

    read = pd.read_csv if suffix == ".csv" else pd.read_parquet
    try:
        return read(path)
    except ImportError as error:
        remedy = 'reading Parquet needs pyarrow: pip install "jaxglmm[parquet]"'
        raise InputError(f"DATA {source!r}: {remedy}") from error
    except (OSError, ValueError) as error:  # parser, decoding and Arrow errors are ValueErrors
        raise InputError(f"DATA {source!r} cannot be read as {suffix[1:]}: {error}") from error


def write_report(summary: Any, path: Path) -> None:
    """Write a summary as a web page (.html) or as text (.txt)."""
    page = path.suffix.lower() == ".html"
    path.write_text(summary.to_html() if page else f"{summary}\n", encoding="utf-8")


def _check_report_path(path: Path) -> None:
    if path.suffix.lower() not in (".html", ".txt"):
        raise InputError(f"--out {str(path)!r}: the name must end in .html or .txt")
    _check_folder(path, "--out")


def _check_folder(path: Path, option: str) -> None:
    if not path.parent.is_dir():
        raise InputError(f"{option} {str(path)!r}: there is no folder {str(path.parent)!r}")


def _exit_code(fit: Any) -> int:
    if fit.converged:
        return 0
    print(f"jaxglmm: {fit.status}: {fit.status_message}", file=sys.stderr)
    return 1


def _number_or_name(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _show_warning(message: Warning | str, category: type[Warning], *context: Any) -> None:
    """A warning as one line for a reader, without the place in our source."""
    del category, context
    print(f"jaxglmm: warning: {message}", file=sys.stderr)
