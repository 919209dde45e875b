"""Marginal means, contrasts, letters and joint tests against emmeans and multcomp."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg

HERE = Path(__file__).parents[1] / "reference"
MODELS: dict[str, dict[str, Any]] = json.loads((HERE / "means.json").read_text())
QUICK = ("cbpp",)
# How far R's fits are from the maximum, relative to estimates and errors: lme4's stop at gradients
# up to 1, glmmTMB's Hessian of GasolineYield is a finite difference (tests/test_reference.py).
TOLERANCE = {"Contraception": 3e-5, "grouseticks": 2e-4, "wine": 1e-4, "GasolineYield": 2e-3}
NAMES = [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in MODELS]


def load(name: str) -> pd.DataFrame:
    if name in jg.datasets.names():
        return jg.datasets.load(name)
    about = json.loads((HERE / "data" / f"{name}.json").read_text())
    frame = pd.read_csv(HERE / "data" / f"{name}.csv.gz")
    for column, levels in about.get("factors", about).items():
        if column in frame and isinstance(levels, list):
            kind = type(frame[column].dropna().iloc[0])
            frame[column] = pd.Categorical(frame[column], categories=[kind(v) for v in levels])
    return frame


@functools.cache
def fitted(name: str) -> Any:
    model = MODELS[name]
    return jg.glmm(model["formula"], load(model["data"]), **model["arguments"])


def answer(name: str, asked: dict[str, Any], then: Any) -> Any:
    fit = fitted(name)
    means = (fit.emtrends if "var" in asked else fit.emmeans)(**asked)
    if then is None:
        return means
    if then == "cld":
        return means.cld(adjust="tukey")
    return means.contrast().joint_tests() if then == "joint_tests" else means.contrast(**then)


@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_r(name: str) -> None:
    for table in MODELS[name]["tables"]:
        found = answer(name, table["asked"], table["then"])
        where = (name, table["asked"], table["then"])
        for column, values in table["columns"].items():
            theirs = np.array([np.inf if v is None else v for v in values], float)
            ours, (rtol, atol) = found[column].to_numpy(float), allowed(name, column, table)
            apart = ~np.isclose(ours, theirs, rtol, atol)
            assert not apart.any(), (where, column, ours[apart], theirs[apart])
        if "labels" in table:
            assert list(found["contrast"]) == table["labels"], where
        if "letters" in table:
            assert list(found["letters"]) == table["letters"], where


def allowed(name: str, column: str, table: dict[str, Any]) -> tuple[float, Any]:
    """Relative and absolute tolerance. R has joint tests to three decimals, probabilities of
    ranges to 1e-9, and those of multivariate normal laws to 1e-3 ("consec") or 3e-6 (glht)."""
    own, then = TOLERANCE.get(name, 1e-5), table["then"]
    if then == "joint_tests":
        return (50 * own if column == "p_value" else 1e-3), 6e-4 if column == "statistic" else 0.0
    by_chance = isinstance(then, dict) and then.get("method") == "consec"
    if column == "p_value":
        simulated = 2e-4 if by_chance else 4e-6 if "conf_low" not in table["columns"] else 1e-9
        holm = isinstance(then, dict) and then.get("adjust") == "holm"
        return 50 * own, 1e-9 if holm else simulated
    if by_chance and column.startswith("conf"):
        return 5e-3, 5e-3
    return own, own * np.array(table["columns"]["std_error"], float)


def test_crowders_probabilities() -> None:
    """The printed table of glmmTMB and emmeans on Crowder's (1978) germination counts."""
    fit = jg.glmm("r / n ~ root * seed", jg.datasets.load("seeds"), family="binomial")
    table = fit.emmeans(["root", "seed"], scale="response")
    printed = {
        "estimate": [0.398, 0.532, 0.364, 0.681],
        "std_error": [0.0441, 0.0420, 0.0292, 0.0271],
        "conf_low": [0.316, 0.449, 0.309, 0.626],
        "conf_high": [0.487, 0.613, 0.423, 0.732],
    }
    assert list(table["root"]) == ["bean", "cucumber"] * 2
    for column, values in printed.items():
        np.testing.assert_allclose(table[column], values, atol=5.1e-4)
