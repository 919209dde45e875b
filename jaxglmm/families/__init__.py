"""Families: one law a file; `get` finds one by name or instance and sets its link."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable

from jaxglmm import links
from jaxglmm.errors import InputError
from jaxglmm.families.base import AbstractFamily
from jaxglmm.families.beta import Beta
from jaxglmm.families.betabinomial import BetaBinomial
from jaxglmm.families.binomial import Binomial
from jaxglmm.families.compois import ConwayMaxwellPoisson
from jaxglmm.families.cumulative import Cumulative
from jaxglmm.families.declared import custom
from jaxglmm.families.gamma import Gamma
from jaxglmm.families.gaussian import Gaussian
from jaxglmm.families.genpois import GeneralizedPoisson
from jaxglmm.families.inverse_gaussian import InverseGaussian
from jaxglmm.families.lognormal import LogNormal
from jaxglmm.families.modelled import Modelled
from jaxglmm.families.nbinom1 import NegativeBinomial1
from jaxglmm.families.nbinom2 import NegativeBinomial2
from jaxglmm.families.ordered_beta import OrderedBeta
from jaxglmm.families.poisson import Poisson
from jaxglmm.families.skew_normal import SkewNormal
from jaxglmm.families.student_t import StudentT
from jaxglmm.families.truncated_nbinom1 import TruncatedNegativeBinomial1
from jaxglmm.families.truncated_nbinom2 import TruncatedNegativeBinomial2
from jaxglmm.families.truncated_poisson import TruncatedPoisson
from jaxglmm.families.tweedie import Tweedie
from jaxglmm.families.user import Custom
from jaxglmm.families.zero_one_beta import ZeroOneBeta

REGISTRY: dict[str, type[AbstractFamily]] = {
    family.name: family
    for family in (
        Gaussian,
        Binomial,
        Poisson,
        Gamma,
        InverseGaussian,
        NegativeBinomial1,
        NegativeBinomial2,
        Beta,
        BetaBinomial,
        OrderedBeta,
        ZeroOneBeta,
        StudentT,
        LogNormal,
        SkewNormal,
        Tweedie,
        GeneralizedPoisson,
        ConwayMaxwellPoisson,
        TruncatedPoisson,
        TruncatedNegativeBinomial1,
        TruncatedNegativeBinomial2,
        Cumulative,
    )
}

_MEANS = dict.fromkeys(("positive", "nonnegative", "count", "positive_count"), "positive means")
_ELSEWHERE = {
    "normal": "gaussian",
    "bernoulli": "binomial",
    "binom": "binomial",
    "logistic": "binomial",
    "negbin": "nbinom2",
    "negbinomial": "nbinom2",
    "negativebinomial": "nbinom2",
    "nb2": "nbinom2",
    "nb1": "nbinom1",
    "ordinal": "cumulative",
    "t": "student_t",
}
"""What other software calls them."""

_CUT = ("unit_closed", "ordinal")  # supports of the laws that cut the line of eta by thresholds


def get(
    family: str | AbstractFamily, link: str | float | links.AbstractLink | None = None
) -> AbstractFamily:
    """The family of that name (or the instance), with `link` in place of its own if given.

    Raises:
        InputError: an unknown name, or a link that cannot reach the family's means.
    """
    law = _find(family)
    if isinstance(law, Custom) and law.name in REGISTRY:
        raise InputError(
            f"family: '{law.name}' is the name of a family of the library. Give yours another: "
            "custom(log_prob, name=...)."
        )
    if link is not None:
        law = dataclasses.replace(law, link=links.get(link))
    if law.support in _MEANS and law.link.range == "unit":
        raise InputError(
            f"link: '{law.link.name}' reaches means between 0 and 1 only, but family "
            f"'{law.name}' has {_MEANS[law.support]}; use 'log' or another link onto (0, inf)."
        )
    if law.support in _CUT and law.link.range != "unit":
        raise InputError(
            f"link: '{law.link.name}' is the inverse of no distribution function, which family "
            f"'{law.name}' needs; use 'logit' or another link onto (0, 1)."
        )
    return law


def modelled(
    law: AbstractFamily, *, dispersion: bool = False, zero_inflation: bool = False
) -> AbstractFamily:
    """The law with linear predictors for its dispersion and for a probability of zeros.

    Raises:
        InputError: the law has no dispersion parameter, or no zeros can be added to it.
    """
    if dispersion and not (law.dispersed and law.phi_names):
        raise InputError(
            f"dispersion: the family '{law.name}' has no dispersion to be modelled; these have: "
            f"{_those(lambda other: other.dispersed)}. Leave the argument out."
        )
    if zero_inflation and law.zeros == "refused":
        raise InputError(
            f"zero_inflation: no probability of zeros can be added to the family '{law.name}'; "
            f"it can to {_those(lambda other: other.zeros != 'refused')}. Leave the argument out."
        )
    if not (dispersion or zero_inflation):
        return law
    return Modelled(law, dispersion=dispersion, inflation=zero_inflation)


def _those(which: Callable[[type[AbstractFamily]], bool]) -> str:
    """The names of the families for which it holds."""
    return ", ".join(name for name, family in REGISTRY.items() if which(family))


def _find(family: str | AbstractFamily) -> AbstractFamily:
    if isinstance(family, AbstractFamily):
        return family
    if isinstance(family, type) and issubclass(family, AbstractFamily):
        return family()  # type: ignore[call-arg]
    if not isinstance(family, str):
        raise InputError(
            "family: expected a name or an instance of a class of jaxglmm.families, got "
            f"{type(family).__name__}."
        )
    key = family.strip().lower()
    if key in REGISTRY:
        return REGISTRY[key]()  # type: ignore[call-arg]
    known = _ELSEWHERE.get("".join(filter(str.isalnum, key)))
    near = [known] if known else difflib.get_close_matches(key, REGISTRY, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise InputError(
        f"family: '{family}' is not a known family.{hint} Known families: {', '.join(REGISTRY)}."
    )


__all__ = [
    "AbstractFamily",
    "Beta",
    "BetaBinomial",
    "Binomial",
    "ConwayMaxwellPoisson",
    "Cumulative",
    "Custom",
    "Gamma",
    "Gaussian",
    "GeneralizedPoisson",
    "InverseGaussian",
    "LogNormal",
    "Modelled",
    "NegativeBinomial1",
    "NegativeBinomial2",
    "OrderedBeta",
    "Poisson",
    "REGISTRY",
    "SkewNormal",
    "StudentT",
    "TruncatedNegativeBinomial1",
    "TruncatedNegativeBinomial2",
    "TruncatedPoisson",
    "Tweedie",
    "ZeroOneBeta",
    "custom",
    "get",
    "modelled",
]
