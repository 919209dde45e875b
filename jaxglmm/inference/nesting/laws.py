"""Laws that are special cases, or limits, of others."""

from __future__ import annotations

import dataclasses

import numpy as np

from jaxglmm.design import Problem
from jaxglmm.families import (
    AbstractFamily,
    BetaBinomial,
    Binomial,
    ConwayMaxwellPoisson,
    Cumulative,
    Gaussian,
    GeneralizedPoisson,
    NegativeBinomial1,
    NegativeBinomial2,
    Poisson,
    SkewNormal,
    StudentT,
    TruncatedNegativeBinomial1,
    TruncatedNegativeBinomial2,
    TruncatedPoisson,
)
from jaxglmm.inference.nesting.within import NOT_WITHIN, Within, implies
from jaxglmm.restriction import all_free

# (smaller, larger) -> parameters of the larger law that are at a bound where it is the smaller one.
_LIMITS: dict[tuple[type[AbstractFamily], type[AbstractFamily]], int] = {
    (Poisson, NegativeBinomial1): 1,  # phi = 0
    (Poisson, NegativeBinomial2): 1,  # 1 / size = 0
    (Poisson, GeneralizedPoisson): 0,  # phi = 1, with less and more beside it
    (Poisson, ConwayMaxwellPoisson): 0,
    (TruncatedPoisson, TruncatedNegativeBinomial1): 1,
    (TruncatedPoisson, TruncatedNegativeBinomial2): 1,
    (Binomial, BetaBinomial): 1,  # 1 / phi = 0
    (Gaussian, StudentT): 1,  # 1 / df = 0
    (Gaussian, SkewNormal): 0,  # skewness 0: regular in Azzalini's centred parameters
}
_SPACINGS = ("equidistant", "symmetric", "flexible")


def law_within(small: Problem, large: Problem) -> Within:
    """Of the laws with the parameters of their own: equal, some known or held, thresholds of a
    narrower spacing, a limit; further linear predictors (dispersion, zeros) may be added."""
    laws = small.family, large.family
    found = _base_within(laws[0].base, laws[1].base)
    if laws[0].weight_role != laws[1].weight_role and not _all_or_nothing(large):
        return NOT_WITHIN
    if not set(laws[0].components) <= set(laws[1].components):
        return NOT_WITHIN
    if large.restriction is not None and not large.restriction.phi.trivial:
        own = small.restriction.phi if small.restriction else all_free(laws[0].num_phi)
        if laws[0] != laws[1] or not implies(own, large.restriction.phi):
            return NOT_WITHIN
    if "zi" in set(laws[1].components) - set(laws[0].components):
        return Within(found.nested, _zeros_at_bound(large, found))
    modelled = "disp" in laws[1].components
    if modelled and type(laws[0].base) is not type(laws[1].base):
        return Within(found.nested, None)  # coefficients of a dispersion without an effect
    return found


def _all_or_nothing(problem: Problem) -> bool:
    """Whether weights do nothing but leave rows out, or multiply the log-density of any law."""
    return problem.weights_multiply or bool(np.all(np.isin(problem.weights, (0.0, 1.0))))


def _base_within(small: AbstractFamily, large: AbstractFamily) -> Within:
    small, large = small.by_parameter, large.by_parameter  # however they are parametrised
    if small == large:
        return Within(True, 0)
    if type(small) is not type(large):
        at_bound = _LIMITS.get((type(small), type(large)))
        if at_bound is None or small.link != large.link or small.known or large.known:
            return NOT_WITHIN
        return Within(True, at_bound)
    if isinstance(small, Cumulative) and isinstance(large, Cumulative):
        wider = _SPACINGS.index(small.thresholds) < _SPACINGS.index(large.thresholds)
        alike = dataclasses.replace(small, thresholds=large.thresholds).by_parameter == large
        return Within(True, 0) if wider and alike else NOT_WITHIN
    fields = {field.name for field in dataclasses.fields(small)}
    if not small.known or not set(small.known) <= fields:
        return NOT_WITHIN
    if dataclasses.replace(small, **dict.fromkeys(small.known)) != large:
        return NOT_WITHIN
    return Within(True, None if isinstance(small, Gaussian) else 0)  # its sigma may stand for 0


def _zeros_at_bound(large: Problem, found: Within) -> int | None:
    """A probability of zeros that the smaller law does not have is at its bound, 0; where it is
    one number, the only parameter there is."""
    place = large.family.components.index("zi")
    columns = large.predictors.count(place)
    terms = [term for grouping in large.groupings for term in grouping.terms]
    if any(place in term.predictors for term in terms) or found.at_bound is None:
        return None
    if large.family.base.zeros == "own":
        return found.at_bound
    return found.at_bound + 1 if columns == 1 else None
