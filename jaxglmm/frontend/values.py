"""Values of a model's parameters by their names, to unconstrained parameters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxglmm.covariance import AbstractCovariance
from jaxglmm.design import Problem
from jaxglmm.errors import InputError
from jaxglmm.frontend.checks import is_finite
from jaxglmm.frontend.held import bounds
from jaxglmm.frontend.model import ModelData
from jaxglmm.frontend.parameters import Named, Names
from jaxglmm.params import Params
from jaxglmm.rows import by_term
from jaxglmm.simulation import make_source

_PROBE = {"sd": 1.0, "corr": 0.0, "range": 1.0, "shape": 1.0}


def params_by_name(given: Mapping[str, Any], problem: Problem, data: ModelData) -> Params:
    """The parameters of which the tables would show these values.

    An InputError names those that are missing or unknown, and what is out of range.
    """
    known = Names(problem, data)
    _check_structures(problem, data)
    values = _named("params", known, given, problem)
    missing = [f"'{named.name}'" for named in known.all if named not in values]
    if missing:
        raise InputError(
            f"params: there is no value for {', '.join(missing)}. Give one for each parameter."
        )

    def of(vector: str, term: int = -1) -> list[float]:
        return [values[n] for n in known.all if n.vector == vector and n.term == term]

    theta = [_theta(of("theta", k), *term) for k, term in enumerate(_terms(problem, data))]
    return Params(
        beta=np.array(of("beta"), float),
        theta=np.concatenate([np.zeros(0), *theta]),
        phi=_phi(problem, of("phi")),
    )


def changed_params(
    where: str, params: Params, changes: Mapping[str, Any], problem: Problem, data: ModelData
) -> Params:
    """`params` with other values of some parameters, by their names and as the tables show them.

    An InputError begins with `where`, the argument. Random terms and the law keep their theta and
    phi to the last bit unless one of their own parameters is named.
    """
    values = _named(where, Names(problem, data), changes, problem)
    beta = np.array(params.beta, float)
    for named, value in values.items():
        if named.vector == "beta":
            beta[named.number] = value
    with jax.enable_x64(True):
        theta = _changed_theta(where, params, values, problem, data)
        phi = _changed_phi(where, params, values, problem)
    return Params(beta, theta, phi)


def _changed_theta(
    where: str, params: Params, values: Mapping[Named, float], problem: Problem, data: ModelData
) -> np.ndarray:
    source, parts = make_source(problem, xp=np), [np.zeros(0)]
    terms = zip(by_term(source, jnp.asarray(params.theta)), _terms(problem, data), strict=True)
    for k, (own, (structure, text)) in enumerate(terms):
        new = {n.number: v for n, v in values.items() if (n.vector, n.term) == ("theta", k)}
        theta = np.asarray(own.theta)
        if new:
            _check_structure(where, structure, text)
            before = structure.natural(jnp.asarray(theta), own.constants)
            theta = _theta(_replaced(before, new), structure, text, where)
        parts.append(theta)
    return np.concatenate(parts)


def _changed_phi(
    where: str, params: Params, values: Mapping[Named, float], problem: Problem
) -> np.ndarray:
    new = {named.number: v for named, v in values.items() if named.vector == "phi"}
    if not new:
        return np.array(params.phi, float)
    before = problem.family.natural(jnp.asarray(params.phi))
    return _phi(problem, _replaced(before, new), where)


def _replaced(before: Any, new: Mapping[int, float]) -> list[float]:
    return [new.get(k, float(value)) for k, value in enumerate(np.asarray(before))]


def _named(
    where: str, known: Names, given: Mapping[str, Any], problem: Problem
) -> dict[Named, float]:
    """The parameters of a dict and their values, checked."""
    values: dict[Named, float] = {}
    for name, value in given.items():
        named = _find(known, name, where)
        if named in values:
            raise InputError(f"{where}: '{named.name}' is given twice. Give it once.")
        values[named] = _checked(where, named, value, problem)
    return values


def _find(known: Names, name: Any, where: str = "params") -> Named:
    """By its name; `sd(g)` is the only standard deviation of g."""
    if not isinstance(name, str):
        raise InputError(f"{where}: the names of parameters are text, not {name!r}.")
    short = [named for named in known.all if named.group and f"{named.kind}({named.group})" == name]
    if len(short) == 1:
        return short[0]
    return known.find(where, name)


def _checked(where: str, named: Named, value: Any, problem: Problem) -> float:
    if not is_finite(value):
        raise InputError(f"{where}: '{named.name}' must be a finite number, got {value!r}.")
    value = float(value)
    if named.kind == "family":
        return value
    low, high = bounds(named, problem)
    if not (low < value < high or (named.kind == "sd" and value == 0)):
        least = "zero or more" if named.kind == "sd" else f"above {low:.3g}"
        beyond = f" and below {high:g}" if math.isfinite(high) else ""
        raise InputError(
            f"{where}: '{named.name}' cannot be {value:g}; give a number {least}{beyond}."
        )
    return value


def _terms(problem: Problem, data: ModelData) -> Iterator[tuple[AbstractCovariance, str]]:
    """The structure of every random term, and the term as it was typed."""
    for grouping, of in zip(problem.groupings, data.groupings, strict=True):
        for term, about in zip(grouping.terms, of.terms, strict=True):
            yield term.covariance, about.text


def _check_structures(problem: Problem, data: ModelData) -> None:
    """Refuse those whose theta does not follow from what the tables show."""
    for structure, text in _terms(problem, data):
        _check_structure("params", structure, text)


def _check_structure(where: str, structure: AbstractCovariance, text: str) -> None:
    if structure.theta_of([_PROBE[p.kind] for p in structure.parameters]) is None:
        raise InputError(
            f"{where}: the standard deviations and correlations of {text} do not determine the "
            f"parameters of its covariance structure '{structure.name}'. Give all parameters "
            "of the model as jaxglmm.Params(beta, theta, phi)."
        )


def _theta(
    values: list[float], structure: AbstractCovariance, text: str, where: str = "params"
) -> np.ndarray:
    try:
        theta = structure.theta_of(values)
        if theta is not None and np.isfinite(theta).all():
            return theta
    except (ValueError, ZeroDivisionError):
        pass
    raise InputError(
        f"{where}: the correlations of {text} are those of no covariance matrix: together they "
        "are not positive definite. Bring them nearer to zero."
    )


def _phi(problem: Problem, values: list[float], where: str = "params") -> np.ndarray:
    law = problem.family
    try:
        return law.phi_of(values)
    except (ValueError, ZeroDivisionError) as error:
        names = [*(["thresholds"] if law.num_thresholds else []), *law.phi_names]
        raise InputError(
            f"{where}: the family '{law.name}' cannot have {', '.join(names)} = "
            f"{', '.join(f'{value:g}' for value in values)} ({error})."
        ) from None
