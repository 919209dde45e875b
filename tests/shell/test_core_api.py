"""build, initial_params, log_likelihood and maximise in JAX code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxglmm as jg
from jaxglmm import engine

from .reference import Model, gradient, hessian

N, LEVELS = 30, 6
RNG = np.random.default_rng(21)
G = np.arange(N) % LEVELS
X = np.stack([np.ones(N), RNG.normal(size=N)], 1)
B = RNG.normal(scale=0.7, size=LEVELS)
Y = RNG.poisson(np.exp(0.8 + 0.4 * X[:, 1] + B[G])).astype(float)
WEIGHTS = RNG.uniform(0.5, 1.5, N)
OFFSET = RNG.normal(scale=0.2, size=N)


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def built() -> Any:
    data = {"y": Y, "x": X[:, 1], "g": G, "w": WEIGHTS, "o": OFFSET}
    arguments = {"family": "poisson", "weights": "w", "offset": "o"}
    return jg.build("y ~ x + (1 | g)", data, **arguments)


@pytest.fixture(scope="module")
def problem(built: Any) -> Any:
    return built[0]


@pytest.fixture(scope="module")
def maximise() -> Any:
    return jax.jit(engine.maximise)


@pytest.fixture(scope="module")
def estimate(problem: Any, maximise: Any) -> Any:
    with jax.enable_x64(True):
        return maximise(problem)


@pytest.fixture(scope="module")
def model() -> Model:
    """Weights multiply the log-density."""
    return Model("poisson", Y, X, np.ones((N, 1)), G, WEIGHTS, OFFSET)


def natural(params: Any) -> np.ndarray:
    """beta and the standard deviation: for one column theta is it."""
    return np.concatenate([params.beta, np.abs(params.theta)])


def test_the_public_name(estimate: Any) -> None:
    """After a fit has imported the package's modules, one of which has the same name."""
    assert jg.maximise is engine.maximise
    assert jg.log_likelihood is engine.log_likelihood
    assert jg.initial_params is engine.initial_params


def test_build(built: Any) -> None:
    problem, labels = built
    assert labels.fixed == ("Intercept", "x")
    assert labels.groups == ("g",)
    assert labels.columns == (("Intercept",),)
    assert [list(levels) for levels in labels.levels] == [list(range(LEVELS))]
    assert labels.response == "y" and labels.dropped == ()
    for name, values in {"y": Y, "X": X, "weights": WEIGHTS, "offset": OFFSET}.items():
        np.testing.assert_array_equal(getattr(problem, name), values)
        assert isinstance(getattr(problem, name), np.ndarray)
    np.testing.assert_array_equal(problem.trials, 1.0)
    assert problem.num_obs == N


def test_build_compiles_nothing(compiled: list[str]) -> None:
    jg.build("y ~ x + (1 | g)", {"y": Y, "x": X[:, 1], "g": G}, family="poisson")
    assert compiled == []


def test_labels_follow_the_arrays() -> None:
    data = {"y": Y, "x": X[:, 1], "f": np.resize(["b", "a", "c"], N), "g": G.astype(str)}
    problem, labels = jg.build("y ~ f * x + I(2 * x) + (x | g)", data)
    assert labels.fixed == ("Intercept", "f[T.b]", "f[T.c]", "x", "f[T.b]:x", "f[T.c]:x")
    assert labels.dropped == ("I(2 * x)",)
    assert labels.columns == (("Intercept", "x"),)
    assert problem.X.shape == (N, 6)
    np.testing.assert_array_equal(problem.X[:, 1], data["f"] == "b")
    codes = problem.groupings[0].codes
    np.testing.assert_array_equal(np.asarray(labels.levels[0])[codes], data["g"])


def test_initial_params(problem: Any) -> None:
    params = jg.initial_params(problem)
    assert (params.beta.shape, params.theta.shape, params.phi.shape) == ((2,), (1,), (0,))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(params))
    assert np.isfinite(jg.log_likelihood(params, problem))


def test_pytrees(problem: Any, estimate: Any) -> None:
    for thing in (problem, estimate.params, estimate):
        leaves, tree = jax.tree.flatten(thing)
        again = jax.tree.unflatten(tree, leaves)
        assert type(again) is type(thing)
        assert jax.tree.structure(again) == tree
        assert all(a is b for a, b in zip(jax.tree.leaves(again), leaves, strict=True))
        assert type(jax.tree.map(lambda leaf: leaf, thing)) is type(thing)
    assert isinstance(estimate, jg.Estimate) and isinstance(estimate.params, jg.Params)


def test_replace(problem: Any) -> None:
    other = problem.replace(y=Y + 1.0)
    np.testing.assert_array_equal(other.y, Y + 1.0)
    np.testing.assert_array_equal(problem.y, Y)
    assert other.X is problem.X and type(other) is type(problem)
    with pytest.raises(TypeError):
        problem.replace(response=Y)


def test_log_likelihood_is_that_of_numpy(problem: Any, model: Model) -> None:
    value = jax.jit(jg.log_likelihood)
    for beta, theta in (([0.5, 0.1], 0.4), ([1.0, -0.5], 1.5), ([0.0, 0.0], 1e-3)):
        params = jg.Params(jnp.array(beta), jnp.array([theta]), jnp.zeros(0))
        ours = model.log_likelihood(np.array([*beta, theta]))
        np.testing.assert_allclose(value(params, problem), ours, rtol=1e-11)


def test_derivatives_of_the_log_likelihood(problem: Any, model: Model) -> None:
    def value(x: Any) -> Any:
        return jg.log_likelihood(jg.Params(x[:2], x[2:], jnp.zeros(0)), problem)

    x, h = np.array([0.6, 0.2, 0.5]), np.full(3, 1e-2)
    slope = gradient(model.log_likelihood, x, h)
    np.testing.assert_allclose(jax.jit(jax.grad(value))(x), slope, rtol=1e-6)
    H = hessian(model.log_likelihood, x, h)
    np.testing.assert_allclose(jax.jit(jax.hessian(value))(x), H, rtol=1e-5, atol=1e-4)


def test_vmap_of_the_log_likelihood(problem: Any, model: Model) -> None:
    beta = np.array([[0.5, 0.1], [1.0, -0.5], [0.0, 0.3]])

    def value(beta: Any) -> Any:
        return jg.log_likelihood(jg.Params(beta, jnp.array([0.7]), jnp.zeros(0)), problem)

    ours = [model.log_likelihood(np.array([*b, 0.7])) for b in beta]
    np.testing.assert_allclose(jax.jit(jax.vmap(value))(beta), ours, rtol=1e-11)


def test_the_estimate(problem: Any, estimate: Any, model: Model) -> None:
    x = natural(estimate.params)
    assert int(estimate.status) == 0
    np.testing.assert_allclose(estimate.log_likelihood, model.log_likelihood(x), rtol=1e-11)
    value = jax.jit(jg.log_likelihood)(estimate.params, problem)
    np.testing.assert_allclose(estimate.log_likelihood, value, rtol=1e-12)
    # No step of a thousandth of its curvature's unit goes up.
    for i in range(3):
        for sign in (-1, 1):
            moved = x.copy()
            moved[i] += sign * 1e-3
            assert model.log_likelihood(moved) < float(estimate.log_likelihood)


def test_u_is_the_mode(estimate: Any, model: Model) -> None:
    mode = model.mode(natural(estimate.params))
    assert [u.shape for u in estimate.u] == [(1, LEVELS)]
    b = np.asarray(estimate.params.theta[0] * estimate.u[0][0])
    np.testing.assert_allclose(b, mode.b[:, 0], rtol=0, atol=1e-8)


def test_hessian_of_the_estimate(estimate: Any, model: Model) -> None:
    H = hessian(model.log_likelihood, natural(estimate.params), np.full(3, 1e-2))
    unit = np.sqrt(np.outer(np.diag(H), np.diag(H)))
    np.testing.assert_allclose(estimate.hessian / unit, H / unit, atol=1e-6)


def test_the_front_end_fits_the_same(estimate: Any) -> None:
    data = {"y": Y, "x": X[:, 1], "g": G, "w": WEIGHTS, "o": OFFSET}
    fit = jg.glmm("y ~ x + (1 | g)", data, "poisson", weights="w", offset="o")
    np.testing.assert_allclose(fit.log_likelihood, estimate.log_likelihood, rtol=1e-11)
    np.testing.assert_allclose(fit.fixed_effects()["estimate"], estimate.params.beta, rtol=1e-7)


def test_vmap_over_responses(problem: Any, maximise: Any) -> None:
    responses = np.stack([Y, Y[::-1], np.roll(Y, 7)])
    batch = jax.jit(jax.vmap(lambda y: engine.maximise(problem.replace(y=y))))(responses)
    assert batch.log_likelihood.shape == batch.status.shape == (3,)
    for k, y in enumerate(responses):
        alone = maximise(problem.replace(y=y))
        np.testing.assert_allclose(batch.log_likelihood[k], alone.log_likelihood, rtol=1e-10)
        np.testing.assert_allclose(batch.params.beta[k], alone.params.beta, rtol=1e-6)


@pytest.fixture(scope="module")
def jacobians(problem: Any) -> Any:
    """d(beta) in every array of the problem, by the implicit function theorem."""

    def beta(y: Any, X: Any, weights: Any, offset: Any) -> Any:
        changed = problem.replace(y=y, X=X, weights=weights, offset=offset)
        return engine.maximise(changed).params.beta

    with jax.enable_x64(True):
        return dict(
            zip(
                ("y", "X", "weights", "offset"),
                jax.jit(jax.jacrev(beta, argnums=(0, 1, 2, 3)))(Y, X, WEIGHTS, OFFSET),
                strict=True,
            )
        )


@pytest.mark.parametrize("name", ["y", "X", "weights", "offset"])
def test_derivatives_of_the_estimate(
    name: str, jacobians: Any, problem: Any, maximise: Any
) -> None:
    """Against extrapolated central differences of refits, along a direction in all entries."""
    at = np.asarray(getattr(problem, name), float)
    direction = np.random.default_rng(9).normal(size=at.shape)

    def slope(h: float) -> np.ndarray:
        ends = [
            maximise(problem.replace(**{name: at + sign * h * direction})).params.beta
            for sign in (1, -1)
        ]
        return (np.asarray(ends[0]) - np.asarray(ends[1])) / (2 * h)

    h = 4e-3
    refits = (4 * slope(h / 2) - slope(h)) / 3
    ours = np.tensordot(jacobians[name], direction, axes=direction.ndim)
    np.testing.assert_allclose(ours, refits, rtol=1e-5)


def test_an_entry_of_the_derivative(jacobians: Any, problem: Any, maximise: Any) -> None:
    def beta(value: float) -> np.ndarray:
        y = Y.copy()
        y[4] += value
        return np.asarray(maximise(problem.replace(y=y)).params.beta)

    difference = (beta(1e-2) - beta(-1e-2)) / 2e-2
    np.testing.assert_allclose(jacobians["y"][:, 4], difference, rtol=1e-4)


def test_forward_and_reverse_derivatives_agree(jacobians: Any, problem: Any) -> None:
    direction = np.random.default_rng(2).normal(size=N)
    _, pushed = jax.jit(
        lambda y, d: jax.jvp(
            lambda y: engine.maximise(problem.replace(y=y)).params.beta, (y,), (d,)
        )
    )(Y, direction)
    np.testing.assert_allclose(pushed, jacobians["y"] @ direction, rtol=1e-8)


def test_single_precision_in_single_precision_out(problem: Any, estimate: Any) -> None:
    """Even where double precision is switched on."""
    single = jax.tree.map(
        lambda leaf: jnp.asarray(leaf, jnp.float32) if leaf.dtype == np.float64 else leaf, problem
    )
    found = jax.jit(engine.maximise)(single)
    for leaf in (*jax.tree.leaves(found.params), found.log_likelihood, *found.u, found.hessian):
        assert leaf.dtype == jnp.float32
    assert jg.log_likelihood(found.params, single).dtype == jnp.float32
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(jg.initial_params(single)))
    np.testing.assert_allclose(found.params.beta, estimate.params.beta, atol=2e-3)
    np.testing.assert_allclose(found.log_likelihood, estimate.log_likelihood, rtol=1e-5)


def test_a_start_and_a_control(problem: Any, estimate: Any) -> None:
    control = jg.Control(max_iterations=2)
    far = jg.Params(jnp.array([5.0, -3.0]), jnp.array([4.0]), jnp.zeros(0))
    stopped = jax.jit(lambda p, s: engine.maximise(p, control, s))(problem, far)
    assert int(stopped.iterations) <= 2 and int(stopped.status) == 4
    near = jax.jit(lambda p, s: engine.maximise(p, start=s))(problem, estimate.params)
    np.testing.assert_allclose(near.params.beta, estimate.params.beta, rtol=1e-6)
    assert int(near.iterations) <= int(estimate.iterations)
