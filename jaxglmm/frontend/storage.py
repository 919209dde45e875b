"""A fit as one file: the columns it used, how it was called, and its numbers.

The file is a NumPy archive without pickles: reading one runs no code. Names and design are made
again from the stored columns, so a loaded fit does all that the original does.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from jaxglmm import families, links
from jaxglmm.ascent import Estimate
from jaxglmm.errors import InputError
from jaxglmm.families import AbstractFamily
from jaxglmm.frontend import stored
from jaxglmm.frontend.build import build
from jaxglmm.frontend.fitting import Fitted
from jaxglmm.frontend.result import GLMM
from jaxglmm.inference.natural import Natural
from jaxglmm.inference.vcov import FLAT, smallest_eigenvalue
from jaxglmm.params import Params

_FORMAT = 2
# What NumPy, zipfile and zlib raise on files that are not whole archives.
_DAMAGED = (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)
_SCALARS = (
    "log_likelihood",
    "status",
    "singular",
    "limit",
    "iterations",
    "passes",
    "decrement",
    "monte_carlo_error",
)


def save(fit: GLMM, path: Path) -> None:
    """Write `fit` to `path` (any name; ".npz" is what it is)."""
    arrays: dict[str, Any] = {}
    header = {
        "format": _FORMAT,
        "formula": fit.formula,
        **stored.family_words(fit.family),
        "link": _link_word(fit),
        "arguments": stored.argument_words(fit.arguments, arrays, "save"),
        "columns": stored.store_columns(fit.labels.table, arrays, "save"),
        "num_groupings": len(fit.b),
        "seconds": [fit.solution.compile_seconds, fit.solution.run_seconds],
    }
    arrays |= _numbers(fit)
    with path.open("wb") as file:
        np.savez_compressed(file, header=np.array(json.dumps(header)), **arrays)


def load(path: str | Path, family: AbstractFamily | None = None) -> GLMM:
    """The fit that `GLMM.save` wrote to `path`.

    Args:
        path: the file.
        family: of a fit with a family of your own, that family again; files hold no functions.

    Raises:
        InputError: no such file, not one of these, or a family of your own that is not given.
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
    return _rebuild(header, arrays, _family(header, family))


def _family(header: dict[str, Any], given: AbstractFamily | None) -> AbstractFamily:
    """The family that the header names, or the user's own, which it describes."""
    name = header["family"]
    if not header.get("own_family"):
        if given is not None:
            raise InputError(
                f"load: this fit is of the library's family '{name}'. Leave family= out."
            )
        return stored.read_family(header)
    parameters = header["family_parameters"]
    if given is None:
        raise InputError(
            f"load: this fit is of a family of your own, '{name}', and files hold no functions. "
            "Give the family again: load(path, family=...)."
        )
    law = families.get(given)
    if (law.name, list(law.phi_names)) != (name, parameters):
        raise InputError(
            f"load: this fit is of the family '{name}' with the parameters "
            f"({', '.join(parameters)}), but family= is '{law.name}' with "
            f"({', '.join(law.phi_names)}). Give the family that was fitted."
        )
    return law


def _rebuild(header: dict[str, Any], arrays: dict[str, np.ndarray], family: AbstractFamily) -> GLMM:
    table = stored.read_columns(header["columns"], arrays)
    arguments = stored.read_arguments(header["arguments"], arrays)
    arguments["link"] = links.get(header["link"])
    problem, labels = build(header["formula"], table, family, **arguments)
    return GLMM(
        formula=header["formula"],
        problem=problem,
        labels=labels,
        solution=_read_numbers(header, arrays),
        arguments=arguments,
    )


def _link_word(fit: GLMM) -> str | float:
    word = stored.link_word(fit.link)
    if word is None:
        raise InputError(
            f"save: the link '{fit.link.name}' is a function of your own, which files do not "
            "hold. Keep the tables that you need (fit.fixed_effects().to_csv(...)), or fit with a "
            "named link."
        )
    return word


def _numbers(fit: GLMM) -> dict[str, np.ndarray]:
    solution, e = fit.solution, fit.estimate
    numbers = {name: np.asarray(getattr(e, name)) for name in _SCALARS}
    numbers |= {"beta": e.params.beta, "theta": e.params.theta, "phi": e.params.phi}
    numbers |= {"hessian": e.hessian, "covariance": solution.covariance}
    if e.log_prior is not None:
        numbers["log_prior"] = np.asarray(e.log_prior)
    if e.sparse is not None:
        numbers["sparse"] = np.asarray(e.sparse)
    numbers |= {"natural": solution.natural.values, "jacobian": solution.natural.jacobian}
    numbers |= {"at_bound": solution.at_bound}
    for k, u in enumerate(e.u):
        numbers |= {f"u{k}": u, f"b{k}": solution.b[k], f"b_variance{k}": fit.b_variance[k]}
    return numbers


def _read_numbers(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> Fitted:
    def each(name: str) -> tuple[np.ndarray, ...]:
        return tuple(arrays[f"{name}{k}"] for k in range(header["num_groupings"]))

    estimate = Estimate(
        params=Params(arrays["beta"], arrays["theta"], arrays["phi"]),
        u=each("u"),
        hessian=arrays["hessian"],
        flat=np.asarray(smallest_eigenvalue(arrays["hessian"]) < FLAT),
        log_prior=arrays.get("log_prior"),
        sparse=arrays.get("sparse"),
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
