"""Exponentiated columns of the fixed effects, named by what they are in the family and link."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd

    from jaxglmm.frontend.result import GLMM

ODDS, RATE, RISK, HAZARD, PLAIN = "odds_ratio", "rate_ratio", "risk_ratio", "hazard_ratio", "exp"
_OF_LINK = {"logit": ODDS, "cloglog": HAZARD}
_COUNTS = ("count", "positive_count")


def with_exponentials(fit: GLMM, table: pd.DataFrame) -> pd.DataFrame:
    """The table of `fixed_effects` with exp(estimate) and its limits.

    Three columns for each meaning that some rows have, NaN in other rows: `odds_ratio`,
    `rate_ratio`, `risk_ratio`, `hazard_ratio`, or plain `exp`; and the same with `_low`, `_high`.
    Thresholds have none.
    """
    meanings = [_meaning(fit, component) for component in table["component"]]
    columns = {"": "estimate", "_low": "conf_low", "_high": "conf_high"}
    for name in dict.fromkeys(meaning for meaning in meanings if meaning):
        own = np.array([meaning == name for meaning in meanings])
        for suffix, column in columns.items():
            with np.errstate(over="ignore"):
                table[name + suffix] = np.where(own, np.exp(table[column]), np.nan)
    return table


def _meaning(fit: GLMM, component: str) -> str | None:
    """What exp of a coefficient is; None for a threshold."""
    if component == "threshold":
        return None
    if component == "zi":
        return ODDS  # a probability on the scale of the logit
    if component == "disp":
        return PLAIN
    if fit.link.name == "log":
        support = fit.family.base.support
        return RATE if support in _COUNTS else RISK if support == "binomial" else PLAIN
    return _OF_LINK.get(fit.link.name, PLAIN)
