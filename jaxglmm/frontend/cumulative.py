"""The cumulative law as the call and the data make it."""

from __future__ import annotations

import dataclasses
from typing import Any, cast, get_args

from jaxglmm.errors import InputError
from jaxglmm.families import AbstractFamily, Cumulative
from jaxglmm.families.thresholds import Spacing
from jaxglmm.frontend.checks import check_choice
from jaxglmm.frontend.model import ModelData


def with_spacing(law: AbstractFamily, thresholds: Any) -> AbstractFamily:
    """The law with the thresholds asked for; "flexible", the default, leaves it as it is."""
    check_choice("thresholds", thresholds, get_args(Spacing))
    if thresholds == "flexible":
        return law
    if not isinstance(law, Cumulative):
        raise InputError(
            f"thresholds='{thresholds}' belongs to family 'cumulative', but the family is "
            f"'{law.name}'. Leave the argument out."
        )
    return dataclasses.replace(law, thresholds=cast(Spacing, thresholds))


def with_categories(law: AbstractFamily, data: ModelData) -> AbstractFamily:
    """The law with the number of categories of the response, where it is an ordinal one."""
    if not isinstance(law, Cumulative):
        return law
    return dataclasses.replace(law, num_categories=len(data.categories))
