"""The iterative factorisation: against one dense matrix where all sign vectors are its probes (an
average over them is exact), and as a smooth function with an exact gradient where few are."""

from __future__ import annotations

import dataclasses
import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxglmm import Control, engine, families
from jaxglmm.design import Grouping, Problem, make_problem
from jaxglmm.factor import IterativeFactor, choose, krylov
from jaxglmm.marginal import laplace
from jaxglmm.marginal.hessian import hessian
from jaxglmm.mode import find_mode, zeros
from jaxglmm.params import unflatten
from jaxglmm.rows import arrange

from .test_factors import algebra, close, oracle
from .test_several_factors import BOTH, ONE, TWO, codes
from .zoo import derivative, fit

SLOW = pytest.mark.slow


def design(kind, terms, probes=16) -> tuple[Problem, np.ndarray]:
    """Poisson rows with these factors and terms, and some parameters."""
    rng = np.random.default_rng(4)
    levels = codes(kind)
    n, groups = len(levels[0]), []
    for c, own in zip(levels, terms, strict=True):
        q = sum(term.covariance.dim for term in own)
        Z = np.column_stack([np.ones(n), rng.normal(size=(n, q - 1))])
        groups.append(Grouping(c.astype(np.int32), Z, int(c.max()) + 1, own))
    y, X = rng.poisson(2.0, n) * 1.0, rng.normal(size=(n, 2))
    how = {"factorisation": "iterative", "probes": probes}
    problem = make_problem(y, X, families.get("poisson"), tuple(groups), **how)
    num_theta = sum(g.num_theta for g in groups)
    return problem, np.concatenate([[0.3, -0.2], rng.normal(0.1, 0.4, num_theta)])


def with_all_signs(problem: Problem) -> Problem:
    """Every sign vector once, up to its own sign, which no quadratic form sees."""
    shapes = [(g.num_latent, g.num_levels) for g in problem.groupings[1:]]
    size = sum(q * levels for q, levels in shapes)
    signs = np.array(list(itertools.product([1, -1], repeat=size)), np.int8)[: 2 ** (size - 1)]
    ends = np.cumsum([q * levels for q, levels in shapes])[:-1]
    parts = np.split(signs, ends, axis=1)
    probes = tuple(p.reshape(-1, *s) for p, s in zip(parts, shapes, strict=True))
    return problem.replace(pattern=dataclasses.replace(problem.pattern, probes=probes))


DESIGNS = [
    ("crossed", (ONE, ONE)),
    pytest.param("crossed", (ONE, TWO), marks=SLOW),
    ("gaps", (TWO, ONE)),
    pytest.param("three", (ONE, ONE, ONE), marks=SLOW),
    pytest.param("gaps", (BOTH, TWO), marks=SLOW),
]


@pytest.mark.parametrize(("kind", "terms"), DESIGNS)
def test_agrees_with_dense_over_all_signs(kind, terms):
    problem, psi = design(kind, terms)
    rows = arrange(with_all_signs(problem))
    factor = choose(rows)
    assert isinstance(factor, IterativeFactor)
    u = tuple(jnp.asarray(np.random.default_rng(2).normal(size=v.shape)) for v in zeros(rows))

    def everything(factor, psi):
        mode = find_mode(rows, factor, unflatten(psi, rows), zeros(rows))
        both = laplace.value_and_gradient(rows, factor, psi, mode)
        return algebra(factor, rows, psi, u), mode, both, hessian(rows, factor, psi, mode).hessian

    run = jax.jit(everything)
    mine, theirs = run(factor, psi), run(oracle(rows), psi)
    close(mine[:3], theirs[:3], rtol=1e-8)
    close(mine[3], theirs[3], rtol=1e-5)  # its systems are solved to a residual of 1e-4


@pytest.mark.parametrize(("kind", "terms"), [DESIGNS[1], DESIGNS[2], DESIGNS[3]])
def test_the_gradient_is_that_of_the_estimate(kind, terms):
    """Few probes, far from the exact value: the gradient follows the estimate all the same."""
    problem, psi = design(kind, terms, probes=2)
    rows = arrange(problem)

    @jax.jit
    def at(psi):
        u = find_mode(rows, choose(rows), unflatten(psi, rows), zeros(rows))
        return laplace.value_and_gradient(rows, choose(rows), psi, u)

    gradient = at(psi)[1]
    for k, unit in enumerate(np.eye(len(psi))):
        slope = derivative(lambda t, unit=unit: at(psi + t * unit)[0], 1e-3)
        np.testing.assert_allclose(gradient[k], slope, rtol=1e-7, atol=1e-7)


def test_many_probes_are_within_their_error():
    problem, psi = design("crossed", (ONE, ONE), probes=2000)
    rows = arrange(problem)
    params = unflatten(jnp.asarray(psi), rows)

    def pieces(factor):
        u = find_mode(rows, factor, params, zeros(rows))
        return laplace.pieces(rows, factor, params, u)

    mine, exact = jax.jit(pieces)(choose(rows)), jax.jit(pieces)(oracle(rows))
    assert 0 < mine.error < 0.01 and exact.error == 0
    assert abs(mine.value - exact.value) < 4 * mine.error


@SLOW
def test_automatic_derivatives():
    """Of the log-likelihood and of the fit: the same as the explicit gradient, and near exact."""
    problem, psi = design("crossed", (ONE, ONE), probes=64)
    rows = arrange(problem)
    params = unflatten(jnp.asarray(psi), rows)
    value, gradient = jax.jit(jax.value_and_grad(engine.log_likelihood))(params, problem)
    u = find_mode(rows, choose(rows), params, zeros(rows))
    explicit = laplace.value_and_gradient(rows, choose(rows), jnp.asarray(psi), u)[1]
    assert np.isfinite(value)
    np.testing.assert_allclose(jnp.concatenate(jax.tree.leaves(gradient)), explicit, rtol=1e-8)

    @jax.jit
    def moved(problem, d_y):
        def estimate(y):
            return engine.maximise(problem.replace(y=y)).params.beta

        return jax.jvp(estimate, (jnp.asarray(problem.y),), (d_y,))[1]

    d_y = jnp.asarray(np.random.default_rng(5).normal(size=problem.num_obs))
    crossed = make_problem(problem.y, problem.X, problem.family, problem.groupings)
    np.testing.assert_allclose(moved(problem, d_y), moved(crossed, d_y), rtol=2e-2)


def test_a_matrix_that_is_not_positive_definite():
    """NaN from `factorise`, a direction of ascent from `factorise_safely`."""
    problem, psi = design("crossed", (TWO, ONE))
    rows = arrange(problem)
    factor, u = choose(rows), tuple(1.0 + v for v in zeros(rows))

    @jax.jit
    def of_the_negative(rows, psi, u):
        H = laplace.hessian_in_u(rows, factor, unflatten(psi, rows), u)
        H = jax.tree.map(jnp.negative, H)
        step = factor.solve(factor.factorise_safely(H), u)
        return factor.logdet(factor.factorise(H)), step, factor.inner(rows, u, step)

    logdet, step, gain = of_the_negative(rows, psi, u)
    assert np.isnan(logdet)
    assert all(np.all(np.isfinite(part)) for part in step)
    assert np.all(gain > 0)


def crossed(n: int, levels: tuple[int, int], **how) -> Problem:
    """Binomial rows, two factors drawn at random."""
    rng = np.random.default_rng(7)
    x, groups, eta = rng.normal(size=n), [], 0.0
    for sd, size in zip((0.7, 0.5), levels, strict=True):
        c = rng.integers(0, size, n).astype(np.int32)
        groups.append(Grouping(c, np.ones((n, 1)), size, ONE))
        eta = eta + sd * rng.normal(size=size)[c]
    y = (rng.uniform(size=n) < 1 / (1 + np.exp(0.2 - 0.3 * x - eta))) * 1.0
    X = np.column_stack([np.ones(n), x])
    return make_problem(y, X, families.get("binomial"), tuple(groups), **how)


@pytest.mark.parametrize("size", [(2000, 100, 40), pytest.param((70_000, 3000, 1100), marks=SLOW)])
def test_a_fit_is_near_the_exact_one(size):
    make = functools.partial(crossed, size[0], size[1:])
    mine, exact = (fit(make(factorisation=how)) for how in ("iterative", "paired"))
    error = np.sqrt(np.diag(np.linalg.inv(-exact.hessian)))
    for a, b, se in zip(mine.params.beta, exact.params.beta, error[:2], strict=True):
        assert abs(a - b) < 0.02 * se
    for a, b, se in zip(mine.params.theta, exact.params.theta, error[2:], strict=True):
        assert abs(a - b) < 0.02 * se
    np.testing.assert_allclose(
        np.linalg.inv(-mine.hessian), np.linalg.inv(-exact.hessian), rtol=0.05
    )
    assert exact.monte_carlo_error == 0
    assert abs(mine.log_likelihood - exact.log_likelihood) < 4 * mine.monte_carlo_error
    assert mine.status == exact.status == 0


@pytest.mark.slow
def test_the_same_answer_twice():
    """Probes belong to the design: another problem of the same design has the same ones."""
    once, again = (fit(crossed(500, (40, 20), factorisation="iterative")) for _ in range(2))
    jax.tree.map(np.testing.assert_array_equal, once, again)
    other = fit(crossed(500, (40, 20), factorisation="iterative", probes=8), control=Control())
    assert other.log_likelihood != once.log_likelihood


@pytest.fixture
def matrix() -> np.ndarray:
    """Positive definite with a diagonal of ones."""
    A = np.random.default_rng(8).normal(size=(12, 30))
    S = A @ A.T
    return S / np.sqrt(np.outer(np.diag(S), np.diag(S)))


def test_functions_of_a_matrix_by_its_products(matrix):
    z = jnp.asarray(np.random.default_rng(9).choice([-1.0, 1.0], 12))
    values, vectors = np.linalg.eigh(matrix)
    space = jax.jit(lambda z: krylov.lanczos(lambda v: matrix @ v, z))(z)
    root = vectors @ ((vectors.T @ z) / np.sqrt(values))
    np.testing.assert_allclose(krylov.apply(space, jax.lax.rsqrt), root, rtol=1e-8)
    value, form = krylov.log_remainder(space)
    logarithm = (vectors * np.log(values)) @ vectors.T
    np.testing.assert_allclose(value, z @ (logarithm - matrix + np.eye(12)) @ z, rtol=1e-10)
    x = space.basis.T @ form.vectors
    d = np.random.default_rng(10).normal(size=(12, 12))

    def exact(t: float) -> float:
        values, vectors = np.linalg.eigh(matrix + t * (d + d.T))
        return float(np.sum((np.log(values) - values) * (vectors.T @ z) ** 2))

    slope = np.einsum("e,ie,ij,je->", form.weights, x, d + d.T, x)
    np.testing.assert_allclose(slope, derivative(exact, 1e-3), rtol=1e-6)


def test_no_curvature_no_step_beyond(matrix):
    """Where the matrix is not positive definite a solution still points upwards."""
    g = np.random.default_rng(11).normal(size=12)
    shifted = matrix - 0.5 * np.eye(12)
    for M in (shifted, -matrix):
        x = krylov.solve(lambda v, M=M: M @ v, jnp.asarray(g))
        assert np.all(np.isfinite(x)) and x @ g > 0
    x = krylov.solve(lambda v: matrix @ v, jnp.asarray(g))
    np.testing.assert_allclose(x, np.linalg.solve(matrix, g), rtol=1e-8)


def test_factors_that_never_meet_in_a_level_need_no_probe():
    """A zero variance leaves S = I: the estimate is exact and has no error."""
    problem, psi = design("crossed", (ONE, ONE))
    rows = arrange(problem)
    psi = jnp.asarray(psi).at[-1].set(0.0)
    params = unflatten(psi, rows)

    def both(factor):
        u = find_mode(rows, factor, params, zeros(rows))
        at = laplace.pieces(rows, factor, params, u)
        return at.value, at.error

    mine, exact = jax.jit(both)(choose(rows)), jax.jit(both)(oracle(rows))
    np.testing.assert_allclose(mine[0], exact[0], rtol=1e-12)
    assert mine[1] < 1e-10
