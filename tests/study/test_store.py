"""A study read back from its directory is the same study: arguments, design, truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg
from jaxglmm.study import store

pytest.importorskip("pyarrow")
N = 24
RNG = np.random.default_rng(8)
DATA = pd.DataFrame(
    {
        "x": RNG.normal(size=N),
        "g": np.resize(["a", "b", "c"], N),
        "f": pd.Categorical(np.resize(["lo", "hi"], N).repeat(1), categories=["lo", "hi"]),
        "when": pd.date_range("2024-01-01", periods=N),
        "flag": RNG.random(N) < 0.5,
        "n": RNG.integers(3, 9, N),
        "le": RNG.normal(scale=0.1, size=N),
        "unused": "z",
    }
)
WEIGHTS = RNG.uniform(0.5, 2.0, N)
KNOWN = pd.DataFrame([[1.0, 0.3], [0.3, 1.0]], index=["lo", "hi"], columns=["lo", "hi"])
LINE = {"Intercept": 0.1, "x": 0.2}
CASES: dict[str, tuple[jg.Scenario, dict[str, Any]]] = {
    "trials": (
        jg.Scenario(
            "s / n ~ x + f + (1 | g)", DATA, {**LINE, "f[T.hi]": 1.0, "sd(g)": 1}, "binomial"
        ),
        {"contrasts": {"f": "sum"}, "formula": "~ x + f + (1 | g)"},
    ),
    "proportion": (
        jg.Scenario("share ~ x", DATA, LINE, "binomial", trials="n", link="probit"),
        {"link": "logit", "subset": np.arange(N) > 2},
    ),
    "arrays": (
        jg.Scenario("y ~ x", DATA, {**LINE, "sigma": 2.0}, weights=WEIGHTS, offset="le"),
        {"weights": None, "method": "reml", "control": jg.Control(fixed={"x": 0.5})},
    ),
    "further": (
        jg.Scenario(
            "y ~ x + flag",
            DATA,
            {**LINE, "flag[T.True]": 0.5, "disp_Intercept": 0.0, "disp_x": 0.1},
            dispersion="~ x",
        ),
        {"dispersion": None, "priors": {"fixed": jg.priors.Normal(0, 2.5)}},
    ),
    "known df": (
        jg.Scenario("y ~ x", DATA, {**LINE, "sigma": 1.0}, jg.families.StudentT(df=4.0)),
        {"family": jg.families.StudentT(df=7.0), "link": 2.0},
    ),
    "structures": (
        jg.Scenario(
            "y ~ 1 + propto(0 + f | g, K)",
            DATA,
            jg.Params(np.array([0.5]), np.array([0.7]), np.array([0.1])),
            matrices={"K": KNOWN},
        ),
        {"formula": "~ 1 + (f | g)", "covariance": {"g": np.eye(2)}, "matrices": None},
    ),
    "ordinal": (
        jg.Scenario("y ~ x", DATA, {"x": 0.3, "lo|mid": -1, "mid|hi": 1.0}, "cumulative"),
        {"thresholds": "symmetric"},
    ),
    "no columns": (jg.Scenario("y ~ 1", DATA[["when"]], {"Intercept": 1, "sigma": 1}), {}),
}


def assert_same_arrays(one: Any, other: Any) -> None:
    a, b = jax.tree.leaves(one), jax.tree.leaves(other)
    assert jax.tree.structure(one) == jax.tree.structure(other)
    for left, right in zip(a, b, strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("name", CASES)
def test_a_directory_holds_the_study(name: str, tmp_path: Path) -> None:
    made, changes = CASES[name]
    whole = jg.Study({name: made}, 5, 1, {"own": {}, "other": changes})
    whole.save(tmp_path)
    read = jg.Study.load(tmp_path)
    found, wanted = (store.describe(s._spec)[0].fingerprints for s in (read, whole))
    assert found == wanted
    again = read.scenarios[name]
    assert again.truth == made.truth and "unused" not in again.data
    assert_same_arrays(again.drawn.problem, made.drawn.problem)
    assert_same_arrays(again.drawn.params, made.drawn.params)
    for analysis in ("own", "other"):
        ours, theirs = (s._spec.template(name, analysis) for s in (whole, read))
        assert_same_arrays(ours.problem, theirs.problem)
        assert ours.formula == theirs.formula and ours.control == theirs.control
