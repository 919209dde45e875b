"""What walks follow: the parameters of a fit as functions of psi."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from jaxglmm import status as codes
from jaxglmm.design import PSEUDO
from jaxglmm.errors import InputError
from jaxglmm.frontend.held import bounds_of
from jaxglmm.frontend.many.design import Design, make_design
from jaxglmm.frontend.parameters import parameter_names
from jaxglmm.frontend.tables import every_parameter
from jaxglmm.inference.natural import thresholds_among
from jaxglmm.inference.straight import Chosen

if TYPE_CHECKING:
    from jaxglmm.design import Problem
    from jaxglmm.frontend.result import GLMM

_FAR = 1e3  # an entry of phi at its end


class Followed(NamedTuple):
    """A parameter to be profiled.

    Attributes:
        name: in the tables.
        estimate: its value at the maximum.
        bounds: lowest and highest value that it can have.
        chosen: what walks follow, rising with the parameter.
        place: among `params.natural_values`, -1 for a fixed effect.
    """

    name: str
    estimate: float
    bounds: tuple[float, float]
    chosen: Chosen
    place: int


def check_criterion(verb: str, fit: GLMM) -> None:
    """Refuse fits by pseudo-likelihood."""
    if fit.method in PSEUDO:
        raise InputError(
            f"{verb}: method='{fit.method}' maximises no function of the parameters. Fit by "
            "method='laplace'."
        )


def followed_of(fit: GLMM, names: list[str], *, every: bool) -> list[Followed]:
    """What can be profiled of these; an InputError names what cannot, unless all were asked for."""
    check_criterion("profile", fit)
    if int(fit.estimate.status) == codes.NONFINITE:
        raise InputError(
            f"The fit has no maximum to profile from (status '{fit.status}'). {fit.status_message}"
        )
    design = make_design(fit.problem)
    values = every_parameter(fit, "estimate")[0, 0].tolist()
    everything = zip(parameter_names(fit.data, fit.problem), values, strict=True)
    found = list[Followed]()
    for number, (name, value) in enumerate(everything):
        if name not in names or name in fit.held or not np.isfinite(value):
            continue
        one = _one(fit, design, number, name, value)
        if one is None and not every:
            raise InputError(
                f"parameters: '{name}' cannot be profiled: method='{fit.method}' has its criterion "
                "in the covariance parameters alone. Fit by method='laplace' (as lme4's confint "
                "does by itself), or use method='wald' or 'bootstrap'."
            )
        if one is not None:
            found.append(one)
    return found


def _one(fit: GLMM, design: Design, number: int, name: str, value: float) -> Followed | None:
    """The parameter of this number in the order of the tables; None for a fixed effect that is
    integrated out."""
    num_natural, p = len(fit.natural.values), len(fit.labels.fixed)
    none = np.zeros(num_natural, bool)
    if number < p:
        linear = _linear_of_fixed(design, number)
        if linear is None:
            return None
        return Followed(name, value, (-np.inf, np.inf), Chosen(linear, none), -1)
    place = _natural_place(fit, number - p)
    among = thresholds_among(fit.family, num_natural)
    entry = _entry(fit, place - among.start, value) if place >= among.stop else None
    if entry is not None:
        slope = fit.natural.jacobian[place, len(fit.estimate.params.theta) + entry]
        sign = -1.0 if slope < 0 else 1.0
        chosen = Chosen(_linear_of_own(design, entry, sign), none)
        return Followed(name, value, _ends_of(fit, place, entry, sign), chosen, place)
    chosen = Chosen(_no_linear(design), np.arange(num_natural) == place)
    return Followed(name, value, _bounds(fit, place), chosen, place)


def _natural_place(fit: GLMM, number: int) -> int:
    """Of a parameter behind the fixed effects: thresholds come first in the tables, but after those
    of the covariances in `natural`."""
    thresholds = fit.family.num_thresholds
    covariances = thresholds_among(fit.family, len(fit.natural.values)).start
    if number < thresholds:
        return covariances + number
    return number - thresholds if number < thresholds + covariances else number


def _entry(fit: GLMM, own: int, value: float) -> int | None:
    """The entry of phi that a parameter of the law is a function of, if it is of one alone."""
    try:
        found = fit.family.coordinate(own, value)
    except (ValueError, ZeroDivisionError, OverflowError):
        return None
    return None if found is None else found[0]


def _bounds(fit: GLMM, place: int) -> tuple[float, float]:
    """Of a natural parameter."""
    parameters = [
        (parameter.kind, term.covariance)
        for grouping in fit.problem.groupings
        for term in grouping.terms
        for parameter in term.covariance.parameters
    ]
    if place >= len(parameters):
        return -math.inf, math.inf
    return bounds_of(*parameters[place])


def _ends_of(fit: GLMM, place: int, entry: int, sign: float) -> tuple[float, float]:
    """What a parameter of the law tends to at the ends of its entry of phi."""
    phi = np.asarray(fit.estimate.params.phi, float)
    own = place - thresholds_among(fit.family, len(fit.natural.values)).start

    def at(value: float) -> float:
        moved = phi.copy()
        moved[entry] = value
        with jax.enable_x64(True), np.errstate(over="ignore"):
            return float(np.asarray(fit.family.natural(jax.numpy.asarray(moved)))[own])

    return at(-sign * _FAR), at(sign * _FAR)


def _linear_of_fixed(design: Design, number: int) -> np.ndarray | None:
    """The weights of psi in a fixed effect of the caller's; None where it is no parameter of the
    criterion (REML integrates it out)."""
    whole, rows = design.whole, design.rows
    own = np.zeros(whole.X.shape[1])
    own[number] = 1.0
    if whole.restriction is not None:
        own = whole.restriction.beta.pull(own)
    if design.basis is not None:
        own = own @ design.basis.T
    if np.any(own[list(rows.inside)]):
        return None
    return np.concatenate([own[list(rows.outside)], np.zeros(_num_others(whole))])


def _linear_of_own(design: Design, place: int, sign: float) -> np.ndarray:
    """The same for an entry of phi."""
    own = np.zeros(design.rows.num_fixed + _num_others(design.whole))
    own[design.rows.num_fixed + design.rows.num_theta + place] = sign
    return own


def _no_linear(design: Design) -> np.ndarray:
    """The same for what is no linear function of psi."""
    return np.zeros(design.rows.num_fixed + _num_others(design.whole))


def _num_others(problem: Problem) -> int:
    """Number of theta and phi."""
    return sum(g.num_theta for g in problem.groupings) + problem.family.num_phi
