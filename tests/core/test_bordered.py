"""The bordered factor against the dense matrix, and the derivatives that rest on it."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from jaxglmm import families
from jaxglmm.factor import BorderedFactor, EmptyFactor, choose, joined
from jaxglmm.families import Modelled
from jaxglmm.marginal import laplace
from jaxglmm.marginal.inside import inward, outward, places
from jaxglmm.mode import zeros
from jaxglmm.params import Params, unflatten
from jaxglmm.predictor import linear_predictor, random_effects, random_part, relative_factors
from jaxglmm.rows import arrange

from . import test_factors, test_several_factors
from .location_scale import make_location_scale
from .test_gradients import CHECKS, check_gradient, check_hessian
from .zoo import make_case, slow

INSIDE = ("reml", "approximate_laplace")


DESIGNS = ("us(1)", "us(2)", "crossed", "gaps", "nested", "no random effects")


def design(name):
    """Rows over every inner structure, with parameters (theta, phi)."""
    if name in test_factors.TERMS:
        rows, psi = test_factors.design(test_factors.CODES["shuffled"], test_factors.TERMS[name])
    elif name == "no random effects":
        case = make_case("gaussian")
        rows = arrange(case.problem.replace(groupings=()), num_fixed=4)
        psi = np.delete(case.psi, 2)
    else:
        rows, psi = test_several_factors.design(
            name, (test_several_factors.TWO, test_several_factors.ONE)
        )
    return rows, psi[2:]


@pytest.mark.parametrize("method", INSIDE)
@pytest.mark.parametrize("name", DESIGNS)
def test_algebra_is_that_of_the_dense_matrix(name, method):
    rows, psi = design(name)
    rows = dataclasses.replace(rows, method=method)
    params = unflatten(jnp.asarray(psi), rows)
    rng = np.random.default_rng(2)
    u, g, other = (
        tuple(jnp.asarray(0.3 * rng.normal(size=v.shape)) for v in zeros(rows)) for _ in range(3)
    )
    (H, K), ours = jax.jit(answers)(rows, params, u, g, other)
    flat, shaped = ravel_pytree(u)
    curvature = jax.jit(jax.hessian(lambda v: -laplace.joint(rows, params, shaped(v))))(flat)
    np.testing.assert_allclose(H, curvature, rtol=1e-11, atol=1e-11)
    Z = np.asarray(jax.jit(columns)(rows, params, u))
    theirs = expected(np.asarray(H), np.asarray(K), Z, rows, g)
    covariance = shaped(jnp.asarray(np.diagonal(np.linalg.inv(H))))
    test_factors.close(ours, theirs | {"covariance": list(covariance)})


def answers(rows, params, u, g, other):
    """H at u and K at another place as dense matrices, and all that the factor says of them."""
    factor = choose(rows)
    assert isinstance(factor, BorderedFactor)
    flat, shaped = ravel_pytree(u)
    H, K = (laplace.hessian_in_u(rows, factor, params, v) for v in (u, other))

    def dense(M):
        return jax.vmap(lambda e: ravel_pytree(factor.times(M, shaped(e)))[0])(jnp.eye(flat.size))

    factored = factor.factorise(H)
    P = factor.selected_inverse(factored)
    h = factor.leverages(rows, factor.spread(P, relative_factors(rows, params.theta)))[0][0]
    moved = jax.tree.map(lambda *m: jnp.stack(m), H, K)
    blocks = factor.covariance_blocks(factored)
    return (dense(H), dense(K)), {
        "solve": ravel_pytree(factor.solve(factored, g))[0],
        "safe solve": ravel_pytree(factor.solve(factor.factorise_safely(H), g))[0],
        "logdet": factor.logdet(factored),
        "contract": jnp.sum(factor.contract(P, K)),
        "trace products": factor.trace_products(H, factored, P, moved),
        "leverages": jnp.broadcast_to(h, rows.y.shape).ravel(),
        "covariance": [jnp.einsum("iil->il", block) for block in blocks],
    }


def columns(rows, params, u):
    """The columns of [Z Lambda, X]; shape (effect, row)."""
    flat, shaped = ravel_pytree(u)
    lam = relative_factors(rows, params.theta)

    def column(e):
        eta = random_part(rows, random_effects(lam, shaped(e)))[0]
        return jnp.broadcast_to(eta, rows.y.shape).ravel()

    return jax.vmap(column)(jnp.eye(flat.size))


def expected(H, K, Z, rows, g):
    """The same from dense matrices; what counts of H is all of it, or the part of u."""
    part = len(H) if rows.method == "reml" else len(H) - rows.X.shape[0]
    P = np.zeros_like(H)
    P[:part, :part] = np.linalg.inv(H[:part, :part])
    step = np.linalg.solve(H, ravel_pytree(g)[0])
    return {
        "solve": step,
        "safe solve": step,
        "logdet": np.linalg.slogdet(H[:part, :part])[1],
        "contract": np.trace(P @ K),
        "trace products": np.array([[np.trace(P @ A @ P @ B) for B in (H, K)] for A in (H, K)]),
        "leverages": np.einsum("in,ij,jn->n", Z, P, Z),
    }


def test_the_inner_structure_is_that_without_the_border():
    problem = make_case("poisson").problem
    plain = choose(arrange(problem))
    reml, approximate = (choose(arrange(problem.replace(method=m))) for m in INSIDE)
    assert reml.base == approximate.base == plain
    assert reml.integrated and not approximate.integrated
    empty = arrange(problem.replace(groupings=(), method="reml"))
    assert choose(empty).base == EmptyFactor()
    nothing = problem.replace(X=problem.X[:, :0], predictors=(), method="reml")
    assert choose(arrange(nothing)) == plain


@pytest.mark.parametrize("method", INSIDE)
@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
def test_derivatives_in_the_parameters(check, method):
    case = make_case("poisson", num_levels=4, size=8, num_factors=2, spread=0.5)
    check(case.problem.replace(method=method), case.psi[2:])


@pytest.mark.parametrize("check", [check_gradient, check_hessian])
@pytest.mark.parametrize("family", ["gaussian", "gamma", "nbinom2"])
def test_derivatives_for_laws_with_parameters(family, check):
    case = make_case(family, q=2, spread=0.5, weights=True)
    check(case.problem.replace(method="reml"), case.psi[2:])


@pytest.mark.parametrize("check", [check_gradient, check_hessian])
def test_derivatives_with_two_linear_predictors(check):
    problem, psi = make_location_scale()
    check(problem.replace(method="reml"), psi[problem.X.shape[1] :])


@pytest.mark.parametrize("check", [check_gradient, slow(check_hessian)])
def test_derivatives_with_coefficients_inside_and_outside(check):
    problem, psi = make_location_scale()
    modelled = Modelled(families.get("gaussian"), dispersion=True)
    check(problem.replace(method="reml", family=modelled), psi[2:])


def test_columns_inside_and_outside():
    """They may stand in any order, and padding is inside."""
    problem, _ = make_location_scale()
    X, modelled = problem.X[:, [0, 2, 1]], Modelled(families.get("gaussian"), dispersion=True)
    problem = problem.replace(X=X, predictors=(0, 1, 0), family=modelled, method="reml")
    rows = arrange(problem, num_fixed=5)
    assert (rows.inside, rows.outside, rows.num_fixed) == ((0, 2, 3, 4), (1,), 1)
    assert problem.inside == (0, 2)
    params = Params(jnp.arange(1.0, 6.0), jnp.zeros(4), jnp.zeros(0))
    inner, u = inward(rows, params, zeros(rows.random_only))
    np.testing.assert_array_equal(inner.beta, [2.0])
    np.testing.assert_array_equal(u[-1][:, 0], [1.0, 3.0, 4.0, 5.0])
    eta = linear_predictor(rows, inner.beta, u)
    plain = linear_predictor(rows.random_only, params.beta, u[:-1])
    for one, other in zip(eta, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-14)
    again, v = outward(rows, inner, u)
    np.testing.assert_array_equal(again.beta, params.beta)
    assert len(v) == len(u) - 1
    np.testing.assert_array_equal(places(rows, 5), [1, 5, 6, 7, 8])


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5])
def test_small_factors_are_those_of_larger_ones(n):
    """Written out entry by entry as by LAPACK; where there is no factor, NaN or what dominates."""
    rng = np.random.default_rng(n)
    root = rng.normal(size=(n, n + 1))
    M, right = root @ root.T, rng.normal(size=(n, 2))
    lower = joined.cholesky(M, safe=False)
    np.testing.assert_allclose(lower, np.linalg.cholesky(M) if n else M, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(M @ joined.solve(lower, right), right, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(lower @ joined.solve_lower(lower, right), right, atol=1e-9)
    for bad in (M - 2.0 * np.eye(n) * np.trace(M), 0.0 * M):
        if n:
            assert not np.any(np.isfinite(np.diagonal(joined.cholesky(bad, safe=False))))
            safe = np.asarray(joined.cholesky(bad, safe=True))
            assert np.linalg.eigvalsh(safe @ safe.T - bad)[0] >= 1.0 - 1e-9
