"""`priors=`: names and densities to the prior of a problem."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np

from jaxglmm.covariance import Unstructured
from jaxglmm.design import Problem
from jaxglmm.errors import InputError
from jaxglmm.frontend.held import Restricted
from jaxglmm.frontend.model import ModelData
from jaxglmm.frontend.parameters import Named, Names
from jaxglmm.priors import AbstractPrior, Custom, Penalty, Prior

ALL_FIXED, ALL_SD = "fixed", "sd"


def with_priors(restricted: Restricted, data: ModelData, priors: Any) -> Problem:
    """The problem with its prior; an InputError names what can have none."""
    problem = restricted.problem
    if priors is None:
        return problem
    if not isinstance(priors, Mapping):
        raise InputError(
            "priors: expected a dict of names and densities, such as "
            f"{{'x': jaxglmm.priors.Normal(0, 2.5)}}, got {type(priors).__name__}."
        )
    known = Names(problem, data)
    penalties: dict[bool, list[Penalty]] = {True: [], False: []}
    for name, given in priors.items():
        density = _density(name, given)
        found = _correlations(name, known, problem) if density.joint else _found(name, known)
        for named in found:
            _check(named, density, problem, restricted.held)
        found = _once(found, restricted.shared)
        on_beta = found[0].vector == "beta"
        places = [_place(named, problem) for named in found]
        penalties[on_beta].append(Penalty(_numbers(density), tuple(places)))
    p = problem.X.shape[1]
    prior = Prior(tuple(penalties[True]), tuple(penalties[False]), np.eye(p), np.zeros(p))
    return problem.replace(prior=prior) if any(penalties.values()) else problem


def _density(name: Any, given: Any) -> AbstractPrior:
    if isinstance(given, AbstractPrior):
        return given
    if callable(given) and not isinstance(given, type):
        return Custom(cast("Callable[[Any], Any]", given))
    raise InputError(
        f"priors: {name!r} needs a density of jaxglmm.priors, such as Normal(0, 2.5), or a "
        f"function of the parameter that returns its log-density; got {given!r}."
    )


def _numbers(density: AbstractPrior) -> Any:
    """With arrays for its hyperparameters."""
    changes = {
        field.name: np.asarray(getattr(density, field.name), float)
        for field in dataclasses.fields(density)  # type: ignore[arg-type]
        if not field.metadata.get("static")
    }
    return dataclasses.replace(density, **changes)  # type: ignore[type-var]


def _found(name: str, known: Names) -> list[Named]:
    """The parameter of that name; all coefficients of the main formula but the intercept for
    "fixed", all standard deviations for "sd"."""
    groups = {
        ALL_FIXED: [n for n in known.all if n.slope],
        ALL_SD: [n for n in known.all if n.kind == "sd"],
    }
    if name not in known.places and groups.get(name):
        return groups[name]
    return [known.find("priors", name)]


def _correlations(name: str, known: Names, problem: Problem) -> list[Named]:
    """All of the term that `corr(g)` names by its grouping factor."""
    group = name.replace(" ", "").removeprefix("corr(").removesuffix(")")
    listed = [n for n in known.all if n.kind == "corr" and n.group == group]
    terms = {n.term for n in listed}
    structures = [t.covariance for g in problem.groupings for t in g.terms]
    whole = [k for k in terms if isinstance(structures[k], Unstructured)]
    if len(terms) == 1 and whole:
        return listed
    raise InputError(
        f"priors: {name!r} is given a density of a whole correlation matrix, and must be 'corr(g)' "
        "with a grouping factor g that has one term with unstructured correlations."
    )


def _once(found: list[Named], shared: tuple[tuple[str, ...], ...]) -> list[Named]:
    """Parameters that are one and the same count once."""
    first = {name: group[0] for group in shared for name in group}
    return list({first.get(named.name, named.name): named for named in found}.values())


def _place(named: Named, problem: Problem) -> int:
    """Among the fixed effects, or the natural parameters."""
    if named.vector == "beta":
        return named.number
    sizes = [len(t.covariance.parameters) for g in problem.groupings for t in g.terms]
    if named.vector == "theta":
        return sum(sizes[: named.term]) + named.number
    return sum(sizes) + named.number


def _check(named: Named, density: AbstractPrior, problem: Problem, held: Mapping[str, Any]) -> None:
    if named.name in held:
        raise InputError(
            f"priors: '{named.name}' is held at {held[named.name]:g} by Control(fixed=...). A "
            "prior has no effect on it: leave one of them out."
        )
    if named.vector == "beta" and problem.inside:
        raise InputError(
            f"priors: method='{problem.method}' takes the fixed effects for inner variables; a "
            f"prior of '{named.name}' needs method='laplace'."
        )
    signed = named.kind in ("fixed", "threshold", "corr") or named.name in problem.family.signed
    if density.positive and signed:
        raise InputError(
            f"priors: {type(density).__name__} is a density of positive parameters, but "
            f"'{named.name}' may have either sign. Use Normal or StudentT."
        )
