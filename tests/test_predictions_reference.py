"""Errors of predictions, conditional variances and shares of variance: glmmTMB's, lme4's and
performance's figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from test_reference import load

import jaxglmm as jg

FIGURES: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent / "reference" / "predictions.json").read_text()
)
# Models that no other quick test fits.
QUICK = {"binomial__cbpp__probit_laplace_glmmTMB", "cbpp", "sleepstudy"}


def cases(kind: str) -> list[Any]:
    return [pytest.param(n, marks=[pytest.mark.slow] * (n not in QUICK)) for n in FIGURES[kind]]


def fit_of(call: dict[str, Any]) -> jg.GLMM:
    own = dict(call)
    data, formula = load(own.pop("data")), own.pop("formula")
    return jg.glmm(formula, data, **own)


@pytest.mark.parametrize("name", cases("new_data"))
def test_errors_of_predictions(name: str) -> None:
    """Known levels, and one that was not fitted; conditional on the random effects and not."""
    case = FIGURES["new_data"][name]
    fit, new = fit_of(case["call"]), pd.DataFrame(case["newdata"])
    for key, figures in case.items():
        if key in ("call", "newdata"):
            continue
        scale, which, _ = key.split("_")
        kind = "conditional" if which == "with" else "population"
        found = fit.predict(new, kind, scale, interval="confidence")
        np.testing.assert_allclose(found["estimate"], figures["fit"], rtol=1e-6, err_msg=key)
        np.testing.assert_allclose(found["std_error"], figures["se"], rtol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", cases("condvar"))
def test_conditional_variances(name: str) -> None:
    case = FIGURES["condvar"][name]
    table = fit_of(case["call"]).random_effects()
    for group in case["groups"]:
        ours = table[table["group"] == group["group"]]
        ours = ours.assign(level=ours["level"].astype(str)).set_index("level").loc[group["levels"]]
        theirs = np.array([np.diag(block) for block in group["condvar"]]).ravel()
        np.testing.assert_allclose(ours["std_error"] ** 2, theirs, rtol=1e-4)
        gap = np.abs(ours["estimate"] - np.ravel(group["condval"]))
        np.testing.assert_array_less(gap, 1e-4 * ours["std_error"])


@pytest.mark.parametrize("name", cases("shares"))
def test_shares_of_variance(name: str) -> None:
    case = FIGURES["shares"][name]
    fit = fit_of(case["call"])
    found = fit.r2().iloc[0]
    for key in set(case) - {"call"}:
        np.testing.assert_allclose(found[key], case[key], rtol=1e-4, atol=1e-12, err_msg=key)
    table = fit.icc().iloc[-1]
    if table["reason"] == "":
        for key in ("icc_adjusted", "icc_unadjusted"):
            np.testing.assert_allclose(table[key], case[key], rtol=1e-4)
