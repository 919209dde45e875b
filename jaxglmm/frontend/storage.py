"""A fit as one file: the columns it used, how it was called, and its numbers.

The file is a NumPy archive without pickles: reading one runs no code. Names and design are made
again from the stored columns, so a loaded fit does all that the original does.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm import families, links
from jaxglmm.ascent import Estimate
from jaxglmm.control import Control
from jaxglmm.errors import InputError
from jaxglmm.frontend.build import build
from jaxglmm.frontend.fitting import Fitted
from jaxglmm.frontend.result import GLMM
from jaxglmm.inference.natural import Natural
from jaxglmm.params import Params

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORMAT = 2
# What NumPy, zipfile and zlib raise on files that are not whole archives.
_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)
_ARRAYS = ("weights", "trials", "offset", "subset")
_SCALARS = (
    "log_likelihood",
    "status",
    "singular",
    "limit",
    "iterations",
    "passes",
    "decrement",
    "smallest_eigenvalue",
    "monte_carlo_error",
)


def save(fit: GLMM, path: Path) -> None:
    """Write `fit` to `path` (any name; ".npz" is what it is)."""
    arrays: dict[str, Any] = {}
    header = {
        "format": _FORMAT,
        "formula": fit.formula,
        "family": _family_words(fit),
        "family_constants": fit.family.known,
        "link": _link_words(fit),
        "arguments": _argument_words(fit, arrays),
        "columns": [_store_column(n, c, arrays) for n, c in fit.labels.table.items()],
        "num_groupings": len(fit.b),
        "seconds": [fit.solution.compile_seconds, fit.solution.run_seconds],
    }
    arrays |= _numbers(fit.solution)
    with path.open("wb") as file:
        np.savez_compressed(file, header=np.array(json.dumps(header)), **arrays)


def load(path: str | Path) -> GLMM:
    """The fit that `GLMM.save` wrote to `path`.

    Raises:
        InputError: no such file, or not one of these.
    """
    try:
        # Opened here: NumPy leaves a file open whose archive is damaged.
        with Path(path).open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        header = json.loads(str(arrays["header"]))
    except FileNotFoundError as error:
        raise InputError(f"load: there is no file {str(path)!r}.") from error
    except _DAMAGED as error:
        raise InputError(f"load: {str(path)!r} is not a saved fit ({error}).") from error
    if not isinstance(header, dict):
        raise InputError(f"load: {str(path)!r} is not a saved fit (its header is no table).")
    if header.get("format") != _FORMAT:
        raise InputError(
            f"load: {str(path)!r} has format {header.get('format')}; this version reads {_FORMAT}."
        )
    return _rebuild(header, arrays)


def _rebuild(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> GLMM:
    import pandas as pd

    table = pd.DataFrame({c["name"]: _read_column(c, arrays) for c in header["columns"]})
    arguments: dict[str, Any] = dict(header["arguments"])
    for name in _ARRAYS:
        if f"argument:{name}" in arrays:
            arguments[name] = arrays[f"argument:{name}"]
    arguments["control"] = Control(**arguments["control"])
    arguments["link"] = links.get(header["link"])
    known = arguments.get("matrices")
    if known is not None:
        arguments["matrices"] = {n: _read_matrix(n, own, arrays) for n, own in known.items()}
    family = dataclasses.replace(families.get(header["family"]), **header["family_constants"])
    problem, labels = build(header["formula"], table, family, **arguments)
    return GLMM(
        formula=header["formula"],
        problem=problem,
        labels=labels,
        solution=_read_numbers(header, arrays),
        arguments=arguments,
    )


def _family_words(fit: GLMM) -> str:
    if families.REGISTRY.get(fit.family.name) is not type(fit.family):
        raise InputError("save: a fit with a family of your own cannot be saved.")
    return fit.family.name


def _link_words(fit: GLMM) -> str | float:
    if isinstance(fit.link, links.Power):
        return fit.link.power
    if links.REGISTRY.get(fit.link.name) is not type(fit.link):
        raise InputError("save: a fit with a link of your own cannot be saved.")
    return fit.link.name


def _argument_words(fit: GLMM, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    words: dict[str, Any] = {}
    for name, value in fit.arguments.items():
        if name in _ARRAYS and value is not None and not isinstance(value, str):
            arrays[f"argument:{name}"] = np.asarray(value)
        elif name != "link":
            words[name] = _words(name, value, arrays)
    return words


def _words(name: str, value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """An argument as JSON keeps it; matrices go to `arrays`."""
    if value is None or isinstance(value, str):
        return value
    if name == "control":
        return dataclasses.asdict(value)
    if name == "contrasts":
        return dict(value)
    if name == "covariance":
        return {g: s if isinstance(s, str) else np.asarray(s).tolist() for g, s in value.items()}
    if name == "matrices":
        return {key: _store_matrix(key, matrix, arrays) for key, matrix in value.items()}
    return value


def _store_matrix(name: str, matrix: Any, arrays: dict[str, np.ndarray]) -> list[str] | None:
    """Its labels, None for an array."""
    arrays[f"matrix:{name}"] = np.asarray(matrix, dtype=np.float64)
    return list(map(str, matrix.index)) if hasattr(matrix, "index") else None


def _read_matrix(name: str, labels: list[str] | None, arrays: dict[str, np.ndarray]) -> Any:
    import pandas as pd

    values = arrays[f"matrix:{name}"]
    return values if labels is None else pd.DataFrame(values, index=labels, columns=labels)


def _store_column(name: str, column: Any, arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    about: dict[str, Any] = {"name": name}
    if isinstance(column, np.ndarray):
        arrays[f"column:{name}"] = column
        return about
    levels = np.asarray(column.categories)
    if levels.dtype == object:
        if not all(isinstance(value, str) for value in levels):
            raise InputError(f"save: the levels of '{name}' are neither text, numbers nor dates.")
        levels = levels.astype(str)
    arrays[f"column:{name}"] = np.asarray(column.codes)
    arrays[f"levels:{name}"] = levels
    return about


def _read_column(about: Mapping[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    import pandas as pd

    values = arrays[f"column:{about['name']}"]
    levels = arrays.get(f"levels:{about['name']}")
    if levels is None:
        return values
    categories = levels.astype(object) if levels.dtype.kind == "U" else levels
    return pd.Categorical.from_codes(values.tolist(), categories=pd.Index(categories))


def _numbers(solution: Fitted) -> dict[str, np.ndarray]:
    e = solution.estimate
    numbers = {name: np.asarray(getattr(e, name)) for name in _SCALARS}
    numbers |= {"beta": e.params.beta, "theta": e.params.theta, "phi": e.params.phi}
    numbers |= {"hessian": e.hessian, "covariance": solution.covariance}
    numbers |= {"natural": solution.natural.values, "jacobian": solution.natural.jacobian}
    numbers |= {"at_bound": solution.at_bound}
    for k, u in enumerate(e.u):
        numbers |= {f"u{k}": u, f"b{k}": solution.b[k], f"b_variance{k}": solution.b_variance[k]}
    return numbers


def _read_numbers(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Fitted:
    def each(name: str) -> tuple[np.ndarray, ...]:
        return tuple(arrays[f"{name}{k}"] for k in range(header["num_groupings"]))

    estimate = Estimate(
        params=Params(arrays["beta"], arrays["theta"], arrays["phi"]),
        u=each("u"),
        hessian=arrays["hessian"],
        **{name: arrays[name] for name in _SCALARS},
    )
    return Fitted(
        estimate=estimate,
        covariance=arrays["covariance"],
        natural=Natural(arrays["natural"], arrays["jacobian"]),
        at_bound=arrays["at_bound"],
        b=each("b"),
        b_variance=each("b_variance"),
        compile_seconds=header["seconds"][0],
        run_seconds=header["seconds"][1],
    )
