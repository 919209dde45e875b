"""Several grouping factors against one dense matrix: crossed, nested, unbalanced, with gaps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxglmm import families
from jaxglmm.covariance import Diagonal, Unstructured
from jaxglmm.design import Grouping, Term, make_problem
from jaxglmm.factor import CrossedFactor, NestedFactor, PairedFactor, choose
from jaxglmm.marginal import laplace
from jaxglmm.mode import zeros
from jaxglmm.params import unflatten
from jaxglmm.rows import Rows, arrange

from .location_scale import LocationScale
from .test_factors import algebra, assert_like_dense, close, oracle

ONE, TWO = (Term(Unstructured(1)),), (Term(Unstructured(2)),)
BOTH = (Term(Unstructured(2)), Term(Diagonal(1)))


def codes(kind: str, n: int = 40) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(3)
    first = rng.integers(0, 8, n)
    if kind == "crossed":
        return first, rng.integers(0, 5, n)
    if kind == "nested":
        return first, first // 3
    if kind == "chain":  # the first is the observation, nested in all others; gaps in the second
        return np.arange(n), np.arange(n) // 4 + 1, np.arange(n) // 12
    if kind == "gaps":  # levels without rows, and a level seen once
        second = np.where(first == 2, 1, 3)
        second[0] = 0
        return np.where(first == 5, 4, first), second
    if kind == "three":
        return np.arange(n), first, rng.integers(0, 3, n)  # the first is the observation
    raise ValueError(kind)


def design(
    kind: str, terms: tuple[tuple[Term, ...], ...], wanted: str = "auto"
) -> tuple[Rows, np.ndarray]:
    """Poisson rows with these factors and terms, and some parameters."""
    rng = np.random.default_rng(4)
    levels = codes(kind)
    n, groups = len(levels[0]), []
    for c, own in zip(levels, terms, strict=True):
        q = sum(term.covariance.dim for term in own)
        Z = np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))])
        num_levels = max(int(c.max()) + 1, 5)
        groups.append(Grouping(c.astype(np.int32), Z, num_levels, own))
    X = rng.normal(size=(n, 2))
    law = families.get("poisson")
    problem = make_problem(rng.poisson(2.0, n) * 1.0, X, law, tuple(groups), factorisation=wanted)
    num_theta = sum(g.num_theta for g in groups)
    return arrange(problem), np.concatenate([[0.3, -0.2], rng.normal(0.1, 0.4, num_theta)])


DESIGNS = [
    ("crossed", (ONE, ONE)),
    ("crossed", (TWO, ONE)),
    ("crossed", (ONE, BOTH)),
    ("nested", (ONE, TWO)),
    ("gaps", (TWO, TWO)),
    ("three", (ONE, TWO, ONE)),
    ("chain", (ONE, TWO, BOTH)),
]
FACTORS = {"nested": NestedFactor, "crossed": CrossedFactor, "paired": PairedFactor}


def suited(kind: str) -> tuple[str, ...]:
    """The factorisations that can serve a design."""
    return tuple(FACTORS) if kind in ("nested", "chain") else ("crossed", "paired")


def wanted(name: str) -> str:
    return "auto" if name == "nested" else name


CASES = [(kind, terms, name) for kind, terms in DESIGNS for name in suited(kind)]


@pytest.mark.parametrize(("kind", "terms", "name"), CASES)
def test_algebra_agrees_with_dense(kind, terms, name):
    rows, psi = design(kind, terms, wanted(name))
    factor = choose(rows)
    assert type(factor) is FACTORS[name]
    u = tuple(jnp.asarray(np.random.default_rng(2).normal(size=v.shape)) for v in zeros(rows))
    run = jax.jit(algebra)
    close(run(factor, rows, psi, u), run(oracle(rows), rows, psi, u))


@pytest.mark.parametrize(
    ("kind", "terms", "name"),
    [
        pytest.param(*case, marks=[pytest.mark.slow] * (case[0] == "chain"))
        for case in CASES
        if case[:2] in DESIGNS[2::2]
    ],
)
def test_value_gradient_and_hessian_agree_with_dense(kind, terms, name):
    rows, psi = design(kind, terms, wanted(name))
    assert_like_dense(rows, psi)


@pytest.mark.parametrize("name", FACTORS)
def test_effects_on_two_linear_predictors(name):
    """A gaussian location-scale model: the same factor's columns feed mean and log sd."""
    rng = np.random.default_rng(5)
    first, second = codes("nested" if name == "nested" else "crossed")
    n = len(first)
    scale = (Term(Unstructured(1)), Term(Unstructured(1), predictor=1))
    groups = (
        Grouping(first.astype(np.int32), np.ones((n, 2)), 8, scale),
        Grouping(second.astype(np.int32), np.ones((n, 2)), 5, scale),
    )
    X = np.ones((n, 2))
    y = rng.normal(size=n)
    law, how = LocationScale(), wanted(name)
    rows = arrange(make_problem(y, X, law, groups, predictors=(0, 1), factorisation=how))
    assert type(choose(rows)) is FACTORS[name]
    psi = np.array([0.2, -0.1, 0.2, 0.1, 0.2, 0.1])  # H is positive definite for small effects
    u = tuple(jnp.asarray(rng.normal(size=v.shape)) for v in zeros(rows))
    run = jax.jit(algebra)
    close(run(choose(rows), rows, psi, u), run(oracle(rows), rows, psi, u))


@pytest.mark.parametrize("name", FACTORS)
def test_a_matrix_that_is_not_positive_definite(name):
    """NaN from `factorise`, a direction of ascent from `factorise_safely`."""
    rows, psi = design("nested" if name == "nested" else "crossed", (TWO, ONE), wanted(name))
    factor, u = choose(rows), tuple(1.0 + v for v in zeros(rows))
    H = jax.tree.map(jnp.negative, laplace.hessian_in_u(rows, factor, unflatten(psi, rows), u))
    assert np.isnan(factor.logdet(factor.factorise(H)))
    step = factor.solve(factor.factorise_safely(H), u)
    assert all(np.all(np.isfinite(part)) for part in step)
    assert np.all(factor.inner(rows, u, step) > 0)


def test_the_components_of_nested_factors_are_the_levels_of_the_last():
    """Inner products within each, and their values given back to every level within."""
    rows, _ = design("chain", (ONE, TWO, BOTH))
    factor, rng = choose(rows), np.random.default_rng(6)
    a, b = (tuple(jnp.asarray(rng.normal(size=v.shape)) for v in zeros(rows)) for _ in range(2))
    each = factor.inner(rows, a, b)
    assert each.shape == (rows.groupings[-1].num_levels,)
    np.testing.assert_allclose(jnp.sum(each), oracle(rows).inner(rows, a, b)[0], rtol=1e-12)
    scaled = factor.inner(rows, factor.per_component(rows, jnp.arange(5.0), a), b)
    np.testing.assert_allclose(scaled, jnp.arange(5.0) * each, rtol=1e-12)
