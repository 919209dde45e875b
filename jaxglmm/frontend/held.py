"""`Control(fixed=, shared=)`: names and values to the restriction of a problem."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxglmm.control import Control
from jaxglmm.covariance import AbstractCovariance
from jaxglmm.design import Grouping, Problem
from jaxglmm.errors import InputError
from jaxglmm.families import AbstractFamily
from jaxglmm.frontend.model import ModelData
from jaxglmm.frontend.parameters import Named, Names
from jaxglmm.restriction import HELD, Restriction, Share

_PROBES = (0.25, 0.75)  # values that every kind of parameter may have
_CLOSED = ("sd", "corr")  # kinds that may be at their bounds


class Restricted(NamedTuple):
    """A problem with its restriction, and the names as the tables have them."""

    problem: Problem
    held: dict[str, float]
    shared: tuple[tuple[str, ...], ...]


def restrict(problem: Problem, data: ModelData, control: Control) -> Restricted:
    """The problem as `control` restricts it; an InputError names what cannot be."""
    if not control.fixed and not control.shared:
        return Restricted(problem, {}, ())
    known = Names(problem, data)
    fixed = [
        (known.find("Control(fixed=...)", name), value)
        for name, value in (control.fixed or {}).items()
    ]
    shared = [
        [known.find("Control(shared=...)", name) for name in group] for group in control.shared
    ]
    _check_once([*(named for named, _ in fixed), *(named for group in shared for named in group)])
    for named, value in fixed:
        _check_range(named, value, problem)
    for group in shared:
        _check_alike(group, problem)
    terms = _coordinates(problem, [named for named, _ in fixed], shared)
    problem = with_terms(problem, terms).replace(family=_law(problem, fixed))
    restriction = _restriction(problem, terms, fixed, shared)
    names = tuple(tuple(named.name for named in group) for group in shared)
    return Restricted(
        problem.replace(restriction=restriction), {n.name: v for n, v in fixed}, names
    )


def _check_once(used: list[Named]) -> None:
    for k, named in enumerate(used):
        if named in used[:k]:
            raise InputError(
                f"Control(fixed=..., shared=...): '{named.name}' is named twice. A parameter is "
                "held at one value or shared in one group."
            )


def terms_of(problem: Problem) -> list[AbstractCovariance]:
    """The covariance structures of all terms."""
    return [term.covariance for grouping in problem.groupings for term in grouping.terms]


def bounds(named: Named, problem: Problem) -> tuple[float, float]:
    """Of a fixed effect or a covariance parameter."""
    if named.vector != "theta":
        return -np.inf, np.inf
    return bounds_of(named.kind, terms_of(problem)[named.term])


def bounds_of(kind: str, structure: AbstractCovariance) -> tuple[float, float]:
    """Of a parameter of a covariance structure."""
    return (structure.lowest_correlation, 1.0) if kind == "corr" else (0.0, np.inf)


def _check_range(named: Named, value: float, problem: Problem) -> None:
    low, high = bounds(named, problem)
    if named.vector == "phi":
        return _check_of_law(named, value, problem.family)
    inside = low <= value <= high if named.kind in _CLOSED else low < value < high
    if not inside:
        raise InputError(
            f"Control(fixed=...): '{named.name}' cannot be {value:g}; give a number "
            + (f"between {low:.3g} and {high:g}." if np.isfinite(high) else f"above {low:g}.")
        )


def _check_of_law(named: Named, value: float, law: AbstractFamily) -> None:
    try:
        if law.by_parameter.coordinate(named.number, value) is not None:
            return
    except (ValueError, ZeroDivisionError):
        raise InputError(
            f"Control(fixed=...): '{named.name}' cannot be {value:g}: that is outside of the "
            f"range of this parameter of the family '{law.name}'."
        ) from None
    other = "Use thresholds='flexible'" if named.kind == "threshold" else "Leave it out"
    raise InputError(
        f"Control(fixed=...): '{named.name}' of the family '{law.name}' cannot be held on its own. "
        f"{other}."
    )


def _law(problem: Problem, fixed: list[tuple[Named, float]]) -> AbstractFamily:
    """The family, `by_parameter` where some of its own parameters are held."""
    held = [(named, value) for named, value in fixed if named.vector == "phi"]
    law = problem.family.by_parameter
    if not held or law == problem.family:
        return problem.family
    phi, known = np.zeros(law.num_phi), np.zeros(law.num_phi, bool)
    for named, value in held:
        found = law.coordinate(named.number, value)
        assert found is not None  # checked before
        phi[found[0]], known[found[0]] = found[1], True
    try:
        with jax.enable_x64(True):
            law.phi_of(law.natural(law.beside(known, jnp.asarray(phi))).tolist())
    except ValueError:
        names = " and ".join(f"'{named.name}' at {value:g}" for named, value in held)
        raise InputError(
            f"Control(fixed=...): {names} cannot be held together: thresholds and cutoffs ascend "
            "in the order of the categories."
        ) from None
    return law


def _check_alike(group: list[Named], problem: Problem) -> None:
    """Fixed effects of one formula, or covariance parameters of one kind."""
    first = group[0]
    for other in group[1:]:
        alike = first.kind == other.kind and first.vector != "phi"
        if alike and first.kind == "fixed":
            alike = problem.predictors[first.number] == problem.predictors[other.number]
        if not alike:
            raise InputError(
                f"Control(shared=...): '{first.name}' and '{other.name}' cannot be one parameter. "
                "Fixed effects of one formula can, and covariance parameters of one kind."
            )


def _coordinates(
    problem: Problem, held: list[Named], shared: list[list[Named]]
) -> list[AbstractCovariance]:
    """The covariance structures, some by other theta, such that every parameter that is held or
    shared is a function of one entry, and of equal parameters the same one."""
    terms = terms_of(problem)
    groups = [group for group in shared if group[0].vector == "theta"]
    groups += [[named] for named in held if named.vector == "theta"]
    for group in groups:
        if not _alike(terms, group):
            for named in group:
                terms[named.term] = terms[named.term].by_parameter
    for group in groups:  # of the structures as they are now
        for named in group:
            if not _alike(terms, [named]):
                structure = terms_of(problem)[named.term].name
                raise InputError(
                    f"Control(...): '{named.name}' cannot be held or shared on its own: in the "
                    f"covariance structure '{structure}' it is a function of several parameters. "
                    "Use diag(...) or cs(...) around the term, reorder its columns (correlations "
                    "with the first one can be held in 'us'), or give covariances of zero by "
                    "covariance={'g': matrix of zeros and ones}."
                )
        if not _alike(terms, group):
            names = " and ".join(f"'{named.name}'" for named in group)
            raise InputError(
                f"Control(shared=...): {names} belong to covariance structures that cannot share "
                "this parameter. Use one structure for these terms."
            )
    return terms


def _alike(terms: list[AbstractCovariance], group: list[Named]) -> bool:
    """Whether each is a function of one entry of theta, the same function for all."""
    found = []
    for named in group:
        at = [terms[named.term].coordinate(named.number, value) for value in _PROBES]
        found.append([None if own is None else own.value for own in at])
    return None not in found[0] and all(own == found[0] for own in found)


def with_terms(problem: Problem, terms: list[AbstractCovariance]) -> Problem:
    """The problem with other covariance structures, which have their own theta."""
    left = iter(terms)

    def moved(grouping: Grouping) -> Grouping:
        own = tuple(dataclasses.replace(t, covariance=next(left)) for t in grouping.terms)
        return dataclasses.replace(grouping, terms=own)

    return problem.replace(groupings=tuple(moved(grouping) for grouping in problem.groupings))


def _restriction(
    problem: Problem,
    terms: list[AbstractCovariance],
    fixed: list[tuple[Named, float]],
    shared: list[list[Named]],
) -> Restriction:
    sizes = [term.num_theta for term in terms]
    starts = np.concatenate([[0], np.cumsum(sizes)])

    def place(named: Named, value: float) -> tuple[int, float]:
        if named.vector == "beta":
            return named.number, value
        if named.vector == "phi":
            at = problem.family.coordinate(named.number, value)
        else:
            at = terms[named.term].coordinate(named.number, value)
        assert at is not None  # checked before
        return int(starts[named.term]) + at[0] if named.vector == "theta" else at[0], at[1]

    def share(vector: str, size: int) -> Share:
        values, label = np.zeros(size), np.arange(size)
        for named, value in fixed:
            if named.vector == vector:
                entry, values_at = place(named, value)
                values[entry], label[entry] = values_at, HELD
        for group in shared:
            if group[0].vector == vector:
                entries = [place(named, _PROBES[0])[0] for named in group]
                label[entries] = min(entries)
        free = list(dict.fromkeys(int(k) for k in label if k != HELD))
        return Share(values, tuple(HELD if k == HELD else free.index(int(k)) for k in label))

    return Restriction(
        beta=share("beta", problem.X.shape[1]),
        theta=share("theta", sum(sizes)),
        phi=share("phi", problem.family.num_phi),
    )
