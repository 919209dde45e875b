"""The formulas beside the main one: a law's dispersion and its probability of zeros."""

from __future__ import annotations

from typing import NamedTuple

from jaxglmm import families
from jaxglmm.errors import InputError
from jaxglmm.families import AbstractFamily, Gaussian
from jaxglmm.frontend.formula import FormulaSpec, parse_one_sided

_EMPTY = ("0", "-1")


class Further(NamedTuple):
    """The law with the linear predictors that formulas give it.

    parts: component ("disp", "zi") -> its formula, in the order of the law's predictors;
    no_residual: dispersion="~ 0", a gaussian model without residual variance.
    """

    law: AbstractFamily
    parts: dict[str, FormulaSpec]
    no_residual: bool


def further_parts(
    law: AbstractFamily, dispersion: str | None, zero_inflation: str | None
) -> Further:
    """Read `dispersion=` and `zero_inflation=`; an InputError says what the law does not have."""
    disp = _parsed("dispersion", dispersion)
    zi = _parsed("zero_inflation", zero_inflation)
    no_residual = disp is not None and _is_empty(disp)
    if no_residual and not isinstance(law, Gaussian):
        raise InputError(
            f"dispersion='{dispersion}' leaves a gaussian model no residual variance, but the "
            f"family is '{law.name}'. Leave the argument out, or write '~ 1'."
        )
    given = {"disp": None if no_residual else disp, "zi": None if zi and _is_empty(zi) else zi}
    parts = {name: spec for name, spec in given.items() if spec is not None}
    modelled = families.modelled(law, dispersion="disp" in parts, zero_inflation="zi" in parts)
    return Further(modelled, parts, no_residual)


def _parsed(argument: str, text: str | None) -> FormulaSpec | None:
    if text is None:
        return None
    if not isinstance(text, str):
        raise InputError(
            f"{argument}: expected a one-sided formula such as '~ x + (1 | g)', got "
            f"{type(text).__name__}."
        )
    return parse_one_sided(text)


def _is_empty(spec: FormulaSpec) -> bool:
    return spec.fixed in _EMPTY and not spec.random and not spec.offsets
