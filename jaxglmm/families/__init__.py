"""Families: one law a file; `get` finds one by name or instance and sets its link."""

from __future__ import annotations

import dataclasses
import difflib

from jaxglmm import links
from jaxglmm.errors import InputError
from jaxglmm.families.base import AbstractFamily
from jaxglmm.families.beta import Beta
from jaxglmm.families.binomial import Binomial
from jaxglmm.families.gamma import Gamma
from jaxglmm.families.gaussian import Gaussian
from jaxglmm.families.inverse_gaussian import InverseGaussian
from jaxglmm.families.nbinom2 import NegativeBinomial2
from jaxglmm.families.poisson import Poisson

REGISTRY: dict[str, type[AbstractFamily]] = {
    family.name: family
    for family in (Gaussian, Binomial, Poisson, Gamma, InverseGaussian, NegativeBinomial2, Beta)
}

_MEANS = {"positive": "positive means", "count": "positive means"}


def get(
    family: str | AbstractFamily, link: str | float | links.AbstractLink | None = None
) -> AbstractFamily:
    """The family of that name (or the instance), with `link` in place of its own if given.

    Raises:
        InputError: an unknown name, or a link that cannot reach the family's means.
    """
    law = _find(family)
    if link is not None:
        law = dataclasses.replace(law, link=links.get(link))
    if law.support in _MEANS and law.link.range == "unit":
        raise InputError(
            f"link: '{law.link.name}' reaches means between 0 and 1 only, but family "
            f"'{law.name}' has {_MEANS[law.support]}; use 'log' or another link onto (0, inf)."
        )
    return law


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
    near = difflib.get_close_matches(key, REGISTRY, n=1)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    raise InputError(
        f"family: '{family}' is not a known family.{hint} Known families: {', '.join(REGISTRY)}."
    )


__all__ = [
    "AbstractFamily",
    "Beta",
    "Binomial",
    "Gamma",
    "Gaussian",
    "InverseGaussian",
    "NegativeBinomial2",
    "Poisson",
    "REGISTRY",
    "get",
]
