"""Whether a model is a special case of another, told from arrays and structures alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

import jaxglmm as jg
from jaxglmm.design import Problem
from jaxglmm.families import StudentT
from jaxglmm.inference.nesting import Within, fixed_within, joined, law_within, random_within

_RNG = np.random.default_rng(5)
DATA = pd.DataFrame(
    {
        "y": _RNG.poisson(3.0, 120).astype(float),
        "x": _RNG.normal(size=120),
        "z": _RNG.normal(size=120),
        "f": np.tile(["a", "b", "c"], 40),
        "g": np.repeat(np.arange(12), 10),
        "h": np.tile(np.arange(8), 15),
        "ordered": np.tile([1.0, 2.0, 3.0, 4.0], 30),
    }
)


def problem(formula: str, family: Any = "gaussian", **arguments: Any) -> Problem:
    return jg.build(formula, DATA, family=family, **arguments)[0]


def relation(small: Problem, large: Problem) -> Within:
    found = joined(law_within(small, large), random_within(small, large))
    return found._replace(nested=found.nested and not fixed_within(small, large))


NESTED = [  # smaller, larger, directions at a bound
    ("1", "x", 0),
    ("x", "x + (1 | g)", 1),
    ("x", "z + x + (1 | g)", 1),
    ("x", "x + (x | g)", 2),
    ("x", "x + (1 | g) + (1 | h)", 2),
    ("1 + (1 | g)", "x + (x | g)", 1),
    ("1 + (1 | g)", "1 + (x || g)", 1),
    ("1 + (1 | g)", "1 + (1 | g) + (1 | h)", 1),
    ("1 + (x || g)", "1 + (x | g)", 0),
    ("1 + (1 | g) + (0 + x | g)", "1 + (x | g)", 0),
    ("1 + (x | g)", "1 + (1 + I(x - 1) | g)", 0),
    ("1 + (x | g)", "1 + (x + z | g)", 1),
    ("1 + (1 | g)", "1 + (x + z | g)", 2),
    ("1 + homdiag(0 + f | g)", "1 + diag(0 + f | g)", 0),
    ("1 + diag(0 + f | g)", "1 + cs(0 + f | g)", 0),
    ("1 + homdiag(0 + f | g)", "1 + ar1(0 + f | g)", 0),
    ("1 + ar1(0 + f | g)", "1 + toep(0 + f | g)", 0),
    ("1 + toep(0 + f | g)", "1 + us(0 + f | g)", 0),
    ("1 + (1 | g)", "1 + us(0 + f | g)", 2),
    ("1", "1 + cs(0 + f | g)", None),
    ("1", "1 + homdiag(0 + f | g)", 1),
    ("1 + rr(0 + f | g, d = 1)", "1 + rr(0 + f | g, d = 2)", None),
    ("x + rr(0 + f | g, d = 2)", "x + z + rr(0 + f | g, d = 2)", 0),
    ("1", "f", 0),
    ("offset(z) + x", "x + z", 0),
    ("x + offset(2 * x)", "x + offset(z) + z", 0),
    ("I(x + z)", "x + z", 0),
]


@pytest.mark.parametrize(("small", "large", "at_bound"), NESTED)
def test_special_cases(small: str, large: str, at_bound: int | None) -> None:
    found = relation(problem(f"y ~ {small}"), problem(f"y ~ {large}"))
    assert found == Within(True, at_bound)


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ("x", "z + f"),
        ("x + (1 | g)", "x + z"),
        ("1 + (1 | g)", "x + (1 | h)"),
        ("1 + (z | g)", "1 + (x + I(x**2) | g)"),
        ("1 + (1 | g)", "1 + (1 | h) + (1 | h:g)"),
        ("offset(z)", "x"),
        ("x", "f + z"),
        ("1 + ar1(0 + f | g)", "1 + cs(0 + f | g)"),
        ("1 + cs(0 + f | g)", "1 + diag(0 + f | g) + (1 | h)"),
        ("1 + (1 | g)", "1 + ar1(0 + f | g)"),
    ],
)
def test_others(small: str, large: str) -> None:
    assert not relation(problem(f"y ~ {small}"), problem(f"y ~ {large}")).nested


@pytest.mark.parametrize(
    ("small", "large", "at_bound"),
    [
        ({"family": "poisson"}, {"family": "nbinom2"}, 1),
        ({"family": "poisson"}, {"family": "genpois"}, 0),
        ({"family": "poisson"}, {"family": "poisson", "zero_inflation": "~ 1"}, 1),
        ({"family": "poisson"}, {"family": "poisson", "zero_inflation": "~ x"}, None),
        ({"family": "poisson"}, {"family": "nbinom2", "zero_inflation": "~ 1"}, 2),
        (
            {"family": "poisson", "zero_inflation": "~ 1"},
            {"family": "poisson", "zero_inflation": "~ x + (1 | g)"},
            1,
        ),
        ({"family": "nbinom2"}, {"family": "nbinom2", "dispersion": "~ x"}, 0),
        ({"family": "poisson"}, {"family": "nbinom2", "dispersion": "~ x"}, None),
        ({"family": StudentT(df=4.0)}, {"family": "student_t"}, 0),
        ({"family": "gaussian"}, {"family": "student_t"}, 1),
        ({"family": "gaussian"}, {"family": "gaussian", "dispersion": "~ x + (1 | g)"}, 1),
    ],
)
def test_laws(small: dict[str, Any], large: dict[str, Any], at_bound: int | None) -> None:
    assert relation(problem("y ~ x", **small), problem("y ~ x", **large)) == Within(True, at_bound)


@pytest.mark.parametrize(
    ("small", "large"),
    [
        ({"family": "nbinom2"}, {"family": "poisson"}),
        ({"family": "poisson"}, {"family": "nbinom2", "link": "sqrt"}),
        ({"family": "gaussian"}, {"family": StudentT(df=4.0)}),
        ({"family": "nbinom1"}, {"family": "nbinom2", "dispersion": "~ x"}),
        ({"family": "nbinom2"}, {"family": "nbinom2", "dispersion": "~ 0 + x"}),
        ({"family": "poisson", "zero_inflation": "~ z"}, {"family": "nbinom2"}),
    ],
)
def test_other_laws(small: dict[str, Any], large: dict[str, Any]) -> None:
    assert not relation(problem("y ~ x", **small), problem("y ~ x", **large)).nested


def test_weights_of_another_meaning() -> None:
    """They divide the dispersion of one law, and multiply the log-density of the other."""
    for weights, nested in ((np.ones(len(DATA)), True), (np.full(len(DATA), 2.0), False)):
        normal, t = (problem("y ~ x", law, weights=weights) for law in ("gaussian", "student_t"))
        assert relation(normal, t).nested == nested


def test_thresholds_take_the_place_of_an_intercept() -> None:
    equal = problem("ordered ~ I(x + 3)", "cumulative", thresholds="equidistant")
    free = problem("ordered ~ x", "cumulative")
    assert relation(equal, free) == Within(True, 0)
    assert not relation(free, equal).nested


def test_restricted_parameters() -> None:
    def held(**values: Any) -> Problem:
        return problem("y ~ x + z + (x | g)", control=jg.Control(**values))

    free = held()
    sd = {"sd(g, Intercept)": 0.5}
    assert relation(held(fixed=sd), free).nested
    assert relation(held(fixed={"x": 2.0}), free) == Within(True, 0)
    assert relation(held(shared=[("x", "z")]), free) == Within(True, 0)
    assert not relation(free, held(fixed=sd)).nested
    assert not relation(free, held(fixed={"x": 2.0})).nested
    assert not relation(free, held(fixed={"sigma": 2.0})).nested
    assert relation(held(fixed={**sd, "x": 1.0}), held(fixed=sd)) == Within(True, 0)
    slope = {"sd(g, x)": 1.0}
    both = held(fixed={**sd, **slope})
    assert relation(both, held(fixed=slope)) == Within(True, 0)
    assert not relation(both, held(fixed={"sd(g, x)": 0.9})).nested
    alike = held(shared=[("sd(g, Intercept)", "sd(g, x)")])
    assert not relation(both, alike).nested
    assert relation(held(fixed={"sd(g, Intercept)": 1.0, **slope}), alike).nested


def test_rows_of_weight_zero_play_no_part() -> None:
    weights = np.ones(len(DATA))
    weights[:5] = 0.0
    other = DATA.assign(x=np.where(weights > 0, DATA["x"], 7.0))
    small = jg.build("y ~ x + (x | g)", other, weights=weights)[0]
    large = jg.build("y ~ x + z + (x | g)", DATA, weights=weights)[0]
    assert relation(small, large) == Within(True, 0)
    small, large = (of.replace(weights=np.ones(len(DATA))) for of in (small, large))
    assert not relation(small, large).nested
