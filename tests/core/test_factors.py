"""Every factorisation of H against one dense matrix, over awkward designs."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxglmm import families
from jaxglmm.covariance import Diagonal, Unstructured
from jaxglmm.design import Grouping, Term, make_problem
from jaxglmm.factor import BlockFactor, CrossedFactor, DenseFactor, EmptyFactor, choose
from jaxglmm.marginal import laplace
from jaxglmm.marginal.hessian import hessian
from jaxglmm.mode import find_mode, zeros
from jaxglmm.params import unflatten
from jaxglmm.pattern import Independent
from jaxglmm.rows import Rows, arrange

from .zoo import make_case

# Levels of 24 rows in 6 levels.
CODES = {
    "balanced": np.repeat(np.arange(6), 4),
    "unbalanced": np.repeat(np.arange(6), [13, 5, 3, 1, 1, 1]),
    "empty levels": np.repeat([1, 2, 4], [9, 9, 6]),
    "shuffled": np.random.default_rng(0).permutation(np.repeat(np.arange(6), [11, 6, 3, 2, 1, 1])),
}
QS = (1, 2, 3, 4, 5, 6)


def design(codes, terms, seed=1) -> tuple[Rows, np.ndarray]:
    """Poisson rows with these terms on one factor of six levels, and some parameters."""
    rng = np.random.default_rng(seed)
    q = sum(term.covariance.dim for term in terms)
    Z = np.column_stack([np.ones(24), rng.normal(size=(24, q - 1))])
    groups = (Grouping(codes.astype(np.int32), Z, 6, tuple(terms)),)
    X = rng.normal(size=(24, 2))
    rows = arrange(make_problem(rng.poisson(2.0, 24) * 1.0, X, families.get("poisson"), groups))
    num_theta = sum(term.covariance.num_theta for term in terms)
    return rows, np.concatenate([[0.3, -0.2], rng.normal(0.1, 0.4, num_theta)])


def oracle(rows: Rows) -> DenseFactor:
    return DenseFactor(rows.groupings)


def close(a, b, rtol=1e-9):
    """Equal relative to the size of the array, leaf by leaf."""

    def check(x, y):
        x, y = np.asarray(x), np.asarray(y)
        np.testing.assert_allclose(x, y, rtol=rtol, atol=rtol * np.max(np.abs(y), initial=0))

    jax.tree.map(check, a, b)


def algebra(factor, rows: Rows, psi, u) -> dict[str, object]:
    """All that a factor answers about H(psi, u), and the contraction of H^-1 with another H."""
    params = unflatten(psi, rows)
    H = laplace.hessian_in_u(rows, factor, params, u)
    other = laplace.hessian_in_u(rows, factor, params, jax.tree.map(lambda v: -0.5 * v, u))
    factored = factor.factorise(H)
    solved = factor.solve(factored, u)
    return {
        "solve": solved,
        "safe solve": factor.solve(factor.factorise_safely(H), u),
        "logdet": factor.logdet(factored),
        "contract": jnp.sum(factor.contract(factor.selected_inverse(factored), other)),
        "covariance": factor.covariance_blocks(factored),
        "inner": jnp.sum(factor.inner(rows, u, solved)),
    }


SLOW = pytest.mark.slow
LARGE = ("us(6)", "us(3)+diag(3)", "diag(3)")  # the same code as others
TERMS = {f"us({q})": (Term(Unstructured(q)),) for q in QS} | {
    "diag(3)": (Term(Diagonal(3)),),
    "us(2)+diag(1)": (Term(Unstructured(2)), Term(Diagonal(1))),
    "us(3)+diag(3)": (Term(Unstructured(3)), Term(Diagonal(3))),
    "us(1)+diag(8)": (Term(Unstructured(1)), Term(Diagonal(8))),
}


DESIGNS = [pytest.param("shuffled", t, marks=[SLOW] * (t in LARGE)) for t in TERMS]
DESIGNS += [(codes, terms) for codes in CODES for terms in ("us(1)", "us(2)", "us(5)")][:-3]


@pytest.mark.parametrize(("codes", "terms"), DESIGNS)
def test_blocks_agree_with_dense(codes, terms):
    rows, psi = design(CODES[codes], TERMS[terms])
    u = tuple(jnp.asarray(np.random.default_rng(2).normal(size=v.shape)) for v in zeros(rows))
    factor = choose(rows)
    assert isinstance(factor, BlockFactor)
    assert factor.triangular
    run = jax.jit(algebra)
    close(run(factor, rows, psi, u), run(oracle(rows), rows, psi, u))


def assert_like_dense(rows: Rows, psi: np.ndarray) -> None:
    """Mode, value, gradient and Hessian by the factorisation of these rows and by a dense one."""

    def everything(factor, psi):
        u = find_mode(rows, factor, unflatten(psi, rows), zeros(rows))
        both = laplace.value_and_gradient(rows, factor, psi, u)
        return u, both, hessian(rows, factor, psi, u).hessian

    run = jax.jit(everything)
    close(run(choose(rows), psi), run(oracle(rows), psi))


@pytest.mark.parametrize(
    "terms", ["us(2)", "us(2)+diag(1)", "us(1)+diag(8)", pytest.param("us(5)", marks=SLOW)]
)
def test_value_gradient_and_hessian_agree_with_dense(terms):
    rows, psi = design(CODES["shuffled"], TERMS[terms])
    assert_like_dense(rows, psi)


def test_dense_is_the_matrix_it_says():
    rows, psi = design(CODES["unbalanced"], TERMS["us(2)"])
    factor, params = oracle(rows), unflatten(jnp.asarray(psi), rows)
    u = tuple(0.3 + v for v in zeros(rows))
    H = jax.jit(laplace.hessian_in_u)(rows, factor, params, u)
    curvature = jax.jit(jax.hessian(lambda v: laplace.joint(rows, params, (v,))))(u[0])
    np.testing.assert_allclose(H, -curvature.reshape(12, 12), rtol=1e-12, atol=1e-12)
    factored = factor.factorise(H)
    np.testing.assert_allclose(factor.logdet(factored), np.linalg.slogdet(H)[1], rtol=1e-12)
    np.testing.assert_allclose(factor.selected_inverse(factored), np.linalg.inv(H), rtol=1e-9)


@pytest.mark.parametrize("q", [1, 2, 5])
def test_a_matrix_that_is_not_positive_definite(q):
    """NaN from `factorise`, a direction of ascent from `factorise_safely`."""
    rows, psi = design(CODES["balanced"], TERMS[f"us({q})"])
    u = tuple(1.0 + v for v in zeros(rows))
    hessian_in_u = jax.jit(laplace.hessian_in_u)
    for factor in (BlockFactor(), oracle(rows)):
        H = jax.tree.map(jnp.negative, hessian_in_u(rows, factor, unflatten(psi, rows), u))
        assert np.isnan(factor.logdet(factor.factorise(H)))
        step = factor.solve(factor.factorise_safely(H), u)
        assert np.all(np.isfinite(step[0])) and np.all(factor.inner(rows, u, step) > 0)


def test_no_random_effects_is_a_random_effect_without_variance():
    case = make_case("poisson", num_levels=6, size=5)
    rows = arrange(case.problem)
    plain = arrange(make_problem(case.problem.y, case.problem.X, case.problem.family))
    assert choose(plain) == EmptyFactor()

    @jax.jit
    def both(rows, psi):
        factor = choose(rows)
        at = laplace.value_and_gradient(rows, factor, psi, zeros(rows))
        return at, hessian(rows, factor, psi, zeros(rows)).hessian

    (value, gradient), curvature = both(plain, jnp.array([0.3, 0.4]))
    (value0, gradient0), curvature0 = both(rows, jnp.array([0.3, 0.4, 0.0]))
    close((value, gradient, curvature), (value0, gradient0[:2], curvature0[:2, :2]), rtol=1e-12)


def test_the_structure_follows_from_the_factors():
    rows = arrange(make_case("poisson", num_factors=2).problem)
    assert choose(rows) == CrossedFactor(rows.groupings)
    one = dataclasses.replace(rows, groupings=rows.groupings[:1], pattern=Independent())
    assert choose(one) == BlockFactor(triangular=True)
