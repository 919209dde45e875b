"""Bad arguments of a fit's methods: an InputError that names them; nothing compiles."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

import jaxglmm as jg

from . import models


@pytest.fixture(scope="module")
def fit() -> jg.GLMM:
    return models.fit("cbpp")


@pytest.fixture
def fitted_before(fit: jg.GLMM, nothing_compiles: None) -> Iterator[jg.GLMM]:
    yield fit


METHODS = [
    ("fixed_effects", {"level": 95}, ("level", "95", "0.95")),
    ("fixed_effects", {"level": 0.0}, ("level",)),
    ("fixed_effects", {"level": 1.0}, ("level",)),
    ("fixed_effects", {"level": float("nan")}, ("level",)),
    ("fixed_effects", {"level": "0.9"}, ("level", "0.9")),
    ("covariance_parameters", {"level": -0.5}, ("level", "0.95")),
    ("random_effects", {"level": 2}, ("level", "0.95")),
    ("summary", {"level": 95}, ("level", "0.95")),
    ("fixed_effects", {"df": "nothing"}, ("df", "'none'")),
    ("fixed_effects", {"df": "kenward_roger", "vcov": "joint"}, ("vcov", "'satterthwaite'")),
    ("fixed_effects", {"df": "satterthwaite", "vcov": "robust"}, ("df", "'residual'")),
    ("fixed_effects", {"vcov": "sandwich"}, ("vcov", "'sandwich'", "'robust'")),
    ("vcov", {"kind": {"cluster": "herd", "type": "CR2"}}, ("vcov", "'CR2'", "'CR1'")),
    ("vcov", {"kind": {"cluster": "period"}}, ("vcov", "'herd'", "whole levels")),
    ("anova", {"type": "IV"}, ("type", "'IV'", "'II'")),
    ("anova", {"test": "LR"}, ("test", "'chisq'")),
    ("coef_test", {"H": [1, 2]}, ("H", "4 columns")),
    ("coef_test", {"K": [[1.0]]}, ("K", "15 columns")),
    ("vcov", {"kind": "hessian"}, ("vcov", "'hessian'", "'conditional'")),
    ("random_effects", {"uncertainty": "all"}, ("uncertainty", "'joint'")),
    ("predict", {"kind": "marginl"}, ("kind", "'marginal'", "'population'")),
    ("predict", {"scale": "logit"}, ("scale", "'logit'", "'link'")),
    ("predict", {"new_levels": "zero"}, ("new_levels", "'sample'", "'raise'")),
    ("partial_dependence", {"variables": "month"}, ("'month'", "period")),
    ("partial_dependence", {"variables": {"period": ["1"]}}, ("names", "values=")),
    ("r2", {"method": "exact"}, ("method", "'theoretical'")),
    ("tidy", {"effects": "random"}, ("effects", "'ran_vals'")),
    ("design_matrix", {"part": "all"}, ("part", "'random'")),
    ("update", {"formula": ". ~ . - (1 | g)"}, ("(1 | herd)",)),
    ("fitted", {"kind": "mean"}, ("kind", "'mean'", "'conditional'")),
    ("fitted", {"scale": "odds"}, ("scale", "'odds'", "'response'")),
    ("predict", {"newdata": {"period": ["9"], "herd": ["1"]}}, ("'period'", "9")),
    ("predict", {"newdata": [1, 2]}, ("data",)),
]


@pytest.mark.parametrize(
    ("method", "arguments", "words"), METHODS, ids=[f"{m[0]} {m[1]}" for m in METHODS]
)
def test_refuses(fitted_before: jg.GLMM, method: str, arguments: Any, words: Any) -> None:
    with pytest.raises(jg.InputError) as caught:
        getattr(fitted_before, method)(**arguments)
    for word in words:
        assert word in str(caught.value), str(caught.value)
