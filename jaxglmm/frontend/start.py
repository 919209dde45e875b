"""Unconstrained parameters that a caller gives."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxglmm.design import Problem
from jaxglmm.errors import InputError
from jaxglmm.params import Params


def given_params(where: str, given: Params | Mapping[str, Any], problem: Problem) -> Params:
    """`Params` of the problem's sizes; an InputError begins with `where`, the argument."""
    if not isinstance(given, (Mapping, Params)):
        raise InputError(
            f"{where}: expected Params or a dict of beta, theta and phi, got "
            f"{type(given).__name__}."
        )
    parts = given if isinstance(given, Mapping) else vars(given)
    names = list(inspect.signature(Params).parameters)
    unknown = set(parts) - set(names)
    if unknown or set(names) - set(parts):
        raise InputError(
            f"{where}: expected beta, theta and phi, got {', '.join(map(str, parts))}."
        )
    sizes = {
        "beta": problem.X.shape[1],
        "theta": sum(g.num_theta for g in problem.groupings),
        "phi": problem.family.num_phi,
    }
    arrays = {}
    for name, size in sizes.items():
        try:
            values = np.asarray(parts[name], float)
        except (TypeError, ValueError) as error:
            raise InputError(f"{where}: {name} must hold numbers ({error}).") from error
        if values.shape != (size,) or not np.all(np.isfinite(values)):
            raise InputError(
                f"{where}: {name} must hold {size} finite numbers, got {values.tolist()}."
            )
        arrays[name] = values
    return Params(**arrays)
