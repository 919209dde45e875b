"""How a model was called, as files hold it: words (JSON) and arrays beside them, no functions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxglmm import families, links, priors
from jaxglmm.control import Control
from jaxglmm.errors import InputError
from jaxglmm.families import AbstractFamily
from jaxglmm.links import AbstractLink

if TYPE_CHECKING:
    from jaxglmm.frontend.columns import Column

_ARRAYS = ("weights", "trials", "offset", "subset")

Arrays = dict[str, np.ndarray]


def family_words(law: AbstractFamily) -> dict[str, Any]:
    """The family without its link."""
    return {
        "family": law.name,
        "own_family": families.REGISTRY.get(law.name) is not type(law.base),
        "family_parameters": list(law.base.phi_names),
        "family_constants": law.known,
    }


def read_family(words: Mapping[str, Any]) -> AbstractFamily:
    """One of the library's own."""
    return dataclasses.replace(families.get(words["family"]), **words["family_constants"])


def link_word(link: AbstractLink) -> str | float | None:
    """A name or a power; None for a function of the user's own."""
    if isinstance(link, links.Power):
        return link.power
    return link.name if links.REGISTRY.get(link.name) is type(link) else None


def argument_words(arguments: Mapping[str, Any], arrays: Arrays, where: str) -> dict[str, Any]:
    """Arguments but the link; an InputError, which begins with `where`, if files cannot hold them.

    Their arrays go to `arrays`.
    """
    words: dict[str, Any] = {}
    for name, value in arguments.items():
        if name in _ARRAYS and value is not None and not isinstance(value, str):
            arrays[f"argument:{name}"] = np.asarray(value)
        elif name != "link":
            words[name] = _words(name, value, arrays, where)
    return words


def read_arguments(words: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The inverse of `argument_words`."""
    arguments: dict[str, Any] = dict(words)
    for name in _ARRAYS:
        if f"argument:{name}" in arrays:
            arguments[name] = arrays[f"argument:{name}"]
    if "control" in arguments:
        arguments["control"] = Control(**arguments["control"])
    if arguments.get("priors") is not None:
        arguments["priors"] = {n: _read_prior(own) for n, own in arguments["priors"].items()}
    known = arguments.get("matrices")
    if known is not None:
        arguments["matrices"] = {n: _read_matrix(n, own, arrays) for n, own in known.items()}
    return arguments


def _words(name: str, value: Any, arrays: Arrays, where: str) -> Any:
    """An argument as JSON keeps it; matrices go to `arrays`."""
    if value is None or isinstance(value, str):
        return value
    if name == "control":
        return dataclasses.asdict(value)
    if name == "contrasts":
        return dict(value)
    if name == "covariance":
        return {group: _structure_words(given) for group, given in value.items()}
    if name == "priors":
        return {key: _prior_words(key, density, where) for key, density in value.items()}
    if name == "matrices":
        return {key: _store_matrix(key, matrix, arrays) for key, matrix in value.items()}
    return value


def _prior_words(name: str, density: Any, where: str) -> dict[str, Any]:
    """The class and the numbers of a density."""
    kind = type(density)
    if getattr(priors, kind.__name__, None) is not kind or isinstance(density, priors.Custom):
        raise InputError(
            f"{where}: a fit with a prior of your own ({name}) cannot be saved: files hold no "
            "functions."
        )
    numbers = {key: float(value) for key, value in vars(density).items()}
    return {"density": kind.__name__, **numbers}


def _structure_words(given: Any) -> Any:
    """A structure's name or pattern, or those of each group of a further formula."""
    if isinstance(given, Mapping):
        return {group: _structure_words(own) for group, own in given.items()}
    return given if isinstance(given, str) else np.asarray(given).tolist()


def _store_matrix(name: str, matrix: Any, arrays: Arrays) -> list[str] | None:
    """Its labels, None for an array."""
    arrays[f"matrix:{name}"] = np.asarray(matrix, dtype=np.float64)
    return list(map(str, matrix.index)) if hasattr(matrix, "index") else None


def _read_prior(words: dict[str, Any]) -> priors.AbstractPrior:
    numbers = {key: value for key, value in words.items() if key != "density"}
    return getattr(priors, words["density"])(**numbers)


def _read_matrix(name: str, labels: list[str] | None, arrays: Mapping[str, np.ndarray]) -> Any:
    import pandas as pd

    values = arrays[f"matrix:{name}"]
    return values if labels is None else pd.DataFrame(values, index=labels, columns=labels)


def store_columns(table: Mapping[str, Column], arrays: Arrays, where: str) -> list[dict[str, Any]]:
    """Converted columns; their values go to `arrays`."""
    return [_store_column(name, column, arrays, where) for name, column in table.items()]


def _store_column(name: str, column: Column, arrays: Arrays, where: str) -> dict[str, Any]:
    about: dict[str, Any] = {"name": name}
    if isinstance(column, np.ndarray):
        arrays[f"column:{name}"] = column
        return about
    levels = np.asarray(column.categories)
    if levels.dtype == object:
        if not all(isinstance(value, str) for value in levels):
            raise InputError(
                f"{where}: the levels of '{name}' are neither text, numbers nor dates."
            )
        levels = levels.astype(str)
    arrays[f"column:{name}"] = np.asarray(column.codes)
    arrays[f"levels:{name}"] = levels
    return about


def read_columns(words: list[dict[str, Any]], arrays: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The inverse of `store_columns`: columns by their names."""
    return {about["name"]: _read_column(about, arrays) for about in words}


def _read_column(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    import pandas as pd

    values = arrays[f"column:{about['name']}"]
    levels = arrays.get(f"levels:{about['name']}")
    if levels is None:
        return values
    categories = levels.astype(object) if levels.dtype.kind == "U" else levels
    return pd.Categorical.from_codes(values.tolist(), categories=pd.Index(categories))
