"""Covariance structures from the formula to tables, new data and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg
from jaxglmm.frontend.residual import NO_RESIDUAL

rng = np.random.default_rng(20261121)
NUM_GROUPS, NUM_TIMES = 40, 3
G = np.repeat(np.arange(NUM_GROUPS), NUM_TIMES)
T = np.tile(np.arange(NUM_TIMES), NUM_GROUPS)
LAG = np.abs(np.subtract.outer(np.arange(NUM_TIMES), np.arange(NUM_TIMES)))
B = rng.multivariate_normal(np.zeros(NUM_TIMES), 0.7**LAG, NUM_GROUPS).ravel()
X = rng.normal(size=len(G))
DATA = pd.DataFrame(
    {"g": G, "t": 0.5 * T, "f": np.array(list("abc"))[T], "x": X, "one": "all"}
).assign(y=1 + 0.5 * X + 2 * B + 0.5 * rng.normal(size=len(G)))
TWICE = pd.concat([DATA, DATA.assign(y=DATA["y"] + rng.normal(size=len(G)))], ignore_index=True)
K = pd.DataFrame(np.eye(3) + 0.5, index=list("cab"), columns=list("cab"))

# formula, arguments, then (type, name1, name2) of the covariance parameters
MODELS: dict[str, tuple[str, dict[str, Any], list[tuple[str, str, str | None]]]] = {
    "ar1": (
        "y ~ x + ar1(0 + f | g)",
        {},
        [("sd", "f[a]", None), ("corr", "f[b]", "f[a]")],
    ),
    "ou": ("y ~ x + ou(t | g)", {}, [("sd", "t", None), ("range", "t", None)]),
    "propto": (
        "y ~ x + propto(0 + f | g, K)",
        {"matrices": {"K": K}},
        [("sd", "f", None)],
    ),
    "pattern": (
        "y ~ x + (0 + f | g)",
        {"covariance": {"g": 1 - np.eye(3)[::-1] + np.diag([0, 1, 0])}},
        [
            *[("sd", f"f[{level}]", None) for level in "abc"],
            ("corr", "f[b]", "f[a]"),
            ("corr", "f[c]", "f[b]"),
        ],
    ),
    "known": (
        "y ~ x + homcs(0 + f | g)",
        {"dispersion": "~ 0"},
        [("sd", "f[a]", None), ("corr", "f[b]", "f[a]")],
    ),
}


@pytest.fixture(scope="module")
def fits() -> dict[str, jg.GLMM]:
    return {}


def fit(name: str, fits: dict[str, jg.GLMM]) -> jg.GLMM:
    if name not in fits:
        formula, arguments, _ = MODELS[name]
        fits[name] = jg.glmm(formula, DATA if name == "known" else TWICE, **arguments)
    return fits[name]


def gaussian(fit: jg.GLMM, data: pd.DataFrame, covariance: np.ndarray, sigma: float) -> float:
    """The exact log-likelihood at the fixed effects of a fit."""
    beta = fit.fixed_effects()["estimate"].to_numpy()
    apart = (data["y"] - beta[0] - beta[1] * data["x"]).to_numpy()
    total = 0.0
    for level in range(NUM_GROUPS):
        own = (data["g"] == level).to_numpy()
        place = (2 * data.loc[own, "t"]).to_numpy().astype(int)
        V = covariance[np.ix_(place, place)] + sigma**2 * np.eye(own.sum())
        logdet = np.linalg.slogdet(2 * np.pi * V)[1]
        total -= 0.5 * (logdet + apart[own] @ np.linalg.solve(V, apart[own]))
    return total


def covariance_of(name: str, fit: jg.GLMM) -> np.ndarray:
    """The covariance of a level's three random effects, from the table."""
    value = fit.covariance_parameters()["estimate"].to_numpy()
    if name == "ar1":
        return value[0] ** 2 * value[1] ** LAG
    if name == "ou":
        return value[0] ** 2 * np.exp(-0.5 * LAG / value[1])
    if name == "propto":
        return value[0] ** 2 * K.loc[list("abc"), list("abc")].to_numpy()
    if name == "known":
        return value[0] ** 2 * np.where(LAG == 0, 1.0, value[1])
    corr = np.eye(3)
    corr[1, 0] = corr[0, 1] = value[3]
    corr[2, 1] = corr[1, 2] = value[4]
    return corr * np.outer(value[:3], value[:3])


@pytest.mark.parametrize("name", MODELS)
def test_tables_hold_the_model(name: str, fits: dict[str, jg.GLMM]) -> None:
    own, data = fit(name, fits), DATA if name == "known" else TWICE
    assert own.status == "converged"
    table = own.covariance_parameters()
    told = [
        (kind, first, None if pd.isna(second) else second)
        for kind, first, second in zip(table["type"], table["name1"], table["name2"], strict=True)
    ]
    assert told[: len(MODELS[name][2])] == MODELS[name][2]
    assert np.isfinite(table["std_error"]).all()
    assert (table["conf_low"] < table["estimate"]).all()
    exact = gaussian(own, data, covariance_of(name, own), own.family_parameters["sigma"])
    np.testing.assert_allclose(own.log_likelihood, exact, rtol=0, atol=1e-7)
    assert own.num_params == 2 + len(table)


@pytest.mark.parametrize("name", MODELS)
def test_round_trip_and_predictions(name: str, fits: dict[str, jg.GLMM], tmp_path: Path) -> None:
    own, data = fit(name, fits), DATA if name == "known" else TWICE
    np.testing.assert_allclose(own.predict(data), own.fitted(), rtol=1e-9)
    own.save(tmp_path / "fit")
    again = jg.load(tmp_path / "fit")
    assert str(again.summary()) == str(own.summary())
    np.testing.assert_array_equal(again.predict(data), own.predict(data))
    effects = own.random_effects()
    levels = ["0", "0.5", "1"] if name == "ou" else ["f[a]", "f[b]", "f[c]"]
    assert effects["term"].tolist() == levels * NUM_GROUPS


def test_no_residual_variance(fits: dict[str, jg.GLMM]) -> None:
    own = fit("known", fits)
    assert own.family_parameters == {"sigma": NO_RESIDUAL} == {"sigma": 2.0**-13}
    assert "family" not in set(own.covariance_parameters()["group"])
    np.testing.assert_allclose(own.fitted(), DATA["y"], atol=1e-5)
    assert "sigma" in str(own.summary())


def test_errors_without_residual_variance(fits: dict[str, jg.GLMM]) -> None:
    """Generalised least squares, and prediction errors of effects that the data reveal."""
    own = fit("known", fits)
    V = np.kron(np.eye(NUM_GROUPS), covariance_of("known", own))
    design = np.stack([np.ones(len(DATA)), DATA["x"]], axis=1)
    exact = np.linalg.inv(design.T @ np.linalg.solve(V, design))
    np.testing.assert_allclose(own.vcov("conditional"), exact, rtol=1e-6)
    effects = own.random_effects(uncertainty="joint")
    joint = np.einsum("ij,jk,ik->i", design, own.vcov(), design)
    np.testing.assert_allclose(effects["std_error"], np.sqrt(joint), rtol=1e-4)


@pytest.mark.parametrize("unit", [1e-4, 1e5])
def test_no_residual_variance_in_other_units(unit: float, fits: dict[str, jg.GLMM]) -> None:
    """glmmTMB's sigma would be no small one, or one too small to compute with."""
    own = jg.glmm("y ~ x + homcs(0 + f | g)", DATA.assign(y=unit * DATA["y"]), dispersion="~ 0")
    assert own.converged
    here, there = own.covariance_parameters(), fit("known", fits).covariance_parameters()
    np.testing.assert_allclose(here["estimate"] / [unit, 1], there["estimate"], rtol=1e-5)


def test_positions_that_were_not_fitted(fits: dict[str, jg.GLMM]) -> None:
    own = fit("ou", fits)
    new = pd.DataFrame({"x": [0.0, 0.0], "t": [0.5, 0.25], "g": [3, 3]})
    beta = own.fixed_effects()["estimate"].iloc[0]
    effects = own.random_effects().set_index(["level", "term"])["estimate"]
    np.testing.assert_allclose(own.predict(new), [beta + effects[3, "0.5"], beta], rtol=1e-10)
    with pytest.raises(jg.InputError, match=r"1 rows are at positions of ou\(t | g\)"):
        own.predict(new, new_levels="raise")


def test_a_correlation_at_its_bound_is_named() -> None:
    """The two rows of a cell differ by noise alone, and cells of a group by x alone."""
    noise = np.concatenate([np.ones(len(G)), -np.ones(len(G))]) * np.tile(
        rng.normal(size=len(G)), 2
    )
    own = jg.glmm(
        "y ~ x + homcs(0 + f | g)",
        TWICE.assign(y=TWICE["x"] + rng.normal(size=NUM_GROUPS)[TWICE["g"]] + noise),
    )
    assert own.status == "converged_boundary"
    assert own.status_message.endswith("At its bound: the correlation of f[b] and f[a] in g.")
    corr = own.covariance_parameters().set_index("type").loc["corr"]
    assert corr["estimate"] > 1 - 1e-6 and np.isnan(corr["std_error"])


def test_a_variance_of_zero_is_named() -> None:
    noise = pd.Series(rng.normal(size=len(TWICE)))
    centred = noise - noise.groupby(TWICE["g"]).transform("mean")
    own = jg.glmm("y ~ (1 | g)", TWICE.assign(y=centred))
    assert own.status == "converged_boundary"
    assert own.status_message.endswith("the standard deviation of Intercept in g.")


def test_one_level_of_a_process() -> None:
    """A field seen once: exp() on a grouping factor of a single level."""
    sites = DATA.drop_duplicates("g").assign(
        east=rng.uniform(0, 5, NUM_GROUPS), north=rng.uniform(0, 5, NUM_GROUPS)
    )
    own = jg.glmm("y ~ x + exp(east + north | one)", sites)
    assert own.data_info.groups == {"one": 1}
    assert own.converged
    assert own.random_effects()["term"].iloc[0].startswith("(")
    table = own.covariance_parameters()
    assert table["name1"].tolist()[:2] == ["east + north"] * 2
