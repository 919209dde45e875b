"""`fit.simulate` and `jg.simulate`: units, seeds, parameters by name, and what is refused."""

from __future__ import annotations

import functools
import re
from typing import Any

import numpy as np
import pytest

import jaxglmm as jg

from .models import data, fit

SLEEP = "Reaction ~ Days + (Days | Subject)"
CBPP = "incidence / size ~ period + (1 | herd)"
HERDS = {
    "Intercept": -1.4,
    "period[T.2]": -1.0,
    "period[T.3]": -1.1,
    "period[T.4]": -1.6,
    "sd(herd)": 0.6,
}


@functools.cache
def herds(num_draws: int, seed: int = 4, first: int = 0) -> np.ndarray:
    without = data("cbpp").drop(columns="incidence")
    return jg.simulate(
        CBPP, without, HERDS, "binomial", seed=seed, num_draws=num_draws, first=first
    )


def values_of(found: jg.GLMM) -> dict[str, float]:
    """The parameters of a fit as its tables name them."""
    fixed, random = found.fixed_effects(), found.covariance_parameters()
    values = dict(zip(fixed["term"], fixed["estimate"], strict=True))
    for row in random.itertuples():
        names = [n for n in (row.group, row.name1, row.name2) if isinstance(n, str)]
        own = row.type == "family"
        values[row.name1 if own else f"{row.type}({', '.join(names)})"] = row.estimate
    return values


def test_a_draw_depends_on_its_seed_and_number_only() -> None:
    many = herds(1000)
    np.testing.assert_array_equal(herds(3), many[:3])
    for width in (1, 7):
        parts = [herds(width, first=start) for start in range(250, 271, width)]
        np.testing.assert_array_equal(np.concatenate(parts), many[250:271])
    assert (herds(1, seed=5) != many[:1]).any()
    assert len(np.unique(many, axis=0)) == 1000


def test_counts_of_successes_have_the_law_of_the_model() -> None:
    """The mean share over all rows, whose standard error is found from the draws."""
    y, size = herds(1000), data("cbpp")["size"].to_numpy()
    assert y.shape == (1000, 56) and np.all((y >= 0) & (y <= size) & (y == np.floor(y)))
    eta = -1.4 + np.array([0.0, -1.0, -1.1, -1.6])[data("cbpp")["period"].astype(int) - 1]
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    p = (1 / (1 + np.exp(-eta[:, None] - 0.6 * nodes))) @ weights / np.sqrt(2 * np.pi)
    sums = y.sum(1)
    assert abs(sums.mean() - size @ p) < 5 * sums.std() / np.sqrt(1000)


def test_a_fit_and_its_parameters_simulate_the_same() -> None:
    found = fit("sleep")
    y = found.simulate(20, seed=9)
    assert isinstance(y, np.ndarray) and y.shape == (20, 180)
    without = data("sleep").drop(columns="Reaction")
    again = jg.simulate(SLEEP, without, found.estimate.params, seed=9, num_draws=20)
    np.testing.assert_array_equal(again, y)
    named = jg.simulate(SLEEP, without, values_of(found), seed=9, num_draws=20)
    np.testing.assert_allclose(named, y, rtol=1e-12)


def test_conditional_draws_lie_about_the_fitted_values() -> None:
    found = fit("sleep")
    y = found.simulate(2000, 3, kind="conditional")
    sigma = found.family_parameters["sigma"]
    assert np.all(np.abs(y.mean(0) - found.fitted()) < 5 * sigma / np.sqrt(2000))
    # 180 sample variances, each with a standard error of sigma^2 sqrt(2 / 2000).
    assert np.all(np.abs(y.var(0) / sigma**2 - 1) < 5 * np.sqrt(2 / 2000))


def design(num_groups: int = 60, size: int = 10) -> dict[str, Any]:
    rng = np.random.default_rng(8)
    n = num_groups * size
    return {
        "x": rng.normal(size=n),
        "g": np.arange(n) % num_groups,
        "f": np.array(["a", "b", "c"])[rng.integers(3, size=n)],
        "n": rng.integers(1, 9, n).astype(float),
        "t": rng.uniform(size=n),
    }


def test_a_fit_to_a_draw_finds_the_parameters() -> None:
    table, truth = design(), {"Intercept": 1.0, "x": -0.5, "sd(g, Intercept)": 0.7, "sigma": 1.2}
    y = jg.simulate("y ~ x + (1 | g)", table, truth, seed=2)
    found = jg.glmm("y ~ x + (1 | g)", {**table, "y": y[0]})
    effects, random = found.fixed_effects(), found.covariance_parameters()
    for table_, names in ((effects, ("Intercept", "x")), (random, ("sd(g, Intercept)", "sigma"))):
        apart = table_["estimate"] - [truth[name] for name in names]
        assert np.all(np.abs(apart) < 4 * table_["std_error"])


def test_fits_with_less_than_all_rows_and_columns() -> None:
    """REML, a held parameter, a dependent column, a missing predictor, a row of weight zero."""
    table = design(20, 6)
    rng = np.random.default_rng(1)
    table |= {"y": rng.normal(size=120) + rng.normal(size=20)[table["g"]], "w": np.ones(120)}
    table["x"][5], table["w"][7] = np.nan, 0.0
    table["twice"] = 2 * table["x"]
    found = jg.glmm(
        "y ~ x + twice + (1 | g)",
        table,
        weights="w",
        method="reml",
        control=jg.Control(fixed={"sigma": 0.9}),
    )
    assert found.status == "rank_deficient"
    y = found.simulate(50, seed=1)
    assert y.shape == (50, 119) and np.isfinite(y).all()
    spread = found.simulate(500, seed=1, kind="conditional").std(0)
    counted = np.arange(119) != 6
    assert np.all(np.abs(spread[counted] / 0.9 - 1) < 5 / np.sqrt(2 * 500))


def test_proportions_where_the_response_is_one() -> None:
    table, values = design(), {"Intercept": 0.3, "x": 0.5}
    counts = jg.simulate("s / n ~ x", table, values, "binomial", seed=1, num_draws=3)
    for arguments in ({"trials": "n"}, {"weights": "n"}):
        shares = jg.simulate("p ~ x", table, values, "binomial", seed=1, num_draws=3, **arguments)
        np.testing.assert_array_equal(np.round(shares * table["n"]), counts)
        assert np.all((shares >= 0) & (shares <= 1))
    both = {**table, "s": np.zeros(600), "f_": table["n"]}
    pair = jg.simulate("cbind(s, f_) ~ x", both, values, "binomial", seed=1, num_draws=3)
    np.testing.assert_array_equal(pair, counts)
    single = jg.simulate("y ~ x", table, values, "binomial", seed=1, num_draws=3)
    assert set(np.unique(single)) == {0.0, 1.0}


def test_categories_of_an_ordinal_response() -> None:
    table, cuts = design(), {"mid|high": 0.8, "low|mid": -1.0, "x": 0.5}
    y = jg.simulate("y ~ x", table, cuts, "cumulative", seed=1, num_draws=50)
    assert set(np.unique(y)) == {"low", "mid", "high"}
    below = 1 / (1 + np.exp(1.0 + 0.5 * table["x"]))
    error = np.sqrt(np.sum(below * (1 - below)) / 50) / 600
    assert abs((y == "low").mean() - below.mean()) < 5 * error
    even = {"1|2": -1.0, "2|3": 0.0, "3|4": 1.0, "x": 0.5}
    whole = jg.simulate("y ~ x", table, even, "cumulative", seed=1, thresholds="equidistant")
    assert set(np.unique(whole)) == {1, 2, 3, 4}
    params = jg.Params(np.array([0.5]), np.zeros(0), np.array([-1.0, np.log(1.8)]))
    again = jg.simulate("y ~ x", table, params, "cumulative", seed=1, num_draws=50)
    np.testing.assert_array_equal(again == 1, y == "low")


def test_formulas_of_dispersion_and_zeros() -> None:
    """Zeros of probability logistic(zi), variance mu + mu^2 / exp(disp); correlated effects."""
    values = {
        "Intercept": 1.0,
        "disp_Intercept": 0.5,
        "disp_x": -0.4,
        "zi_Intercept": -0.5,
        "sd(g, Intercept)": 0.4,
        "sd(g, zi_Intercept)": 0.8,
        "corr(g, zi_Intercept, Intercept)": -0.6,
    }
    arguments: dict[str, Any] = {"dispersion": "~ x", "zero_inflation": "~ (1 | s | g)"}
    y = jg.simulate(
        "y ~ (1 | s | g)", design(), values, "nbinom2", seed=1, num_draws=400, **arguments
    )
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = np.outer(weights, weights) / (2 * np.pi)
    mu = np.exp(1.0 + 0.4 * nodes)[:, None]
    some = 1 / (1 + np.exp(-0.5 + 0.8 * (-0.6 * nodes[:, None] + 0.8 * nodes)))
    of_draws = y.mean(1)
    assert abs(of_draws.mean() - np.sum(weights * mu * some)) < 5 * of_draws.std() / np.sqrt(400)


STRUCTURES = {
    "cs(0 + f | g)": ("sd(g, f[a])", "sd(g, f[b])", "sd(g, f[c])", "corr(g, f[b], f[a])"),
    "homcs(0 + f | g)": ("sd(g, f[a])", "corr(g, f[b], f[a])"),
    "ar1(0 + f | g)": ("sd(g, f[a])", "corr(g, f[b], f[a])"),
    "homdiag(0 + f | g)": ("sd(g, f[a])",),
    "ou(n | g)": ("sd(g, n)", "range(g, n)"),
}


@pytest.mark.parametrize("term", STRUCTURES)
def test_parameters_of_structures_by_name(term: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The theta that reaches the engine has these natural values."""
    from jaxglmm.frontend import simulate as verb

    monkeypatch.setattr(verb, "draws_of", lambda problem, data, params, *_: (problem, params))
    values = {"Intercept": 0.0, "sigma": 1.0}
    values |= {n: 0.3 if n.startswith("corr") else 0.7 for n in STRUCTURES[term]}
    problem, params = jg.simulate(f"y ~ {term}", design(), values, seed=1)
    own = problem.groupings[0]
    constants = own.constants[0]
    natural = own.terms[0].covariance.natural(params.theta, constants)
    np.testing.assert_allclose(natural, list(values.values())[2:], rtol=1e-6)  # in single precision


BAD_VALUES: list[tuple[str, dict[str, Any], str]] = [
    ("y ~ x + (1 | g)", {"Intercept": 1, "x": 1}, "no value for 'sd(g, Intercept)', 'sigma'"),
    ("y ~ x", {"Intercept": 1, "x": 1, "sigma": 1, "z": 1}, "no parameter 'z'.*'Intercept', 'x'"),
    ("y ~ 1", {"Intercept": 1, "sigma": 0}, "'gaussian' cannot have sigma = 0"),
    ("y ~ 1", {"Intercept": 1, "sigma": "1"}, "'sigma' must be a finite number, got '1'"),
    ("y ~ 1", {"Intercept": np.nan, "sigma": 1}, "'Intercept' must be a finite number, got nan"),
    (
        "y ~ 1 + (1 | g)",
        {"Intercept": 1, "sd(g)": 1, "sd(g, Intercept)": 1, "sigma": 1},
        "'sd(g, Intercept)' is given twice",
    ),
    (
        "y ~ 0 + (1 | g)",
        {"sd(g)": -0.1, "sigma": 1},
        "'sd(g, Intercept)' cannot be -0.1; give a number zero or more",
    ),
    (
        "y ~ 0 + (x | g)",
        {"sd(g, Intercept)": 1, "sd(g, x)": 1, "corr(g, x, Intercept)": 1, "sigma": 1},
        "'corr(g, x, Intercept)' cannot be 1; give a number above -1 and below 1",
    ),
    (
        "y ~ 0 + toep(0 + f | g)",
        {
            **{f"sd(g, f[{level}])": 1 for level in "abc"},
            "corr(g, f[b], f[a])": 0.9,
            "corr(g, f[c], f[a])": -0.9,
            "sigma": 1,
        },
        "the correlations of toep(0 + f | g) are those of no covariance matrix",
    ),
    ("y ~ 0 + rr(0 + f | g, d = 1)", {"sigma": 1}, "structure 'rr'.*jaxglmm.Params"),
]


@pytest.mark.usefixtures("nothing_compiles")
@pytest.mark.parametrize(("formula", "values", "message"), BAD_VALUES)
def test_values_that_are_refused(formula: str, values: dict[str, Any], message: str) -> None:
    pattern = ".*".join(map(re.escape, message.split(".*")))
    with pytest.raises(jg.InputError, match=pattern):
        jg.simulate(formula, design(6, 4), values, seed=1)


BAD_CALLS: list[tuple[str, Any, dict[str, Any], str]] = [
    ("y ~ 1", {"Intercept": 0, "sigma": 1}, {"seed": -1}, "seed: expected a whole number from 0"),
    ("y ~ 1", {"Intercept": 0, "sigma": 1}, {"seed": 1.5}, "seed: expected a whole number"),
    ("y ~ 1", {"Intercept": 0, "sigma": 1}, {"num_draws": 0}, "num_draws: expected a whole number"),
    ("y ~ 1", {"Intercept": 0, "sigma": 1}, {"first": -1}, "first: expected a whole number"),
    ("y ~ 1", [1.0], {}, "params: expected a dict of names and values"),
    ("y ~ 1", jg.Params(np.zeros(2), np.zeros(0), np.zeros(1)), {}, "params: beta must hold 1"),
    ("s / m ~ 1", {"Intercept": 0}, {"family": "binomial"}, "no column 'm'"),
    ("y ~ 1", {"Intercept": 0}, {"family": "binomial", "trials": "t"}, "must be whole numbers"),
    ("y ~ 1", {"Intercept": 0}, {"family": "poisson", "trials": "n"}, "belongs to a binomial"),
    ("y ~ x", {"x": 0}, {"family": "cumulative"}, "needs thresholds"),
    ("y ~ 0", {"a|b": True, "b|c": 2}, {"family": "cumulative"}, "'a|b' must be a finite number"),
    ("y ~ 0", {"a|b": 0, "c|d": 1}, {"family": "cumulative"}, "do not lead from one category"),
    (
        "y ~ 0",
        {"a|b": 0, "b|c": 1, "c|d": 5},
        {"family": "cumulative", "thresholds": "symmetric"},
        "Thresholds ascend, and are symmetric",
    ),
]


@pytest.mark.usefixtures("nothing_compiles")
@pytest.mark.parametrize(("formula", "params", "arguments", "message"), BAD_CALLS)
def test_calls_that_are_refused(
    formula: str, params: Any, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(jg.InputError, match=message):
        jg.simulate(formula, design(6, 4), params, **{"seed": 1, **arguments})


def test_kinds_that_are_refused() -> None:
    with pytest.raises(jg.InputError, match="kind"):
        fit("sleep").simulate(1, 1, kind="marginal")  # pyright: ignore[reportArgumentType]
