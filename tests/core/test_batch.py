"""Many models in one program: each is fitted as if it were alone."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxglmm import curvature, families, status
from jaxglmm.ascent import maximise_rows
from jaxglmm.batch import Own, maximise_many, pool
from jaxglmm.batch.dependence import depends
from jaxglmm.batch.pool import Task
from jaxglmm.needed import where_rarely_needed
from jaxglmm.params import unflatten
from jaxglmm.rows import arrange
from jaxglmm.simulation import simulate

from .zoo import make_case, slow

WIDTH = 4


def halvings(width):
    """A task whose length is its own: halve until below one; a number of each, and its steps."""

    def advance(data, state, live):
        return state[0] / 2.0, state[1] + 1

    task = Task(
        begin=lambda data: (data, jnp.asarray(0)),
        advance=advance,
        unfinished=lambda state: state[0] >= 1.0,
        end=lambda data, state: (data, state[1]),
    )
    return jax.jit(lambda data, count: pool(task, data, count, width))


@pytest.mark.parametrize("width", [1, 3, 16])
def test_each_task_ends_in_its_own_time(width):
    data = np.random.default_rng(0).uniform(1.0, 1e6, 40)
    found, steps = halvings(width)(data, 40)
    np.testing.assert_array_equal(found, data)
    np.testing.assert_array_equal(steps, np.floor(np.log2(data)) + 1)


def test_what_is_not_asked_for_stays_zero():
    data = np.linspace(2.0, 9.0, 10)
    found, steps = halvings(3)(data, 7)
    np.testing.assert_array_equal(found[:7], data[:7])
    assert not np.any(found[7:]) and not np.any(steps[7:])


def test_results_of_several_types_and_shapes():
    """Numbers, truths and what is empty, each as it was."""

    def end(data, state):
        small = data < 4.0
        return {"a": jnp.stack([data, -data]), "b": (small, state[1]), "c": jnp.zeros((0, 3))}

    task = Task(
        lambda d: (d, jnp.asarray(0)),
        lambda d, s, live: (s[0] / 2, s[1] + 1),
        lambda s: s[0] >= 1.0,
        end,
    )
    data = np.linspace(2.0, 9.0, 10)
    found = jax.jit(lambda data: pool(task, data, 10, 4))(data)
    np.testing.assert_array_equal(found["a"], np.stack([data, -data], axis=1))
    np.testing.assert_array_equal(found["b"][0], data < 4.0)
    np.testing.assert_array_equal(found["b"][1], np.floor(np.log2(data)) + 1)
    assert found["b"][0].dtype == bool and found["b"][1].dtype == int
    assert found["c"].shape == (10, 0, 3)


def test_what_is_rarely_needed():
    """In a batch those who need it get it, and no other is computed."""
    asked = []

    def root(of):
        jax.debug.callback(lambda x: asked.append(float(x)), of["x"])
        return jnp.sqrt(of["x"]), of["x"] > 5.0

    def value(x):
        return where_rarely_needed(x < 7.0, root, {"x": x}, (x, jnp.asarray(False)))

    x = jnp.asarray([9.0, 4.0, 16.0, 6.25])
    found, large = jax.jit(jax.vmap(value))(x)
    np.testing.assert_array_equal(found, [9.0, 2.0, 16.0, 2.5])
    np.testing.assert_array_equal(large, [False, False, False, True])
    jax.effects_barrier()
    assert sorted(asked) == [4.0, 6.25]
    assert value(x[1])[0] == 2.0 and value(x[0])[0] == 9.0


def test_dependence():
    shared = jnp.arange(3.0)

    def f(x):
        return {"a": shared * 2.0, "b": jax.jit(jnp.sin)(x) * shared, "c": x, "d": 1.0}

    found = dict(zip("abcd", depends(f, jnp.ones(())), strict=True))
    assert found == {"a": False, "b": True, "c": True, "d": False}


def responses(case, num_models, seed=3):
    """Draws from the truth of the case, in chunk order."""
    problem, psi = case.problem, np.asarray(case.psi)
    params = unflatten(psi, arrange(problem))
    key = jax.random.key(seed, impl="threefry2x32")
    draw = jax.jit(lambda number: simulate(jax.random.fold_in(key, number), params, problem))
    y = np.stack([draw(number) for number in range(num_models)])
    return y[:, np.asarray(problem.layout.rows)]


@functools.cache
def prepared():
    case = make_case("binomial", num_levels=12, size=8, spread=0.8)
    rows = jax.tree.map(jnp.asarray, arrange(case.problem, xp=np))

    @jax.jit
    def many(own, count):
        return maximise_many(rows, own, count, width=WIDTH)

    return rows, responses(case, 12), many


@pytest.fixture
def binomial():
    return prepared()


def check_equal(many, single, rtol=1e-6):
    """Log-likelihoods to rounding; a batch ends a step earlier, with an error of its square.

    A parameter at a limit of its law ends where the ascent has stopped looking; one that ran into
    a pole of Laplace's approximation where rounding stops it.
    """
    np.testing.assert_array_equal(many.status, single.status)
    inside = np.asarray(single.status) == status.CONVERGED
    assert inside.any()
    short = np.asarray(single.log_likelihood - many.log_likelihood)
    assert np.max(np.abs(short[inside])) < 1e-9
    ended = np.asarray(single.status) != status.NONFINITE
    assert np.max(np.abs(short[ended])) < 1e-7  # the promise of a last step, at a limit too
    many, single = (jax.tree.map(lambda a: np.asarray(a)[inside], of) for of in (many, single))
    for a, b in zip(jax.tree.leaves(many.params), jax.tree.leaves(single.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)
    scale = np.sqrt(np.abs(np.diagonal(single.hessian, axis1=1, axis2=2)))
    apart = (many.hessian - single.hessian) / (scale[:, :, None] * scale[:, None])
    assert np.max(np.abs(apart)) < 1e-3


def alone(rows, y):
    fit = jax.jit(lambda y: maximise_rows(dataclasses.replace(rows, y=y)))
    found = [fit(one) for one in y]
    return jax.tree.map(lambda *each: np.stack(each), *found)


LAWS = ["gaussian", "nbinom2"]
OTHERS = [slow(f) for f in families.REGISTRY if f not in (*LAWS, "binomial", "cumulative")]


@pytest.mark.parametrize("family", [*LAWS, *OTHERS])
def test_equal_to_single_fits(family):
    case = make_case(family, num_levels=16, size=8, spread=0.8)
    rows, y = jax.tree.map(jnp.asarray, arrange(case.problem, xp=np)), responses(case, 8)
    many = jax.jit(lambda y: maximise_many(rows, Own(y), 8, width=WIDTH))(y)
    check_equal(many, alone(rows, y))


def test_neighbours_order_and_number_do_not_matter(binomial):
    """Bitwise."""
    _, y, many = binomial
    whole = many(Own(y), 12)
    order = np.random.default_rng(1).permutation(12)
    permuted = many(Own(y[order]), 12)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[order], b), whole, permuted)
    few = many(Own(y), 5)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[:5], b[:5]), whole, few)


def test_a_lane_that_fails_disturbs_no_other(binomial):
    _, y, many = binomial
    whole = many(Own(y), 12)
    bad = y.copy()
    bad[1], bad[6] = np.nan, 0.0
    found = many(Own(bad), 12)
    good = np.setdiff1d(np.arange(12), [1, 6])
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a[good], b[good]), whole, found)
    assert found.status[1] == status.NONFINITE
    assert found.status[6] not in (status.CONVERGED, status.CONVERGED_BOUNDARY)


@pytest.mark.slow
def test_missing_responses_are_weights_of_zero(binomial):
    rows, y, many = binomial
    weights = np.broadcast_to(np.asarray(rows.multiplier), y.shape).copy()
    weights[:, 2, 3:6] = 0.0
    other = y.copy()
    other[:, 2, 3:6] = 1.0 - other[:, 2, 3:6]
    found = [many(Own(v, multiplier=weights), 12) for v in (y, other)]
    np.testing.assert_array_equal(found[0].params.beta, found[1].params.beta)
    lighter = dataclasses.replace(rows, multiplier=jnp.asarray(weights[0]))
    check_equal(found[0], alone(lighter, y))


@pytest.mark.slow
def test_given_starts_lead_to_the_same_maximum(binomial):
    rows, y, many = binomial
    first = jax.jit(maximise_rows)(rows).params
    warm = jax.jit(lambda y: maximise_many(rows, Own(y), 12, first=first, width=WIDTH))(y)
    cold = many(Own(y), 12)
    np.testing.assert_allclose(warm.log_likelihood, cold.log_likelihood, atol=1e-9)


@pytest.mark.parametrize("n", [1, 8, 9])
def test_metrics_of_many_matrices(n):
    """Positive definite, indefinite, singular and badly scaled ones, as by eigenvalues."""
    rng = np.random.default_rng(n)
    A = rng.normal(size=(12, n, n + 2))
    M = A @ A.swapaxes(1, 2)
    M[3] -= 2.0 * np.trace(M[3]) / n * np.eye(n)
    M[4] = np.outer(A[4, :, 0], A[4, :, 0])
    units = 10.0 ** rng.uniform(-4, 4, (12, n))
    M = M * units[:, :, None] * units[:, None, :]

    def by_eigenvalues(M):
        return curvature.ascent_metric(curvature.spectrum(M))

    found = jax.jit(jax.vmap(curvature.metric))(M) * units[:, :, None] * units[:, None, :]
    exact = jax.jit(jax.vmap(by_eigenvalues))(M) * units[:, :, None] * units[:, None, :]
    scale = np.max(np.abs(exact), axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(found / scale, exact / scale, atol=1e-9)
    one = jax.jit(curvature.metric)
    for k in (0, 3, 4):
        np.testing.assert_allclose(
            one(M[k]) * np.outer(units[k], units[k]) / scale[k], exact[k] / scale[k], atol=1e-9
        )
