"""Levels with many columns against one dense matrix; programs that do not grow with them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxglmm import families, status
from jaxglmm.ascent import maximise_rows
from jaxglmm.covariance import Diagonal, Unstructured
from jaxglmm.design import Grouping, Term, make_problem
from jaxglmm.factor import BlockFactor, CrossedFactor, NestedFactor, choose, chunks, small
from jaxglmm.likelihood import log_base
from jaxglmm.marginal import laplace
from jaxglmm.marginal.hessian import hessian
from jaxglmm.mode import find_mode, zeros
from jaxglmm.params import flatten, unflatten
from jaxglmm.rows import UNROLLED, Rows, arrange

from .location_scale import LocationScale
from .test_factors import algebra, close, oracle
from .test_several_factors import design as several

# Columns of the mean and of the log deviation, in turn.
TWO_PREDICTORS = {
    6: (Term(Unstructured(2)), Term(Diagonal(4), predictor=1)),
    9: (Term(Diagonal(2)), Term(Diagonal(4), predictor=1), Term(Unstructured(3))),
    5: (Term(Diagonal(5), predictor=1),),
}

SIZES = (13, 5, 3, 1, 0, 2)  # rows of each level


def location_scale(terms: tuple[Term, ...], sizes: Any) -> tuple[Rows, np.ndarray]:
    """Gaussian rows with these terms on one factor and small effects: H is positive definite."""
    rng = np.random.default_rng(7)
    codes = rng.permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int32)
    n, q = len(codes), sum(term.covariance.dim for term in terms)
    groups = (Grouping(codes, 0.5 * rng.normal(size=(n, q)), len(sizes), terms),)
    X, y = np.ones((n, 2)), rng.normal(size=n)
    rows = arrange(make_problem(y, X, LocationScale(), groups, predictors=(0, 1)))
    return rows, np.concatenate([[0.2, 0.1], rng.normal(0.1, 0.1, rows.num_theta)])


def matrices(factor: Any, rows: Rows, psi: Any, u: Any) -> Any:
    """What a factor answers about H(psi, u), leverages included."""
    H = laplace.hessian_in_u(rows, factor, unflatten(psi, rows), u)
    Q = factor.selected_inverse(factor.factorise(H))
    h = [jnp.broadcast_to(v, rows.y.shape) for row in factor.leverages(rows, Q) for v in row]
    return algebra(factor, rows, psi, u), jnp.stack(h)


def derivatives(factor: Any, rows: Rows, psi: Any) -> Any:
    """Mode, value, gradient and Hessian."""
    u = find_mode(rows, factor, unflatten(psi, rows), zeros(rows))
    both = laplace.value_and_gradient(rows, factor, psi, u)
    return u, both, hessian(rows, factor, psi, u).hessian


def small_effects(rows: Rows) -> tuple[Any, ...]:
    rng = np.random.default_rng(2)
    return tuple(jnp.asarray(0.3 * rng.normal(size=v.shape)) for v in zeros(rows))


@pytest.mark.parametrize("q", TWO_PREDICTORS)
def test_columns_on_two_predictors(q):
    rows, psi = location_scale(TWO_PREDICTORS[q], SIZES)
    u, run = small_effects(rows), jax.jit(matrices)
    close(run(BlockFactor(), rows, psi, u), run(oracle(rows), rows, psi, u))


@pytest.mark.parametrize("by_rows", [True, False])
@pytest.mark.parametrize("q", [6, pytest.param(9, marks=pytest.mark.slow)])
def test_derivatives_with_columns_on_two_predictors(q, by_rows):
    rows, psi = location_scale(TWO_PREDICTORS[q], SIZES)
    run = jax.jit(derivatives)
    close(run(BlockFactor(by_rows=by_rows), rows, psi), run(oracle(rows), rows, psi))


def test_chunks_in_parts(monkeypatch):
    """A level of many chunks, not all of them taken at once."""
    monkeypatch.setattr(chunks, "_AT_ONCE", 1)
    rows, psi = location_scale(TWO_PREDICTORS[9], [200, 3, 1])
    assert rows.y.shape[1] > 6
    u, run = small_effects(rows), jax.jit(matrices)
    close(run(BlockFactor(), rows, psi, u), run(oracle(rows), rows, psi, u))


def test_third_order_sums_are_kept_where_rows_outnumber_columns():
    for size, by_rows in ((8, False), (3, True)):
        rows, _ = location_scale(TWO_PREDICTORS[6], [size] * 5)
        assert choose(rows) == BlockFactor(triangular=True, by_rows=by_rows)


FIVE, ONE = (Term(Diagonal(5)),), (Term(Unstructured(1)),)


@pytest.mark.parametrize(
    ("kind", "terms"), [("crossed", (FIVE, ONE)), ("crossed", (ONE, FIVE)), ("nested", (FIVE, ONE))]
)
def test_wide_factors_among_others(kind, terms):
    rows, psi = several(kind, terms)
    factor = choose(rows)
    assert isinstance(factor, NestedFactor if kind == "nested" else CrossedFactor)
    u = tuple(jnp.asarray(np.random.default_rng(2).normal(size=v.shape)) for v in zeros(rows))
    run = jax.jit(algebra)
    close(run(factor, rows, psi, u), run(oracle(rows), rows, psi, u))


@pytest.mark.parametrize("r", [2, 6])
def test_rectangular_factors(r):
    """T' A T and T P T' for T of shape (q, r), in the form that suits their size."""
    rng = np.random.default_rng(r)
    T, A, P = rng.normal(size=(7, r)), rng.normal(size=(3, 7, 7)), rng.normal(size=(3, r, r))
    A, P = A + np.swapaxes(A, 1, 2), P + np.swapaxes(P, 1, 2)
    within = small.congruence(small.from_dense(jnp.asarray(A)), jnp.asarray(T))
    assert isinstance(within, list) == (r <= UNROLLED)
    close(small.to_dense(within), T.T @ A @ T, rtol=1e-12)
    across = small.outward(small.from_dense(jnp.asarray(P)), jnp.asarray(T))
    close(small.to_dense(across), T @ P @ T.T, rtol=1e-12)


def num_equations(jaxpr: Any) -> int:
    """Operations of a program, those of its loops included."""
    count = 0
    for equation in jaxpr.eqns:
        count += 1
        for leaf in jax.tree.leaves(equation.params, is_leaf=lambda x: hasattr(x, "eqns")):
            inside = getattr(leaf, "jaxpr", leaf)
            count += num_equations(inside) if hasattr(inside, "eqns") else 0
    return count


def problem(q: int, n: int) -> Any:
    """Binomial rows with q uncorrelated columns, some levels without rows."""
    rng = np.random.default_rng(q)
    codes = rng.integers(0, 20, n).astype(np.int32)
    Z = rng.normal(size=(n, q))
    groups = (Grouping(codes, Z, 24, (Term(Diagonal(q)),)),)
    eta = 0.3 + np.sum(Z * rng.normal(scale=1.5 / np.sqrt(q), size=(20, q))[codes], axis=1)
    y = rng.binomial(10, 1 / (1 + np.exp(-eta))) * 1.0
    X, trials = np.ones((n, 1)), np.full(n, 10.0)
    return make_problem(y, X, families.get("binomial"), groups, trials=trials)


def test_a_program_does_not_grow_with_the_columns():
    def size(q: int) -> int:
        program = jax.make_jaxpr(lambda p: maximise_rows(arrange(p)))(problem(q, 1200))
        return num_equations(program.jaxpr)

    assert size(24) == size(16)  # from 16 on steps are damped


def test_a_fit_with_many_columns():
    """At the maximum the gradient, which the dense factor finds too, is nothing."""
    rows = arrange(problem(8, 300))
    estimate = jax.jit(maximise_rows)(rows)
    assert estimate.status == status.CONVERGED
    value, slope = jax.jit(laplace.value_and_gradient)(
        rows, oracle(rows), flatten(estimate.params), estimate.u
    )
    np.testing.assert_allclose(value + log_base(rows), estimate.log_likelihood, rtol=1e-12)
    np.testing.assert_allclose(slope, 0.0, atol=1e-5)
