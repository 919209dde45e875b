"""Links: one small class each; `get` finds one by name, power or instance."""

from __future__ import annotations

import difflib
import math
import numbers

from jaxglmm.errors import InputError
from jaxglmm.links.base import RANGES, AbstractLink, Link
from jaxglmm.links.power import Identity, Inverse, InverseSquared, Log, Power, Sqrt
from jaxglmm.links.unit import Cauchit, Cloglog, Logit, Loglog, Probit

REGISTRY: dict[str, type[AbstractLink]] = {
    link.name: link
    for link in (
        Identity,
        Log,
        Logit,
        Probit,
        Cloglog,
        Loglog,
        Cauchit,
        Inverse,
        InverseSquared,
        Sqrt,
    )
}

# Exponents that have a closed form of their own.
_POWERS = {1.0: Identity, 0.0: Log, -1.0: Inverse, -2.0: InverseSquared, 0.5: Sqrt}


def get(link: str | float | AbstractLink) -> AbstractLink:
    """The link of that name, exponent or instance; InputError for anything else."""
    if isinstance(link, AbstractLink):
        return link
    if isinstance(link, str):
        key = link.strip().lower()
        if key in REGISTRY:
            return REGISTRY[key]()
        near = difflib.get_close_matches(key, REGISTRY, n=1)
        hint = f" Did you mean '{near[0]}'?" if near else ""
        raise InputError(
            f"link: '{link}' is not a known link.{hint} Known links: {', '.join(REGISTRY)}, "
            "a number p for mu^p, or jaxglmm.links.Link(inverse, range=...) for your own."
        )
    if isinstance(link, numbers.Real) and not isinstance(link, bool) and math.isfinite(link):
        power = float(link)
        return _POWERS[power]() if power in _POWERS else Power(power)
    raise InputError(
        f"link: expected a name, a power or a jaxglmm.links.Link, got {type(link).__name__}."
    )


__all__ = [
    "RANGES",
    "AbstractLink",
    "Cauchit",
    "Cloglog",
    "Identity",
    "Inverse",
    "InverseSquared",
    "Link",
    "Log",
    "Logit",
    "Loglog",
    "Power",
    "Probit",
    "REGISTRY",
    "Sqrt",
    "get",
]
