"""The conditional mode and its implicit derivatives."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxglmm import families
from jaxglmm.ascent.objective import LaplaceObjective, along
from jaxglmm.factor import choose
from jaxglmm.marginal import laplace
from jaxglmm.mode import find_mode, zeros
from jaxglmm.params import unflatten
from jaxglmm.rows import arrange

from .zoo import derivative, law_pairs, make_case

# A last Newton step of length sqrt(1.5e-9), squared, times a third derivative of a few units.
AT_MODE = 1e-8
# Given sigma, the lognormal law's spread on the scale of log y grows as its mean falls: a response
# far below the others can be a rare one of a large mean, or a usual one of a small mean.
SEVERAL_MODES = ("lognormal",)


@jax.jit
def mode(rows, psi, start):
    return find_mode(rows, choose(rows), unflatten(psi, rows), start)


@jax.jit
def slope(rows, psi, u):
    return jax.grad(laplace.joint, argnums=2)(rows, unflatten(psi, rows), u)


@pytest.mark.parametrize(("family", "link"), law_pairs(quick=True))
def test_gradient_is_zero_at_the_mode(family, link):
    # Given that there is one, a count of one prefers a mean of zero, where the domain of a power
    # link ends with an infinite slope: levels far down would have no mode inside.
    spread = 0.2 if families.get(family).support == "positive_count" else 0.4
    case = make_case(family, link, spread=spread)
    rows = arrange(case.problem)
    u = mode(rows, case.psi, zeros(rows))
    assert np.max(np.abs(u[0])) > 0.1
    np.testing.assert_allclose(slope(rows, case.psi, u)[0], 0.0, atol=AT_MODE)


@pytest.mark.parametrize("q", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("family", families.REGISTRY)
def test_bad_starts_lead_to_the_same_mode(family, q):
    case = make_case(family, q=q, spread=0.6)
    rows = arrange(case.problem)
    u = mode(rows, case.psi, zeros(rows))
    for value in (30.0, -30.0, 3.0):
        start = jax.tree.map(lambda v, value=value: v + value, zeros(rows))
        again = mode(rows, case.psi, start)
        if family in SEVERAL_MODES:
            np.testing.assert_allclose(slope(rows, case.psi, again)[0], 0.0, atol=AT_MODE)
        else:
            np.testing.assert_allclose(again[0], u[0], rtol=1e-8, atol=1e-9)


def test_bad_starts_with_two_factors():
    case = make_case("poisson", num_factors=2, spread=0.6)
    rows = arrange(case.problem)
    u = mode(rows, case.psi, zeros(rows))
    jax.tree.map(
        lambda g: np.testing.assert_allclose(g, 0.0, atol=AT_MODE), slope(rows, case.psi, u)
    )
    for value in (30.0, -30.0):
        start = jax.tree.map(lambda v, value=value: v + value, zeros(rows))
        again = mode(rows, case.psi, start)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9), again, u)


@pytest.mark.parametrize("seed", range(25))
def test_large_variances_do_not_cycle(seed):
    """Plain Newton with a cap 2-cycles on some of these."""
    case = make_case("binomial", num_levels=8, size=4, spread=2.0, seed=seed)
    rows = arrange(case.problem)
    psi = np.array([0.0, 1.0, 6.0])
    u = mode(rows, psi, zeros(rows))
    np.testing.assert_allclose(slope(rows, psi, u)[0], 0.0, atol=AT_MODE)


@pytest.mark.parametrize(("link", "zero"), [("log", True), ("sqrt", False)])
def test_far_predictions_of_the_mode_are_not_believed(link, zero):
    """Levels whose random effects would leap begin at zero, the others where tangents lead; with a
    link that is not monotone all do."""
    case = make_case("poisson", link, num_levels=4)
    rows = arrange(case.problem)
    objective = LaplaceObjective(rows, choose(rows))
    u = (jnp.asarray([[1.0, -0.5, 0.2, -1.0]]),)
    ahead = (jnp.asarray([[1.1, 30.0, 0.1, -2.0]]),)
    psi = jnp.asarray(case.psi)
    near = [1.1, 0.0 if zero else 30.0, 0.1, -2.0]
    np.testing.assert_array_equal(objective.guess(psi, psi, u, ahead)[0][0], near)
    # A covariance factor so much larger moves all of them.
    end = psi.at[rows.num_fixed].multiply(50.0)
    far = np.zeros(4) if zero else near
    np.testing.assert_array_equal(objective.guess(psi, end, u, ahead)[0][0], far)


def test_one_small_effect_does_not_make_the_others_of_its_level_far():
    """Of a single level the largest effect of a column is its own: its deviation counts too."""
    case = make_case("poisson", q=2, num_levels=1, size=12)
    rows = arrange(case.problem)
    objective = LaplaceObjective(rows, choose(rows))
    psi = jnp.asarray(case.psi)
    u, ahead = (jnp.asarray([[1.0], [1e-6]]),), (jnp.asarray([[1.2], [0.1]]),)
    np.testing.assert_array_equal(objective.guess(psi, psi, u, ahead)[0], ahead[0])


def test_the_search_at_a_far_point_takes_few_passes():
    """Random slopes of a Poisson law whose first step goes to standard deviations of hundreds."""
    case = make_case("poisson", q=2, num_levels=25, size=12, spread=0.5, seed=5)
    rows = arrange(case.problem)
    objective = LaplaceObjective(rows, choose(rows))
    psi = jnp.asarray(case.psi)
    at = objective.evaluate(psi, zeros(rows), jnp.asarray(1e-6), objective.blank)
    curved = objective.curve(at.point, at.pieces, jnp.asarray(True))
    step = jnp.zeros_like(psi).at[rows.num_fixed :].set(8.0)
    ahead = along(at.point.u, curved.du, step)
    promise = jnp.asarray(1e3)
    tangents = objective.evaluate(psi + step, ahead, promise, objective.blank)
    guess = objective.guess(psi, psi + step, at.point.u, ahead)
    found = objective.evaluate(psi + step, guess, promise, objective.blank)
    assert np.isfinite(found.point.value)
    assert int(found.passes) <= 30 < int(tangents.passes)


DERIVATIVES = [("poisson", "log", 2), ("gamma", "log", 1), ("binomial", "cauchit", 1)]


@pytest.mark.parametrize(("family", "link", "q"), DERIVATIVES)
def test_implicit_derivatives_are_those_of_the_mode(family, link, q):
    case = make_case(family, link, q=q, spread=0.5)
    rows, psi = arrange(case.problem), jnp.asarray(case.psi)
    rng = np.random.default_rng(3)
    direction = jnp.asarray(rng.normal(size=psi.shape))

    def find(psi):
        return mode(rows, psi, zeros(rows))[0]

    def pushed(psi):
        return jax.jvp(find, (psi,), (direction,))[1]

    du = pushed(psi)
    np.testing.assert_allclose(
        du, derivative(lambda t: find(psi + t * direction), 1e-3), rtol=1e-7, atol=1e-9
    )
    second = jax.jvp(pushed, (psi,), (direction,))[1]
    np.testing.assert_allclose(
        second, derivative(lambda t: pushed(psi + t * direction), 1e-3), rtol=1e-6, atol=1e-8
    )
    cotangent = jnp.asarray(rng.normal(size=du.shape))
    (pulled,) = jax.vjp(find, psi)[1](cotangent)
    np.testing.assert_allclose(pulled @ direction, jnp.sum(cotangent * du), rtol=1e-10)


def test_derivative_of_the_mode_in_the_data():
    case = make_case("poisson", spread=0.5)
    psi = jnp.asarray(case.psi)

    def find(y):
        rows = arrange(case.problem.replace(y=y))
        return mode(rows, psi, zeros(rows))[0]

    y = jnp.asarray(case.problem.y)
    direction = jnp.asarray(np.random.default_rng(4).uniform(size=y.shape))
    du = jax.jvp(find, (y,), (direction,))[1]
    expected = derivative(lambda t: find(y + t * direction), 1e-3)
    np.testing.assert_allclose(du, expected, rtol=1e-8, atol=1e-10)
