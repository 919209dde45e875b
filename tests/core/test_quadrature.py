"""Adaptive Gauss-Hermite quadrature: exact integrals, its derivatives, the fit's machinery."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate, special

from jaxglmm import engine
from jaxglmm.ascent import maximise_rows
from jaxglmm.factor import choose
from jaxglmm.marginal import criterion
from jaxglmm.marginal.quadrature import most_points, rule, rule_bytes
from jaxglmm.mode import find_mode, zeros
from jaxglmm.params import unflatten
from jaxglmm.rows import Rows, arrange

from .zoo import Case, make_case


@functools.cache
def case(family: str, q: int = 1) -> Case:
    return make_case(family, q=q)


def by_quadrature(family: str, points: int, q: int = 1) -> Rows:
    problem = case(family, q).problem
    return arrange(problem.replace(method="agq", quadrature_points=points))


@jax.jit
def by_hand(rows: Rows, psi: Any) -> tuple[Any, Any, Any]:
    """Value, gradient and Hessian."""
    factor, psi = choose(rows), jnp.asarray(psi)
    u = find_mode(rows, factor, unflatten(psi, rows), zeros(rows))
    found = criterion.find(rows, factor, psi, u, order=4)
    return found.value, found.gradient, criterion.hessian(rows, factor, psi, found.pieces).hessian


@jax.jit
def marginal(rows: Rows, psi: Any) -> Any:
    return criterion.marginal(rows, choose(rows), unflatten(jnp.asarray(psi), rows))


def test_rules_integrate_polynomials():
    for points in (1, 2, 7, 25, 400):
        found = rule(points, 2)
        assert found.nodes.shape == (points**2, 2)
        x, weight = found.nodes, np.exp(found.log_weights - 0.5 * np.sum(found.nodes**2, axis=1))
        np.testing.assert_allclose(np.sum(weight), 1.0, rtol=1e-12)
        for k in range(min(points, 30)):  # E x^2k = (2k - 1)!!
            moment = special.factorial2(2 * k - 1) if k else 1.0
            np.testing.assert_allclose(np.sum(weight * x[:, 1] ** (2 * k)), moment, rtol=1e-9)


def test_points_that_fit_a_memory():
    for latent in (1, 2, 3):
        most = most_points(latent, 1e9)
        assert rule_bytes(most, latent) <= 1e9 < rule_bytes(most + 1, latent)


def test_one_point_is_laplace():
    psi, plain = case("binomial").psi, arrange(case("binomial").problem)
    np.testing.assert_array_equal(marginal(by_quadrature("binomial", 1), psi), marginal(plain, psi))


@pytest.mark.parametrize("points", [2, 5])
def test_the_normal_law_is_integrated_exactly(points: int):
    psi = case("gaussian", 2).psi
    exact = marginal(arrange(case("gaussian", 2).problem), psi)
    np.testing.assert_allclose(
        marginal(by_quadrature("gaussian", points, 2), psi), exact, rtol=1e-13
    )


def test_converges_to_the_integral():
    """That of scipy over the effect of each level."""
    problem, psi = case("binomial").problem, case("binomial").psi
    psi = np.where(np.arange(len(psi)) == problem.X.shape[1], 1.5, psi)  # a large variance
    beta, scale = psi[: problem.X.shape[1]], psi[problem.X.shape[1]]
    eta, codes = problem.X @ beta + problem.offset, np.asarray(problem.groupings[0].codes)
    z = np.broadcast_to(problem.groupings[0].Z[:, 0], eta.shape)

    def log_density(u: float, of: Any) -> float:
        at = eta[of] + scale * z[of] * u
        log_p = problem.y[of] * at - problem.trials[of] * np.logaddexp(0.0, at)
        return float(np.sum(log_p) - 0.5 * u * u)

    total = 0.0
    for level in range(problem.groupings[0].num_levels):
        of = codes == level
        top = max(log_density(u, of) for u in np.linspace(-6, 6, 241))
        area = integrate.quad(
            lambda u, of=of, top=top: np.exp(log_density(u, of) - top), -12, 12, epsabs=0, limit=200
        )[0]
        total += top + np.log(area) - 0.5 * np.log(2 * np.pi)
    errors = [abs(float(marginal(by_quadrature("binomial", k), psi)) - total) for k in (1, 3, 25)]
    assert errors[0] > 10 * errors[1] > 10 * errors[2]
    assert errors[2] < 1e-8


def check_derivatives(family: str, q: int, points: int) -> None:
    rows = by_quadrature(family, points, q)
    psi = case(family, q).psi + np.random.default_rng(5).uniform(
        -0.05, 0.05, case(family, q).psi.shape
    )
    value, gradient, hessian = by_hand(rows, psi)
    np.testing.assert_allclose(value, marginal(rows, psi), rtol=1e-13)
    assert np.linalg.norm(gradient) > 0.01
    step = 1e-5 * np.eye(len(psi))
    pairs = [(by_hand(rows, psi + h), by_hand(rows, psi - h)) for h in step]
    slopes = np.array([(a[0] - b[0]) / 2e-5 for a, b in pairs])
    bends = np.array([(a[1] - b[1]) / 2e-5 for a, b in pairs])
    np.testing.assert_allclose(gradient, slopes, atol=1e-6 * np.linalg.norm(slopes))
    np.testing.assert_allclose(hessian, bends, atol=1e-6 * np.linalg.norm(bends))


def test_derivatives():
    check_derivatives("poisson", 1, 3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "q"), [("gamma", 2), ("nbinom2", 3), ("beta", 1), ("cumulative", 2)]
)
def test_derivatives_of_other_laws(family: str, q: int):
    check_derivatives(family, q, 4)


@pytest.mark.slow
def test_derivatives_by_autodiff():
    """Through the implicit derivative of the mode: no differences, so to rounding."""
    rows, psi = by_quadrature("binomial", 4), jnp.asarray(case("binomial").psi)
    _, gradient, hessian = by_hand(rows, psi)
    np.testing.assert_allclose(gradient, jax.grad(marginal, 1)(rows, psi), atol=1e-12)
    np.testing.assert_allclose(hessian, jax.hessian(marginal, 1)(rows, psi), atol=1e-10)


@pytest.mark.slow
def test_the_estimate_follows_the_data():
    """The implicit derivative of the maximum in the weights, beside differences; and vmap."""
    problem = make_case("poisson", weights=True).problem.replace(method="agq", quadrature_points=5)
    direction = np.random.default_rng(3).uniform(-1, 1, problem.num_obs)

    @jax.jit
    def along(t: Any) -> Any:
        weights = problem.weights * (1.0 + t * direction)
        est = maximise_rows(arrange(problem.replace(weights=weights)))
        return est.params, est.log_likelihood

    _, moved = jax.jvp(along, (0.0,), (1.0,))
    up, down = (along(t) for t in (1e-4, -1e-4))
    differences = jax.tree.map(lambda a, b: (a - b) / 2e-4, up, down)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), moved, differences
    )
    both = jax.vmap(along)(jnp.array([0.0, 1e-4]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-7, atol=1e-9), both, up)


@pytest.mark.slow
@pytest.mark.single
def test_single_precision():
    small = jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float32) if np.asarray(leaf).dtype == float else leaf,
        make_case("poisson").problem,
    )
    problem = small.replace(method="agq", quadrature_points=5)
    est = jax.jit(lambda p: engine.log_likelihood(engine.initial_params(p), p))(problem)
    assert est.dtype == np.float32 and np.isfinite(est)
