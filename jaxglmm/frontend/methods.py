"""The names of the methods, and what each asks of a model."""

from __future__ import annotations

from typing import Any

from jaxglmm.control import Control
from jaxglmm.design import METHODS, MOST_LATENT, PSEUDO, Grouping, Problem
from jaxglmm.errors import InputError
from jaxglmm.families import REGISTRY, AbstractFamily
from jaxglmm.families.quasi import Quasi
from jaxglmm.frontend.checks import is_whole, machine_memory
from jaxglmm.frontend.model import ModelData
from jaxglmm.marginal.quadrature import most_points, rule_bytes

_MOST_POINTS = 10_000
USUAL_POINTS = 11
"""Quadrature points where none are asked for."""


def check_method(method: Any, quadrature_points: Any) -> None:
    """A known method, and points for the one that has some."""
    if method not in METHODS:
        raise InputError(f"method: {method!r} is not known; known methods: {', '.join(METHODS)}.")
    if quadrature_points is None:
        return
    if method != "agq":
        raise InputError(
            f"quadrature_points: method='{method}' has none; use method='agq' or leave the "
            "argument out."
        )
    check_points("quadrature_points", quadrature_points)


def points_of(method: str, quadrature_points: int | None) -> int:
    """Of a problem: one by every method but "agq"."""
    if method != "agq":
        return 1
    return USUAL_POINTS if quadrature_points is None else int(quadrature_points)


def check_quadrature(
    groupings: tuple[Grouping, ...],
    data: ModelData,
    points: int,
    argument: str = "method='agq'",
    of_points: str = "quadrature_points",
) -> None:
    """One grouping factor of few random effects, and no more points than memory holds; what asked
    for them are the arguments of those names."""
    if len(groupings) != 1:
        named = " and ".join(f"'{g.name}'" for g in data.groupings)
        of = f"has the grouping factors {named}" if named else "has no random effects"
        raise InputError(
            f"{argument}: quadrature is for models with one grouping factor; this one {of}. "
            "Use method='laplace'" + (" (exact here)." if not named else ".")
        )
    (grouping,), (own,) = groupings, data.groupings
    if grouping.num_latent > MOST_LATENT:
        raise InputError(
            f"{argument}: quadrature is for at most {MOST_LATENT} random effects a level; "
            f"'{own.name}' has {grouping.num_latent}. Use method='laplace' or a simpler term."
        )
    if points > _MOST_POINTS:
        raise InputError(
            f"{of_points}: {points} points; rules of more than {_MOST_POINTS} are not computed, "
            "and 25 are nearly always enough."
        )
    limit = machine_memory()
    if rule_bytes(points, grouping.num_latent) > limit:
        raise InputError(
            f"{of_points}: {points} points for each of the {grouping.num_latent} random "
            f"effects of '{own.name}' need {1e-9 * rule_bytes(points, grouping.num_latent):,.1f} "
            f"GB of memory, but this machine has {1e-9 * limit:,.1f} GB. At most "
            f"{most_points(grouping.num_latent, limit)} fit; 25 are nearly always enough."
        )


def with_dispersion(law: AbstractFamily, method: str, control: Control) -> AbstractFamily:
    """The law, or its quasi-likelihood where a dispersion is asked for; refused where the method
    does not fit it."""
    if method not in PSEUDO:
        if control.estimate_dispersion:
            raise InputError(
                f"Control(estimate_dispersion=True): method='{method}' is for laws with a density, "
                "which a dispersion takes from binomial and poisson. Use method='mpl' or 'rempl', "
                "or a family with a dispersion (betabinomial, nbinom2)."
            )
        return law
    if not law.exponential:
        raise InputError(
            f"method='{method}': pseudo-likelihood is for {', '.join(_exponential())} without "
            f"formulas for dispersion or zeros; the family is '{law.name}'. Use method='laplace'."
        )
    if control.estimate_dispersion and not (law.num_phi or law.known):
        return Quasi(law.link, law)
    return law


def _exponential() -> list[str]:
    return [name for name, law in REGISTRY.items() if law.exponential]


def check_pseudo(problem: Problem, priors: Any) -> None:
    """Pseudo-likelihood is of all parameters, and of the data alone."""
    restriction = problem.restriction
    if priors:
        raise InputError(
            f"priors: method='{problem.method}' fits working responses, whose likelihood no prior "
            "is a part of. Use method='laplace'."
        )
    if restriction is not None and restriction.inner:
        raise InputError(
            f"Control(fixed=..., shared=...): method='{problem.method}' estimates all covariance "
            "and family parameters. Hold or share fixed effects only, or use method='laplace'."
        )


def check_points(argument: str, points: Any) -> None:
    """A number of points."""
    if not is_whole(points) or points < 1:
        raise InputError(f"{argument}: {points!r} is no whole number of at least 1.")
